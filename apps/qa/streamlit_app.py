"""The app: ask your documents, keep them, look into them, choose the models. What it knows comes from `jina_rag`."""

from pathlib import Path

import streamlit as st
from access import require_login, warn_if_exposed
from first_start import begin_with_samples

st.set_page_config("Ask your documents", page_icon=Path(__file__).with_name("icon.svg"))

PAGES = [
    st.Page(
        "app_pages/ask.py",
        title="Ask",
        icon=":material/forum:",
        help="Ask a question, read the answer, open the passages that it rests on.",
        default=True,
    ),
    st.Page(
        "app_pages/library.py",
        title="Library",
        icon=":material/folder_open:",
        help="Add, update and remove documents, and see what could not be read.",
    ),
    st.Page(
        "app_pages/explore.py",
        title="Explore",
        icon=":material/scatter_plot:",
        help="See your documents as a map, and what shorter vectors cost.",
    ),
    st.Page(
        "app_pages/models.py",
        title="Models",
        icon=":material/memory:",
        help="Which models are in use, which others there are, and how fast they run here.",
    ),
]

require_login()
page = st.navigation(PAGES, position="top")
warn_if_exposed()
begin_with_samples()
page.run()
