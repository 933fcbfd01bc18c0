"""Who may use the app: the people of this machine, or those who sign in."""

import streamlit as st
from launcher import LOOPBACK


def require_login() -> None:
    """Let nobody further who has not signed in, where Streamlit's secrets name somebody to sign in with."""
    if not has_login() or st.user.get("is_logged_in"):
        return
    st.title("Ask your documents")
    st.button("Sign in", on_click=st.login, type="primary", icon=":material/login:", key="login")
    st.stop()


def warn_if_exposed() -> None:
    """Say so where others can reach the app and nobody has to sign in."""
    if st.get_option("server.address") not in LOOPBACK and not has_login():
        st.warning(
            "Everybody who can reach this machine can read these documents and change them: the app listens beyond "
            "this machine, and nobody has to sign in. Start it without --host, or set up a login as its README says.",
            icon=":material/lock_open:",
        )


def only_this_machine() -> bool:
    """Whether those who use the app are at this machine, so that its files are theirs to read."""
    return st.get_option("server.address") in LOOPBACK and not has_login()


def reader() -> str:
    """Who has signed in; nobody's name where nobody has to."""
    return str(st.user.get("sub") or st.user.get("email") or "") if has_login() else ""


def has_login() -> bool:
    """Whether Streamlit's secrets have a section [auth]."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets
