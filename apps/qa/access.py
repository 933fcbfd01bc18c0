"""Who may use the app: its owner, those who sign in, and those who were given a link."""

import hashlib
import os
import secrets
import sys

import streamlit as st
from door import OWNER_TOKEN, TOKEN_VARIABLE, VISITOR_TOKEN, admit, browser_cookie_name, cookie_name, role_of
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
    """Whose conversations a page shows: who has signed in or, where nobody has to, the browser by its secret.

    A page without either has a reader of its own, which ends with it.
    """
    port = st.get_option("server.port")
    if has_login():
        known = f"{st.user.get('iss')} {subject}" if (subject := st.user.get("sub") or st.user.get("email")) else ""
    else:
        known = st.context.cookies.get(browser_cookie_name(port), "")
    if not known:
        known = st.session_state.setdefault("reader", secrets.token_urlsafe(32))
    return hashlib.sha256(f"{has_login()} {known}".encode()).hexdigest()[:32]


def has_login() -> bool:
    """Whether Streamlit's secrets have a section [auth]."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets


def print_addresses() -> None:
    """Print where the app is, with the token that opens it."""
    host = st.get_option("server.address") or "127.0.0.1"
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    token = f"${TOKEN_VARIABLE}" if os.environ.get(TOKEN_VARIABLE) else OWNER_TOKEN
    lines = [f"Ask your documents: http://{host}:{st.get_option('server.port')}/?token={token}"]
    if not has_login():
        names = [name for name in st.get_option("server.allowedHosts") if not is_loopback(name)]
        lines += [f"For others, after the address of {name}: /?token={VISITOR_TOKEN}" for name in names]
    sys.stdout.write("\n" + "".join(f"  {line}\n" for line in lines) + "\n")
    sys.stdout.flush()
