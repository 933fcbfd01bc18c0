"""Which documents a question is about, as the reader has chosen it on the Ask page or in the library."""

from pathlib import Path

import streamlit as st

from jina_rag.rag import DocumentIndex, Filters
from jina_rag.rag.text.cleaning import remove_invisible

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
