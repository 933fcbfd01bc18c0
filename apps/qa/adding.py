"""The field for files, whose adding begins when they are dropped."""

import streamlit as st
from index_work import start_upload
from service import service

from jina_rag.errors import JinaRagError

_KINDS = "PDF, Word, PowerPoint, Excel, EPUB, HTML, Markdown, text, CSV, JSON or source code"


def draw_uploader(collection: str = "default") -> None:
    """A field for files. It is a new one after each drop, so that uploads don't stay in memory."""
    key = f"files-{st.session_state.setdefault('n_drops', 0)}"
    st.file_uploader(
        f"Drop files here: {_KINDS}", accept_multiple_files=True, key=key, on_change=_add, args=(key, collection)
    )
    if "refused_files" in st.session_state:
        st.error(st.session_state.pop("refused_files"), icon=":material/error:")


def _add(key: str, collection: str) -> None:
    files = st.session_state[key]
    st.session_state.n_drops += 1
    try:
        if files:
            start_upload(service(), [(file.name, file) for file in files], collection)
    except JinaRagError as error:
        st.session_state.refused_files = str(error)
