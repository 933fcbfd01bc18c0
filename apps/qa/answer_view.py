"""How a question, its answer and the passages behind it are drawn."""

from collections.abc import Sequence

import streamlit as st
from escaping import escape
from feedback import keep_feedback
from passages import (
    answer_markdown,
    chip_label,
    claims_markdown,
    faded,
    has_page_picture,
    highlighted,
    page_picture,
    place_of,
    rank_table,
    seconds,
    snippet_markdown,
    stage_times,
    text_around,
    was_reranked,
)
from service import errors_shown, service

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import counted
from jina_rag.rag import Answer, SearchResult
from jina_rag.rag.answering.conversation import answer_as_markdown
from jina_rag.rag.answering.types import NO_LANGUAGE_MODEL
from jina_rag.rag.answering.wording import CONNECT_A_MODEL, VERDICT_MEANINGS, describe_judge, describe_verdicts
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import find_cited_spans
from jina_rag.rag.retrieval.highlights import Highlight
from jina_rag.rag.retrieval.snippets import make_snippet
from jina_rag.rag.text.cleaning import remove_invisible

USER, ASSISTANT = ":material/person:", ":material/menu_book:"
CHECKED, NOT_CHECKED, PASSAGE = ":material/check_circle:", ":material/help:", ":material/description:"
EXCERPT = 240  # characters
HIGHLIGHTS = 3  # passages that are seen at once; the page scrolls to its end, and the best one is the first
LARGE = 900  # pixels
LARGE_STYLE = f"""<style>
.st-key-large {{ overflow-x: auto; }}
.st-key-large img {{ width: {LARGE}px !important; max-width: none !important; }}
</style>"""


def draw_question(question: str) -> None:
    """What the reader asked, letter for letter."""
    with st.chat_message("user", avatar=USER):
        st.text(remove_invisible(question))


def draw_answer(answer: Answer, number: int) -> None:
    """An answer that is over, with all that can be done with it. `number` is its place in the conversation."""
    draw_question(answer.question)
    with st.chat_message("assistant", avatar=ASSISTANT):
        if answer.rewritten:
            st.caption(f":material/reply: Understood as: {escape(answer.rewritten)}")
        if answer.text:
            st.markdown(answer_markdown(answer.text, len(answer.passages)))
        if answer.stopped:
            st.caption(":material/stop_circle: Stopped early.")
        if answer.answered:
            draw_sources(answer, number)
        elif answer.text and answer.passages:
            draw_closest(answer, number)
        elif not answer.stopped:
            draw_highlights(answer, number)
        draw_tools(answer, number)


def draw_sources(answer: Answer, number: int) -> None:
    """The passages that the answer cites, and its claims, each with its verdict."""
    if answer.unknown_numbers:
        numbers = ", ".join(map(str, answer.unknown_numbers))
        st.warning(f"The answer cites passages that do not exist: {numbers}.", icon=":material/report:")
    if not answer.citations and not answer.stopped:
        st.warning("The answer cites no passage, so nothing shows that it is true.", icon=":material/report:")
    with st.container(horizontal=True, gap="small"):
        for citation in answer.citations:
            spans = find_cited_spans(answer.claims, citation.number, citation.result.chunk)
            icon = CHECKED if citation.verdict in ("quoted", "supported") else NOT_CHECKED
            told = VERDICT_MEANINGS[citation.verdict]
            label = f"{chip_label(citation.result.chunk, citation.number)} · {citation.verdict}"
            draw_chip(label, citation.number, citation.result, number, told, spans, icon)
    draw_claims(answer, number)


def draw_claims(answer: Answer, number: int) -> None:
    """How many claims have which verdict; opened, each of them."""
    icon = CHECKED if answer.checked else NOT_CHECKED
    with st.expander(describe_verdicts(answer), icon=icon, key=f"claims-{number}"):
        st.markdown(claims_markdown(answer))
        st.caption(escape(describe_judge(answer)))


def draw_closest(answer: Answer, number: int) -> None:
    """The closest passages, where the documents have no answer or say it in other words."""
    st.caption("What came closest, perhaps in other words:")
    for place, result in enumerate(answer.passages, start=1):
        draw_chip(chip_label(result.chunk, place), place, result, number, "Not cited.")
        about = make_snippet(result.chunk.text, answer.rewritten or answer.question, EXCERPT).text
        st.caption(escape(about))


