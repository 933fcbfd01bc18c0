"""A reader's conversations in the sidebar, and what can be done with the one that is open."""

import streamlit as st
from chats import Chat
from escaping import escape
from service import errors_kept, errors_shown, service
from session import show_chat

from jina_rag.errors import IndexFolderError
from jina_rag.rag.answering.conversation import answer_as_markdown

_SHOWN, _FEW = 30, 4


def draw_chat_list(chat: Chat) -> None:
    """All conversations of this reader, the latest first, with a field to search them."""
    chats = service().chats.list(chat.reader)
    if not chats and "deleted" not in st.session_state:
        return
    with st.sidebar:
        st.button(
            "New conversation", on_click=show_chat, args=(Chat(chat.reader),), icon=":material/add_comment:",
            key="new", width="stretch",
        )  # fmt: skip
        draw_undo(chat.reader)
        if len(chats) > _FEW and (words := st.text_input("Search conversations", key="find-chat")):
            chats = service().chats.list(chat.reader, words)
            if not chats:
                st.caption("No conversation has these words.")
        with st.container(gap=None, key="chats"):
            for id_, heading in chats[:_SHOWN]:
                is_running = heading.pending and not heading.pending.problem
                st.button(
                    escape(heading.title), on_click=_open, args=(chat.reader, id_), key=f"chat-{id_}",
                    type="secondary" if id_ == chat.id else "tertiary", width="stretch",
                    icon=":material/pending:" if is_running else ":material/chat_bubble:",
                )  # fmt: skip
        if len(chats) > _SHOWN:
            st.caption(f"{len(chats) - _SHOWN:,} older ones: search for them.")


def draw_undo(reader: str) -> None:
    """The way back for the conversation that was deleted last."""
    if "deleted" in st.session_state:
        title, id_, content = st.session_state.deleted
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Deleted “{escape(title)}”.")
            st.button("Undo", on_click=_restore, args=(reader, id_, content), type="tertiary", key="undo")


def draw_chat_menu(chat: Chat) -> None:
    """Rename, download and delete the conversation that is open."""
    with st.popover("Conversation", icon=":material/chat:", type="tertiary"):
        title = st.text_input("Title", chat.heading.title, key=f"title-{chat.id}")
        if title.strip() and title != chat.heading.title:
            with errors_shown():
                service().chats.rename(chat, title)
                st.rerun()
        with st.container(horizontal=True):
            text = "\n\n".join(map(answer_as_markdown, chat.answers))
            st.download_button(
                "Download", text, "conversation.md", "text/markdown", on_click="ignore", icon=":material/download:",
                key="download",
            )  # fmt: skip
            st.button("Delete", on_click=_delete, args=(chat,), icon=":material/delete:", key="delete-chat")


def _open(reader: str, id_: str) -> None:
    with errors_kept():
        chat = service().chats.open(reader, id_)
        if chat is None:
            raise IndexFolderError("This conversation can't be read any more.")
        show_chat(chat)


def _delete(chat: Chat) -> None:
    service().runs.stop(chat)
    with errors_kept():
        st.session_state.deleted = chat.heading.title, chat.id, service().chats.delete(chat)
        show_chat(Chat(chat.reader))


def _restore(reader: str, id_: str, content: bytes) -> None:
    with errors_kept():
        show_chat(service().chats.restore(reader, id_, content))
        del st.session_state.deleted
