"""How questions are answered: from which documents and how many passages, put in order and checked by what."""

from pathlib import Path

import streamlit as st
from chats import Pending
from model_list import judges_here, rerankers_here
from service import service

from jina_rag.rag import DocumentIndex, Filters, SearchOptions
from jina_rag.rag.retrieval.search import DEFAULT_K
from jina_rag.rag.text.cleaning import remove_invisible

MOST_PASSAGES = 20
_N_PASSAGES = "n-passages"
_FIELDS = ("sources", "collections", "file_types")
_CHOICES = {
    "reranker": (
        rerankers_here,
        "Reads the best passages with the question and orders them anew: better, and slower. Download one on the "
        "Models page.",
    ),
    "judge": (
        judges_here,
        "Checks claims that are not quoted word for word; without one, only quotations and numbers are checked. How "
        "often a judge is right depends on the model; a small one is often wrong.",
    ),
}
"""What there is to choose among on this computer, by setting, with help."""


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
    """How many passages an answer rests on, what puts them in order and what checks claims, for this session alone."""
    st.slider("Passages for an answer", 1, MOST_PASSAGES, DEFAULT_K, key=_N_PASSAGES, persist_state="session")
    for name, (choices, help_) in _CHOICES.items():
        labels, now = choices(), getattr(service().chosen, name) or "none"
        labels.setdefault(now, now)
        st.selectbox(
            name.capitalize(), labels, list(labels).index(now), format_func=labels.__getitem__, help=help_, key=name,
            persist_state="session",
        )  # fmt: skip


def asked(question: str, place: int, filters: Filters | None = None, llm: str | None = None) -> Pending:
    """A question as this session has it answered, with other filters or by another model if they are given."""
    options = SearchOptions(k=st.session_state.get(_N_PASSAGES, DEFAULT_K), filters=filters or chosen_filters())
    return Pending(question.strip(), options, llm, _setting("reranker"), _setting("judge"), place)


def _setting(name: str) -> str | None:
    """What was chosen, if it is there: a browser may send any address."""
    chosen = st.session_state.get(name)
    return chosen if chosen in _CHOICES[name][0]() else None


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
