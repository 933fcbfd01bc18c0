"""The chat session of this page, which a reload finds again by the address."""

import streamlit as st
from access import reader
from chat_sessions import ChatSession, ChatSessions
from service import service

IN_ADDRESS = "session"


def this_session() -> ChatSession:
    """The session of this page."""
    return _session_of_page(service().chat_sessions)


# Streamlit lets go of it when the page is closed or reloaded.
@st.cache_resource(scope="session", on_release=ChatSession.release, show_spinner=False)
def _session_of_page(_sessions: ChatSessions) -> ChatSession:
    return _sessions.open(st.query_params.get(IN_ADDRESS), reader())


def keep_session() -> None:
    """Let a reload of this page find its session."""
    service().chat_sessions.keep(this_session())
    show_session_in_address()


def show_session_in_address() -> None:
    """Put the name of a session that is kept into the address, from which Streamlit takes it at each change of page."""
    session = this_session()
    if not service().chat_sessions.has(session):
        st.query_params.pop(IN_ADDRESS, None)
    elif st.query_params.get(IN_ADDRESS) != session.id:
        st.query_params[IN_ADDRESS] = session.id


def start_new_session() -> None:
    """Forget this session and begin another."""
    service().chat_sessions.forget(this_session())
    this_session().clear()
