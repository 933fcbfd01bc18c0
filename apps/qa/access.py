"""Who may use the app: its owner, those who sign in, and those who were given a link."""

import streamlit as st
from door import admit, cookie_name, role_of
from streamlit.runtime.scriptrunner import get_script_run_ctx

from jina_rag.machine import is_loopback


def require_login() -> None:
    """Let nobody further who has not signed in, where Streamlit's secrets name somebody to sign in with."""
    if has_login() and not st.user.get("is_logged_in"):
        st.title("Ask your documents")
        st.button("Sign in", on_click=st.login, type="primary", icon=":material/login:", key="login")
        st.stop()
    if session := get_script_run_ctx():
        admit(session.session_id)


def warn_if_exposed() -> None:
    """Say so where others can reach the app and nobody has to sign in."""
    if not is_loopback(st.get_option("server.address") or "") and not has_login():
        st.warning(
            "The app listens beyond this machine, and nobody has to sign in: whoever has its link can read these "
            "documents and change them. Start it without --host, or set up a login as its README says.",
            icon=":material/lock_open:",
        )


def only_this_machine() -> bool:
    """Whether this page is open in the owner's browser on this machine, whose files are theirs to read."""
    token = st.context.cookies.get(cookie_name(st.get_option("server.port")), "")
    return role_of(token, st.context.headers.get("Host") or "") == "owner"


def reader() -> str:
    """Who has signed in; nobody's name where nobody has to."""
    return str(st.user.get("sub") or st.user.get("email") or "") if has_login() else ""


def has_login() -> bool:
    """Whether Streamlit's secrets have a section [auth]."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets
