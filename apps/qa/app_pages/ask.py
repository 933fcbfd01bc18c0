"""Ask: a conversation about the documents, in which every answer cites its sources."""

from dataclasses import replace
from typing import Any

import streamlit as st
from answer_view import ASSISTANT, draw_answer, draw_question
from chat_list import draw_chat_list, draw_chat_menu
from chat_runs import STOPPED
from chats import Chat, Pending, Run
from connect import models_found
from escaping import escape
from filters import asked, chosen_filters, draw_filters, draw_settings, filter_by_documents, filters_in_words
from first_start import draw_beginning, is_ready
from index_work import start_upload
from passages import seconds, stage_label
from rendering import unfinished_html
from service import draw_kept_error, errors_kept, errors_shown, service
from session import show_chat_in_address, this_chat
from uploads import stored_path

from jina_rag.rag import Filters

SECONDS_BETWEEN_DRAWINGS = 0.4


def main() -> None:
    """Draw the page."""
    with errors_shown():
        if not is_ready():
            return
        chat = this_chat()
        service().runs.resume(chat)
        run = chat.run
        draw_chat_list(chat)
        st.bottom.chat_input(  # placed by itself, Streamlit would follow the end of the page
            "Ask a question about your documents",
            key="question",
            accept_file=False if service().store else "multiple",
            disabled=run is not None,
            on_submit=submit,
        )
        draw_header(chat)
        draw_chat(chat, run)
    draw_kept_error()


def draw_header(chat: Chat) -> None:
    """What can be done with the whole conversation, and the filters of the search."""
    with st.container(horizontal=True, horizontal_alignment="right", key="tools"):
        if chat.answers:
            draw_chat_menu(chat)
        if not service().store:
            with st.popover("Filter sources", icon=":material/filter_alt:", type="tertiary"):
                draw_filters(service().index)
        with st.popover("Settings", icon=":material/tune:", type="tertiary"):
            draw_settings()
    for limit in service().limits:
        st.caption(f":material/info: {escape(limit)}")
    if filters := chosen_filters():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f":material/filter_alt: Searching {escape(filters_in_words(filters))} only.", width="content")
            st.button("Search all", on_click=filter_by_documents, args=([],), type="tertiary", key="search-all")


def draw_chat(chat: Chat, run: Run | None) -> None:
    """The conversation so far, or how to begin one; `run` is the answer that the page has taken to be on its way."""
    pending = chat.pending
    if chat.run is not run:
        st.rerun()
    if not (chat.answers or pending):
        draw_beginning(ask)
    answers = chat.answers[: pending.place] if pending and run else chat.answers
    for number, answer in enumerate(answers):
        draw_answer(answer, number)
        draw_repeating(chat, number, disabled=run is not None)
    if pending and run:
        draw_question(pending.question, pending.place)
        # The more answers are on their way, the more time is left to them.
        st.fragment(draw_run, run_every=SECONDS_BETWEEN_DRAWINGS * (1 + service().runs.n_running / 4))(chat, run)
    elif pending:
        draw_problem(chat, pending)


def draw_repeating(chat: Chat, number: int, *, disabled: bool) -> None:
    """The ways to ask a question again; the new answer takes the place of the old one.

    They keep their place while another question is answered, for else all below them would move when that is over.
    """
    question = chat.answers[number].question
    with st.container(horizontal=True, horizontal_alignment="right", key=f"repeat-{number}"):
        if st.button("Edit question", icon=":material/edit:", type="tertiary", key=f"edit-{number}", disabled=disabled):
            edit(chat, number, question)
        if number == len(chat.answers) - 1 and not chat.pending:
            draw_again(chat, asked(question, number))


def draw_run(chat: Chat, run: Run) -> None:
    """The stages of an answer as they begin, and its text as it comes; the page is drawn anew when it is over."""
    if chat.run is not run:
        st.rerun()
    task = service().tasks.get(run.waits_for) if run.waits_for else None
    now = stage_label(run.stage) if run.stage else escape(task.message) if task else "Starting"
    with st.chat_message("assistant", avatar=ASSISTANT):
        status = st.status(f":shimmer[{now}]", type="compact")
        for stage, taken in run.times:
            status.text(f"{stage_label(stage)}: {seconds(taken)}")
        if run.rewritten:
            st.caption(f":material/reply: Understood as: {escape(run.rewritten)}")
        st.html(unfinished_html(run.text))
    label = "Stopping…" if run.is_stopping else "Stop"
    st.button(
        label, on_click=service().runs.stop, args=(chat,), icon=":material/stop_circle:", key="stop",
        disabled=run.is_stopping,
    )  # fmt: skip


def draw_problem(chat: Chat, pending: Pending) -> None:
    """Why the last question has no whole answer, and the ways to get one."""
    if len(chat.answers) == pending.place:
        draw_question(pending.question, pending.place)
    if pending.problem == STOPPED:
        st.caption(f":material/stop_circle: {STOPPED}")
    else:
        st.error(escape(pending.problem), icon=":material/error:")
    with st.container(horizontal=True):
        draw_again(chat, pending)
        if pending.llm != "none":
            draw_again(chat, replace(pending, llm="none"), "Show passages instead")


def draw_again(chat: Chat, pending: Pending, label: str = "Ask again") -> None:
    """A button that asks a question once more."""
    st.button(
        label, on_click=start, args=(chat, replace(pending, problem="", n_starts=1)), icon=":material/refresh:",
        type="tertiary", key=f"retry-{pending.llm}",
    )  # fmt: skip


@st.dialog("Edit and ask again")
def edit(chat: Chat, number: int, question: str) -> None:
    """Ask a question in other words, or another answer model."""
    st.text_area("Question", question, key=f"edited-{number}")
    models = answer_models()
    st.selectbox("Answered by", models, format_func=models.__getitem__, key=f"answered-by-{number}")
    if number < len(chat.answers) - 1:
        st.caption("The answers below it are replaced, too.")
    if st.button(
        "Ask", on_click=ask_edited, args=(chat, number), type="primary", icon=":material/send:", key="ask-edited"
    ):
        st.rerun()


def ask_edited(chat: Chat, number: int) -> None:
    """Ask what was edited."""
    question, llm = st.session_state[f"edited-{number}"], st.session_state[f"answered-by-{number}"]
    llm = llm if llm in answer_models() else ""  # a browser may send any address
    start(chat, asked(question, number, llm=llm or None))


def answer_models() -> dict[str, str]:
    """What may answer a question, by setting, with labels."""
    return {"": "The answer model in use", "none": "Passages only (no language model)", **models_found()}


def submit() -> None:
    """Ask what was typed; files that were dropped are added first, and are what the question is about."""
    given: Any = st.session_state.question
    text, files = (given, ()) if isinstance(given, str) else (given.text, given.files)
    chat, filters, task_id = this_chat(), None, None
    with errors_kept():
        if files:
            task = start_upload(service(), service().tasks, [(file.name, file) for file in files])
            task_id = task.id
            filters = Filters(sources=[stored_path(service().folder, name) for name in task.paths])
        if text.strip():
            start(chat, asked(text, len(chat.answers), filters), task_id)


def ask(question: str) -> None:
    """Ask a question that was offered."""
    start(this_chat(), asked(question, len(this_chat().answers)))


def start(chat: Chat, pending: Pending, waits_for: str | None = None) -> None:
    """Begin to answer; the page says so if that can't be."""
    with errors_kept():
        service().runs.start(chat, pending, waits_for)
    show_chat_in_address()


main()
