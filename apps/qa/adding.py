"""The field for files, whose adding begins when they are dropped."""

import streamlit as st
from index_work import start_upload
from service import draw_kept_error, errors_kept, service

_KINDS = "PDF, Word, PowerPoint, Excel, EPUB, HTML, Markdown, text, CSV, JSON, mail, pictures or source code"


def draw_uploader(collection: str = "default") -> None:
    """A field for files. It is a new one after each drop, so that uploads don't stay in memory."""
    key = f"files-{st.session_state.setdefault('n_drops', 0)}"
    st.file_uploader(
        f"Drop files here: {_KINDS}", accept_multiple_files=True, key=key, on_change=_add, args=(key, collection)
    )
    draw_kept_error()


def _add(key: str, collection: str) -> None:
    files = st.session_state[key]
    st.session_state.n_drops += 1
    with errors_kept():
        if files:
            start_upload(service(), service().tasks, [(file.name, file) for file in files], collection)
