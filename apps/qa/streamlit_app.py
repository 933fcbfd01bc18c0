"""The app: questions to your documents, the library, and the models. What it knows comes from `jina_rag`.

`launcher.py` imports this file for `app`, the web server, which runs it as a script for each reader.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from access import has_login, print_addresses, require_login, warn_if_exposed
from door import Door
from first_start import begin_with_samples
from headers import SafetyHeaders
from options import searches_store
from service import errors_shown, running_service
from session import show_chat_in_address
from starlette.middleware import Middleware


def main() -> None:
    """Draw the page that the address names."""
    st.set_page_config("Ask your documents", page_icon=Path(__file__).with_name("icon.svg"))
    require_login()
    page = st.navigation(pages(), position="top")
    st.html(Path(__file__).with_name("answer.css"))
    draw_navigation_of_phones()
    warn_if_exposed()
    with errors_shown():
        begin_with_samples()
        show_chat_in_address()
    page.run()


def pages() -> list[st.Page]:
    """The table of contents; a vector store is searched alone, and has no library here."""
    ask = st.Page("app_pages/ask.py", title="Ask", icon=":material/forum:", default=True)
    library = st.Page("app_pages/library.py", title="Library", icon=":material/folder_open:")
    models = st.Page("app_pages/models.py", title="Models", icon=":material/memory:")
    return [ask, models] if searches_store() else [ask, library, models]


def draw_navigation_of_phones() -> None:
    """Links to all pages where Streamlit would hide them behind a button, since the window is narrow."""
    st.html(Path(__file__).with_name("style.css"))
    with st.container(horizontal=True, gap=None, key="phone-navigation"):
        for page in pages():
            st.page_link(page)


@asynccontextmanager
async def _lifespan(_app: st.App) -> AsyncIterator[None]:
    print_addresses()
    yield
    if chosen := running_service():
        chosen.runs.close()


if __name__ == "__main__":
    main()
else:
    # Nothing reads a setting or a secret before App is made: Streamlit would leave out the config.toml of this folder.
    app = st.App(
        __file__,
        lifespan=_lifespan,
        middleware=[Middleware(SafetyHeaders), Middleware(Door, has_login=has_login)],
    )
