"""Ask: a conversation about the documents, in which every answer cites its sources."""

from pathlib import Path
from time import monotonic

import streamlit as st
from answer_view import ASSISTANT, draw_answer, draw_question
from chat_sessions import ChatSession, Question
from escaping import escape
from first_start import is_ready
from passages import seconds, stage_label
from rendering import unfinished_html
from service import errors_shown, service
from session import keep_session, start_new_session, this_session

from jina_rag.errors import JinaRagError
from jina_rag.rag import Conversation, DocumentIndex, Filters, SearchOptions
from jina_rag.rag.answering.run import AnswerRun, Found, Stage
from jina_rag.rag.citations.marks import CitationMark, Text

# Questions that the sample documents answer; each is offered only where its document is in the index.
EXAMPLES = {
    "ferry-timetable.html": "When does the last boat leave Ostrel?",
    "lamp-manual.pdf": "What does fault code E7 mean?",
    "history-of-the-light.pdf": "Whom did Edith Marrable rescue in the gale?",
    "haeufige-fragen.de.html": "Wie hoch ist das Pfand für den Audioguide?",
}
SECONDS_BETWEEN_DRAWINGS = 0.05


def main() -> None:
    """Draw the page."""
    with errors_shown():
        if not is_ready():
            return
        session = this_session()
        conversation = session.conversation_with(service().pipeline())
        asked = st.chat_input("Ask a question about your documents", key="question", submit_mode="stop")
        asked = asked or st.session_state.pop("again", None)
        if not (asked or conversation.turns or session.unanswered):
            asked = draw_beginning(conversation.pipeline.retriever.index)
        options = draw_header(conversation)
        for number, answer in enumerate(conversation.turns):
            draw_answer(answer, number)
        if asked:
            answer_now(session, conversation, asked, options)
        draw_unanswered(session, conversation)


def draw_header(conversation: Conversation) -> SearchOptions:
    """What can be done with the whole conversation, and the filters of the search."""
    with st.container(horizontal=True, horizontal_alignment="right", key="tools"):
        with st.popover("Filter sources", icon=":material/filter_alt:", type="tertiary"):
            filters = draw_filters(conversation.pipeline.retriever.index)
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
            st.button("New conversation", on_click=clear, icon=":material/add_comment:", type="tertiary", key="new")
    if filters:
        st.caption(f":material/filter_alt: Searching {escape(in_words(filters))} only.")
    return SearchOptions(filters=filters or None)


def draw_filters(index: DocumentIndex) -> Filters:
    """Fields for collections and kinds of documents; nothing chosen means all."""
    collections = sorted(index.collections())
    kinds = sorted({document.kind for document in index.documents()})
    return Filters(
        collections=tuple(st.multiselect("Collections", collections, placeholder="All", key="collections")),
        file_types=tuple(st.multiselect("File types", kinds, placeholder="All", key="kinds")),
    )


def in_words(filters: Filters) -> str:
    """What is searched."""
    return " and ".join(", ".join(names) for names in (filters.collections, filters.file_types) if names)


def draw_beginning(index: DocumentIndex) -> str | None:
    """What the page is for, and questions to begin with. Returns the one that was clicked, and then draws nothing."""
    if chosen := st.session_state.get("example"):
        return str(chosen)
    st.title("Ask your documents")
    st.caption("Answers cite passages of your documents. Click one to read it in its place.")
    names = {Path(document.source).name for document in index.documents()}
    if examples := [question for name, question in EXAMPLES.items() if name in names]:
        st.pills("For example", examples, key="example")
    return None


def answer_now(session: ChatSession, conversation: Conversation, question: str, options: SearchOptions) -> None:
    """Answer on the page. What has come is kept, also if it is stopped or fails; the page is then drawn anew."""
    session.last = now = Question(question)
    keep_session()
    n_turns = len(conversation.turns)
    draw_question(question)
    draw_anew_when_over()
    try:
        with st.chat_message("assistant", avatar=ASSISTANT), conversation.start(question, options=options) as run:
            draw_run(run)
    except JinaRagError as error:
        now.problem = str(error)
    finally:  # also when the reader stops it or leaves, which is an exception too
        now.is_being_answered, now.is_kept = False, len(conversation.turns) > n_turns
    st.rerun()


@st.fragment(run_every=1)
def draw_anew_when_over() -> None:
    """A script that was stopped can draw no more. This one begins when it has ended."""
    question = this_session().last
    if not (question and question.is_being_answered):
        st.rerun()


def draw_run(run: AnswerRun) -> None:
    """The stages of an answer as they begin, and its text as it comes."""
    text, drawn, began, stage = "", 0.0, monotonic(), None
    status = st.status(":shimmer[Starting]", type="compact")
    understood, place = st.empty(), st.empty()
    for event in run:
        now = monotonic()
        if isinstance(event, Stage):
            if stage:
                status.text(f"{stage_label(stage)}: {seconds(now - began)}")
            stage, began = event, now
            status.update(label=f":shimmer[{stage_label(stage)}]")
            place.html(unfinished_html(text))  # all of it: the check comes behind it and may take a while
        elif isinstance(event, Found) and event.rewritten:
            understood.caption(f":material/reply: Understood as: {escape(event.rewritten)}")
        elif isinstance(event, Text | CitationMark):
            text += event.text
            if now - drawn > SECONDS_BETWEEN_DRAWINGS:  # also without news: only what draws can be stopped
                place.html(unfinished_html(text))
                drawn = now
    place.html(unfinished_html(text))


def draw_unanswered(session: ChatSession, conversation: Conversation) -> None:
    """The question that got no whole answer and why, and the way to ask the last one again."""
    question = session.unanswered
    if question:
        if not question.is_kept:
            draw_question(question.text)
        if question.problem:
            st.error(escape(question.problem), icon=":material/error:")
        elif question.is_being_answered:  # by the page that was here before it was reloaded, and is about to end
            draw_anew_when_over()
        else:
            st.caption(":material/stop_circle: Stopped before the answer began.")
    if question or conversation.turns:
        st.button("Ask again", on_click=ask_again, icon=":material/refresh:", type="tertiary", key="retry")


def ask_again() -> None:
    """Ask the last question once more; its new answer takes the place of the old one."""
    session = this_session()
    question, turns = session.unanswered, session.turns
    if turns and (question is None or question.is_kept):
        st.session_state.pop(f"feedback-{len(turns) - 1}", None)
        session.drop_last_answer()
    st.session_state.again = question.text if question else turns[-1].question


def clear() -> None:
    """Forget the conversation, and what was clicked in it."""
    start_new_session()
    for key in list(st.session_state):
        if key == "example" or str(key).startswith("feedback-"):
            del st.session_state[key]


main()
