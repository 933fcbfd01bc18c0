"""Ask: a conversation about the documents, in which every answer names the passages that it rests on."""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import streamlit as st
from answer_view import LIBRARIAN, draw_answer, draw_question
from first_start import is_ready
from passages import answer_markdown, seconds, stage_label
from service import errors_shown, service
from untrusted import plain

from jina_rag.errors import JinaRagError
from jina_rag.rag import (
    AnswerRun,
    CitationMark,
    Conversation,
    DocumentIndex,
    Filters,
    Found,
    RagPipeline,
    SearchOptions,
    Stage,
    Text,
)

# Questions that the sample documents answer; each is offered only where its document is in the index.
EXAMPLES = {
    "ferry-timetable.html": "When does the last boat leave Ostrel?",
    "lamp-manual.pdf": "What does fault code E7 mean?",
    "history-of-the-light.pdf": "Whom did Edith Marrable rescue in the gale?",
    "haeufige-fragen.de.html": "Wie hoch ist das Pfand für den Audioguide?",
}
SECONDS_BETWEEN_DRAWINGS = 0.05


@dataclass
class Open:
    """A question that is being answered, was stopped before the first word, or failed.

    It is changed in place: after a stop, Streamlit lets nothing be drawn and no state be set.
    """

    question: str
    problem: str | None = None
    answering: bool = True
    kept: bool = False  # as a turn of the conversation, whole or in part


def main() -> None:
    """Draw the page."""
    with errors_shown():
        if not is_ready():
            return
        conversation = current_conversation(service().pipeline())
        asked = st.chat_input("Ask a question about your documents", key="question", submit_mode="stop")
        asked = asked or st.session_state.pop("again", None)
        if not (asked or conversation.turns or open_question()):
            asked = draw_beginning(conversation.pipeline.index)
        options = draw_header(conversation)
        for number, answer in enumerate(conversation.turns):
            draw_answer(answer, number)
        if asked:
            answer_now(conversation, asked, options)
        draw_open_question(conversation)


def open_question() -> Open | None:
    """The last question, if it has no whole answer."""
    question: Open | None = st.session_state.get("open")
    return None if question and question.kept and not question.problem else question


def current_conversation(pipeline: RagPipeline) -> Conversation:
    """This session's conversation, over the models that are in use now."""
    conversation: Conversation = st.session_state.setdefault("conversation", Conversation(pipeline))
    conversation.pipeline = pipeline
    return conversation


def draw_header(conversation: Conversation) -> SearchOptions:
    """What can be done with the whole conversation, and where to look."""
    with st.container(horizontal=True, horizontal_alignment="right", key="tools"):
        with st.popover("Where to look", icon=":material/filter_alt:", type="tertiary"):
            filters = draw_filters(conversation.pipeline.index)
        if conversation.turns:
            st.download_button(
                "Download",
                conversation.as_markdown(),
                "conversation.md",
                "text/markdown",
                on_click="ignore",
                icon=":material/download:",
                type="tertiary",
                key="download",
            )
            st.button(
                "New conversation", on_click=begin_anew, icon=":material/add_comment:", type="tertiary", key="new"
            )
    if filters:
        st.caption(f":material/filter_alt: Looking only into {plain(in_words(filters))}.")
    return SearchOptions(filters=filters or None)


def draw_filters(index: DocumentIndex) -> Filters:
    """Fields for collections and kinds of documents; nothing chosen means everywhere."""
    collections = sorted(index.collections())
    kinds = sorted({document.kind for document in index.documents()})
    return Filters(
        collections=tuple(st.multiselect("Collections", collections, placeholder="All", key="collections")),
        kinds=tuple(st.multiselect("Kinds of documents", kinds, placeholder="All", key="kinds")),
    )


def in_words(filters: Filters) -> str:
    """Where a search looks."""
    return " and ".join(", ".join(names) for names in (filters.collections, filters.kinds) if names)


def draw_beginning(index: DocumentIndex) -> str | None:
    """What the page is for, and questions to begin with. Returns the one that was clicked, and then draws nothing."""
    if chosen := st.session_state.get("example"):
        return str(chosen)
    st.title("Ask your documents")
    st.caption("Every answer names the passages that it rests on. Open them, and check.")
    names = {Path(document.source).name for document in index.documents()}
    if examples := [question for name, question in EXAMPLES.items() if name in names]:
        st.pills("For example", examples, key="example")
    return None


def answer_now(conversation: Conversation, question: str, options: SearchOptions) -> None:
    """Answer on the page. What has come is kept, also if it is stopped or fails; the page is then drawn anew."""
    st.session_state.open = now = Open(question)
    n_turns = len(conversation.turns)
    draw_question(question)
    draw_anew_when_stopped()
    try:
        with st.chat_message("assistant", avatar=LIBRARIAN), conversation.start(question, options=options) as run:
            draw_run(run)
    except JinaRagError as error:
        now.problem = str(error)
    finally:  # also when the reader stops it, which is an exception too
        now.answering, now.kept = False, len(conversation.turns) > n_turns
    st.rerun()


@st.fragment(run_every=1)
def draw_anew_when_stopped() -> None:
    """A script that was stopped can draw no more. This one begins when it has ended."""
    question: Open | None = st.session_state.get("open")
    if not (question and question.answering):
        st.rerun()


def draw_run(run: AnswerRun) -> None:
    """The stages of an answer as they begin, and its text as it comes."""
    text, drawn, began, stage = "", 0.0, monotonic(), None
    status = st.status(":shimmer[Beginning]", type="compact")
    understood, place = st.empty(), st.empty()
    for event in run:
        now = monotonic()
        if isinstance(event, Stage):
            if stage:
                status.text(f"{stage_label(stage)}: {seconds(now - began)}")
            stage, began = event, now
            status.update(label=f":shimmer[{stage_label(stage)}]")
        elif isinstance(event, Found) and event.rewritten:
            understood.caption(f":material/reply: Understood as: {plain(event.rewritten)}")
        elif isinstance(event, Text | CitationMark):
            text += event.text
            if now - drawn > SECONDS_BETWEEN_DRAWINGS:  # also without news: only what draws can be stopped
                place.markdown(answer_markdown(text, 99))
                drawn = now
    place.markdown(answer_markdown(text, 99))


def draw_open_question(conversation: Conversation) -> None:
    """The question that got no whole answer and why, and the way to ask the last one again."""
    if question := open_question():
        if not question.kept:
            draw_question(question.question)
        if question.problem:
            st.error(plain(question.problem), icon=":material/error:")
        else:
            st.caption(":material/stop_circle: Stopped before the answer began.")
    if question or conversation.turns:
        st.button("Ask again", on_click=ask_again, icon=":material/refresh:", type="tertiary", key="retry")


def ask_again() -> None:
    """Ask the last question once more; its new answer takes the place of the old one."""
    conversation: Conversation = st.session_state.conversation
    turns, question = conversation.turns, open_question()
    if turns and (question is None or question.kept):
        st.session_state.pop(f"feedback-{len(turns) - 1}", None)
        st.session_state.conversation = Conversation(conversation.pipeline, turns[:-1])
    st.session_state.again = question.question if question else turns[-1].question


def begin_anew() -> None:
    """Forget the conversation."""
    for key in list(st.session_state):
        if key in ("conversation", "open", "example") or str(key).startswith("feedback-"):
            del st.session_state[key]


main()
