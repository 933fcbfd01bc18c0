"""The conversation that this page shows, which a reload finds again by the address."""

import streamlit as st
from access import reader
from chats import Chat
from service import service

IN_ADDRESS = "chat"


def this_chat() -> Chat:
    """The conversation of this page; a new one that is not saved yet if the address names none of the reader's."""
    chat: Chat | None = st.session_state.get("chat")
    if chat is None or chat.is_deleted or chat.reader != reader():
        chat = None if chat else service().chats.open(reader(), st.query_params.get(IN_ADDRESS, ""))
        show_chat(chat or Chat(reader()))
    found: Chat = st.session_state.chat
    return found


def show_chat(chat: Chat) -> None:
    """Show another conversation."""
    st.session_state.chat = chat
    show_chat_in_address()


def show_chat_in_address() -> None:
    """Put the conversation's id into the address, from which Streamlit takes it at each change of page."""
    chat = this_chat()
    if not chat.heading.title:
        st.query_params.pop(IN_ADDRESS, None)
    elif st.query_params.get(IN_ADDRESS) != chat.id:
        st.query_params[IN_ADDRESS] = chat.id
