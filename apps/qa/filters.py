"""How questions are searched for: in which documents, how many passages, put in order by what."""

from pathlib import Path

import streamlit as st
from service import errors_shown, service

from jina_rag.model_files import is_on_this_machine
from jina_rag.rag import DocumentIndex, Filters, SearchOptions
from jina_rag.rag.retrieval.search import DEFAULT_K
from jina_rag.rag.text.cleaning import remove_invisible
from jina_rag.rag_models import list_rerankers

MOST_PASSAGES = 20
_N_PASSAGES = "n-passages"
_FIELDS = ("sources", "collections", "file_types")


def draw_filters(index: DocumentIndex) -> None:
    """Fields for documents, collections and kinds; nothing chosen means all."""
    documents = index.documents()
    choices = {
        "sources": ("Documents", [document.source for document in documents]),
        "collections": ("Collections", sorted(index.collections())),
        "file_types": ("File types", sorted({document.kind for document in documents})),
    }
    for field, (label, there) in choices.items():
        key = f"filter-{field}"
        st.session_state[key] = [each for each in st.session_state.get(key, ()) if each in set(there)]
        st.multiselect(label, there, placeholder="All", key=key, format_func=_name)


def draw_settings() -> None:
    """How many passages an answer rests on, and the reranker, which all readers share."""
    st.slider("Passages for an answer", 1, MOST_PASSAGES, DEFAULT_K, key=_N_PASSAGES)
    now = service().chosen.reranker or "none"
    there = [row.name for row in list_rerankers() if is_on_this_machine(row)]
    rerankers = list(dict.fromkeys(["none", *there, now]))
    chosen = st.selectbox(
        "Reranker", rerankers, rerankers.index(now), help="Reads the best passages with the question and orders them "
        "anew: better, and slower. Download one on the Models page.", key="reranker",
    )  # fmt: skip
    if chosen != now:
        with errors_shown():
            service().use(reranker=chosen)


def search_options(filters: Filters | None = None) -> SearchOptions:
    """What was chosen, with other filters if some are given."""
    return SearchOptions(k=st.session_state.get(_N_PASSAGES, DEFAULT_K), filters=filters or chosen_filters())


def chosen_filters() -> Filters | None:
    """What was chosen; None for all."""
    filters = Filters(**{field: st.session_state.get(f"filter-{field}", ()) for field in _FIELDS})
    return filters or None


def filter_by_documents(sources: list[str]) -> None:
    """Let the next questions be about these documents alone."""
    for field in _FIELDS:
        st.session_state[f"filter-{field}"] = sources if field == "sources" else []


def filters_in_words(filters: Filters) -> str:
    """What is searched."""
    chosen = (filters.sources, filters.collections, filters.file_types)
    return " and ".join(", ".join(map(_name, names)) for names in chosen if names)


def _name(choice: str) -> str:
    return remove_invisible(Path(choice).name)
