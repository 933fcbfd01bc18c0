"""The talk of this browser tab, which a page that was reloaded finds again by its address."""

import streamlit as st
from access import reader
from service import service
from talks import Talk, Talks

IN_ADDRESS = "talk"


def this_talk() -> Talk:
    """The talk of this tab."""
    return _talk_of_page(service().talks)


# Streamlit lets go of it when the page is closed or reloaded.
@st.cache_resource(scope="session", on_release=Talk.leave, show_spinner=False)
def _talk_of_page(_talks: Talks) -> Talk:
    return _talks.enter(st.query_params.get(IN_ADDRESS), reader())


def keep_talk() -> None:
    """Let a reload of this tab find its talk."""
    service().talks.keep(this_talk())
    show_talk_in_address()


def show_talk_in_address() -> None:
    """Put the name of a talk that is kept into the address, from which Streamlit takes it at each change of page."""
    talk = this_talk()
    if not service().talks.has(talk):
        st.query_params.pop(IN_ADDRESS, None)
    elif st.query_params.get(IN_ADDRESS) != talk.id:
        st.query_params[IN_ADDRESS] = talk.id


def forget_talk() -> None:
    """Begin another talk in this tab; nothing is kept of the old one."""
    service().talks.forget(this_talk())
    this_talk().begin_anew()
