"""How a question, its answer and the passages behind it are drawn."""

import streamlit as st
from browser import draw_clickable, draw_copy_button, scroll_to
from escaping import escape
from passage_view import open_passage
from passages import chip_label, objections, seconds, stage_times
from rendering import answer_html, claims_html, snippet_html

from jina_rag.formatting import counted
from jina_rag.rag import Answer
from jina_rag.rag.answering.conversation import answer_as_markdown
from jina_rag.rag.answering.types import NO_LANGUAGE_MODEL
from jina_rag.rag.answering.wording import CONNECT_A_MODEL, VERDICT_MEANINGS, describe_judge, describe_verdicts
from jina_rag.rag.retrieval.highlights import Highlight
from jina_rag.rag.retrieval.snippets import make_snippet
from jina_rag.rag.text.cleaning import remove_invisible

USER, ASSISTANT = ":material/person:", ":material/menu_book:"
CHECKED, NOT_CHECKED, PASSAGE = ":material/check_circle:", ":material/help:", ":material/description:"
EXCERPT = 240  # characters
SHOWN_AT_ONCE = 3  # passages, and objections; more are folded


def draw_question(question: str, number: int) -> None:
    """A question that is being answered, at the top of the view. `number` is its place in the conversation."""
    with st.container(key="asked"):
        draw_asked(question)
    scroll_to(".st-key-asked", "asked", f"{number} {question}", from_top=0.1)  # below the header


def draw_asked(question: str) -> None:
    """What the reader asked, letter for letter."""
    with st.chat_message("user", avatar=USER):
        st.text(remove_invisible(question))


def draw_answer(answer: Answer, number: int) -> None:
    """An answer that is over, with all that can be done with it. `number` is its place in the conversation."""
    draw_asked(answer.question)
    with st.chat_message("assistant", avatar=ASSISTANT):
        if answer.rewritten:
            st.caption(f":material/reply: Understood as: {escape(answer.rewritten)}")
        if answer.text and (cited := draw_clickable(answer_html(answer), f"answer-{number}")):
            open_cited(answer, cited)
        if answer.stopped:
            st.caption(":material/stop_circle: Stopped early.")
        if answer.answered:
            draw_sources(answer, number)
        elif answer.text and answer.passages:
            draw_closest(answer, number)
        elif not answer.stopped:
            draw_highlights(answer, number)
        draw_tools(answer, number)


def open_cited(answer: Answer, number: int) -> None:
    """Open the passage whose number was clicked, if there is one."""
    if 1 <= number <= len(answer.passages):
        open_passage(answer, number)
    else:
        st.toast(f"There is no passage {number}.", icon=":material/report:")


def draw_sources(answer: Answer, number: int) -> None:
    """What speaks against the answer, its claims with their verdicts, and the passages that it cites."""
    against = objections(answer)
    if against:
        more = [f"And {len(against) - SHOWN_AT_ONCE} more below."] if len(against) > SHOWN_AT_ONCE else []
        lines = [escape(line) for line in against[:SHOWN_AT_ONCE]] + more
        st.warning("  \n".join(lines), icon=":material/report:")
    with st.expander(
        describe_verdicts(answer), icon=CHECKED if answer.checked else NOT_CHECKED, key=f"claims-{number}"
    ):
        st.html(claims_html(answer))
        st.caption(escape(describe_judge(answer)))
    with st.container(horizontal=True, gap="small"):
        for citation in answer.citations:
            icon = CHECKED if citation.verdict in ("quoted", "supported") else NOT_CHECKED
            label = f"{chip_label(citation.result.chunk, citation.number)} · {citation.verdict}"
            draw_chip(answer, citation.number, number, label, VERDICT_MEANINGS[citation.verdict], icon)


def draw_closest(answer: Answer, number: int) -> None:
    """The closest passages, where the documents have no answer or say it in other words."""
    st.caption("What came closest, perhaps in other words:")
    for place, result in enumerate(answer.passages, start=1):
        draw_chip(answer, place, number, chip_label(result.chunk, place), "Not cited.")
        about = make_snippet(result.chunk.text, answer.rewritten or answer.question, EXCERPT)
        st.caption(escape(about.text))


def draw_highlights(answer: Answer, number: int) -> None:
    """Without a language model: the passages with the sentence of each that fits the question best, best first."""
    if not answer.passages:
        st.caption("Nothing was found. Try other words or fewer filters.")
        return
    st.markdown(NO_LANGUAGE_MODEL)
    first, more = answer.highlights[:SHOWN_AT_ONCE], answer.highlights[SHOWN_AT_ONCE:]
    for highlight in first:
        draw_highlight(answer, highlight, number)
    if more:
        with st.expander(counted(len(more), "more passage")):
            for highlight in more:
                draw_highlight(answer, highlight, number)
    st.caption(CONNECT_A_MODEL)
    st.page_link("app_pages/models.py", label="Connect a model", icon=":material/memory:")


def draw_highlight(answer: Answer, highlight: Highlight, number: int) -> None:
    """A passage and its best sentence, marked between the sentences around it."""
    chunk, span = answer.passages[highlight.number - 1].chunk, (highlight.start, highlight.end)
    draw_chip(answer, highlight.number, number, chip_label(chunk), "Its best sentence is marked.")
    st.html(snippet_html(make_snippet(chunk.text, "", EXCERPT, highlight=span)))


def draw_chip(answer: Answer, place: int, number: int, label: str, said: str, icon: str = PASSAGE) -> None:
    """A button that opens a passage."""
    if st.button(label, key=f"passage-{number}-{place}", icon=icon, help=f"{said} Open the passage."):
        open_passage(answer, place)


def draw_tools(answer: Answer, number: int) -> None:
    """Copy it, and see how long it took and who answered."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        draw_copy_button(answer_as_markdown(answer), f"copy-{number}")
        if answer.timings:
            with st.popover(seconds(answer.timings.total), icon=":material/timer:", type="tertiary"):
                st.markdown("  \n".join(stage_times(answer.timings)))
                if answer.generator:
                    st.caption(f"Answered by: {escape(answer.generator)}. {escape(describe_judge(answer))}")