def draw_highlights(answer: Answer, number: int) -> None:
    """Without a language model: the passages with the sentence of each that fits the question best, best first."""
    if not answer.passages:
        st.caption("Nothing was found. Try other words or fewer filters.")
        return
    st.markdown(NO_LANGUAGE_MODEL)
    first, more = answer.highlights[:HIGHLIGHTS], answer.highlights[HIGHLIGHTS:]
    for highlight in first:
        draw_highlight(answer, highlight, number)
    if more:
        with st.expander(counted(len(more), "more passage")):
            for highlight in more:
                draw_highlight(answer, highlight, number)
    st.caption(CONNECT_A_MODEL)
    st.page_link("app_pages/models.py", label="Choose an answer model", icon=":material/memory:")


def draw_highlight(answer: Answer, highlight: Highlight, number: int) -> None:
    """A passage and its best sentence, marked between the sentences around it."""
    result, span = answer.passages[highlight.number - 1], (highlight.start, highlight.end)
    draw_chip(chip_label(result.chunk), highlight.number, result, number, "Its best sentence is marked.", [span])
    st.markdown(snippet_markdown(make_snippet(result.chunk.text, "", EXCERPT, highlight=span)))


def draw_chip(
    label: str,
    place: int,
    result: SearchResult,
    number: int,
    told: str,
    spans: Sequence[tuple[int, int]] = (),
    icon: str = PASSAGE,
) -> None:
    """A button that opens a passage in which `spans` are marked."""
    if st.button(label, key=f"passage-{number}-{place}", icon=icon, help=f"{told} Open the passage."):
        show_passage(result, told, spans)


@st.dialog("Passage", width="small", position="right", icon=":material/description:")
def show_passage(result: SearchResult, told: str, cited: Sequence[tuple[int, int]]) -> None:
    """A passage in its place: on the page of the PDF, or between the lines around it. What is cited is marked."""
    chunk = result.chunk
    st.markdown(f"**{escape(place_of(chunk))}**")
    st.caption(f"{told} Similarity to the question: {result.similarity:.2f}.")
    if has_page_picture(chunk):
        try:
            draw_page(chunk, cited)
        except (DocumentError, MissingDependencyError) as error:
            st.info(escape(str(error)))
            draw_text_around(chunk, cited)
    else:
        draw_text_around(chunk, cited)


def draw_page(chunk: Chunk, cited: Sequence[tuple[int, int]]) -> None:
    """The page of a PDF, which can be had large enough to be read on a phone, with the passage marked."""
    is_large = st.toggle("Large", key="large-page", help="Large enough to read; scroll it sideways.")
    picture = page_picture(chunk, cited, width=2 * LARGE if is_large else LARGE)
    if is_large:
        st.html(LARGE_STYLE)
    with st.container(key="large" if is_large else "page"):
        st.image(picture, width="stretch", alt=f"Page {chunk.page} of the document, with the passage marked.")
    with st.expander("The passage as text"):
        st.text(remove_invisible(chunk.text))


def draw_text_around(chunk: Chunk, cited: Sequence[tuple[int, int]]) -> None:
    """A passage, framed, between the lines around it."""
    around, problem = text_around(chunk)
    if problem:
        st.info(escape(problem))
    st.markdown(faded(around.before))
    with st.container(border=True):
        st.markdown(highlighted(around.text, cited))
    st.markdown(faded(around.after))


def draw_tools(answer: Answer, number: int) -> None:
    """Why these passages, how long it took, copy, and what the reader thinks."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        rated = st.feedback("thumbs", key=f"feedback-{number}", on_change=_keep_feedback, args=(answer, number))
        with st.popover("Copy", icon=":material/content_copy:", type="tertiary"):
            text = answer.text if answer.answered else answer_as_markdown(answer)
            st.code(remove_invisible(text), language=None, wrap_lines=True)
        if st.button("Why these passages", key=f"why-{number}", icon=":material/manage_search:", type="tertiary"):
            show_ranks(answer)
        if answer.timings:
            with st.popover(seconds(answer.timings.total), icon=":material/timer:", type="tertiary"):
                st.markdown("  \n".join(stage_times(answer.timings)))
                if answer.generator:
                    st.caption(f"Answered by: {escape(answer.generator)}. {escape(describe_judge(answer))}")
    if rated is not None:
        st.caption("Thank you. Saved on this computer only.")


@st.dialog("Why these passages", width="large", icon=":material/manage_search:")
def show_ranks(answer: Answer) -> None:
    """The passages with their ranks on both sides of the search."""
    reranked = was_reranked(answer)
    st.caption(
        "Passages are found by meaning (vector similarity) and by words (BM25). The fused score joins both ranks "
        "and gives the order; a dash means that this side did not find the passage."
        + (" Then a reranker read the best of them with the question, and its score decides." * reranked)
    )
    st.markdown(rank_table(answer))


def _keep_feedback(answer: Answer, number: int) -> None:
    thumb = st.session_state[f"feedback-{number}"]
    if thumb is not None:
        with errors_shown():
            keep_feedback(service().folder, answer, helpful=bool(thumb))
