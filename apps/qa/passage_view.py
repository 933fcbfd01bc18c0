"""A passage in its place: on the page of its PDF, or between the lines around it, with what is cited marked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import streamlit as st
from browser import scroll_to
from escaping import escape
from passages import has_page_picture, page_picture, read_original, text_around
from rendering import text_html
from service import service

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag import Answer
from jina_rag.rag.answering.wording import VERDICT_MEANINGS
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import find_cited_spans
from jina_rag.rag.citations.source_context import SourceContext, page_image
from jina_rag.rag.text.cleaning import remove_invisible

LARGE = 900  # pixels
_opened = count()

Spans = list[tuple[int, int]]


@dataclass
class Panel:
    """What is open: a passage by its number, and another page of its document if one was turned to."""

    id: int
    number: int
    page: int | None = None

    def show(self, number: int) -> None:
        """Turn to another passage."""
        self.number, self.page = number, None

    def turn(self, page: int) -> None:
        """Turn to another page."""
        self.page = page


def open_passage(answer: Answer, number: int) -> None:
    """Open a passage of an answer, by its number."""
    st.session_state.panel = Panel(next(_opened), number)
    show_passage(answer)


@st.dialog("Passage", width="small", position="right", icon=":material/description:")
def show_passage(answer: Answer) -> None:
    """The passage that is open, and the ways to others."""
    panel: Panel = st.session_state.panel
    numbers = [citation.number for citation in answer.citations] or list(range(1, len(answer.passages) + 1))
    result = answer.passages[panel.number - 1]
    said, spans = _what_is_marked(answer, panel.number)
    _draw_steps("passage", "Passage", panel.number, numbers, panel.show)
    place = st.empty()
    st.caption(f"{said} Similarity to the question: {result.similarity:.2f}.")
    with st.container(key="passage"):
        heading = _draw_passage(panel, result.chunk, spans)
    where = ", ".join(filter(None, (Path(result.chunk.source).name, _page(result.chunk), heading)))
    place.markdown(f"**{escape(where)}**")
    if not service().store:
        draw_original(result.chunk.source)


def _what_is_marked(answer: Answer, number: int) -> tuple[str, Spans]:
    for citation in answer.citations:
        if citation.number == number:
            return VERDICT_MEANINGS[citation.verdict], find_cited_spans(answer.claims, number, citation.result.chunk)
    for highlight in answer.highlights:
        if highlight.number == number:
            return "Its best sentence is marked.", [(highlight.start, highlight.end)]
    return "Not cited.", []


def _page(chunk: Chunk) -> str:
    return f"page {chunk.page}" if chunk.page is not None else ""


def _draw_steps(key: str, label: str, now: int, numbers: list[int], turn: Callable[[int], None]) -> None:
    """Buttons to the one before and the one behind, among several."""
    if len(numbers) < 2:
        return
    place = numbers.index(now) if now in numbers else 0
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name, icon, to in (("Previous", "chevron_left", place - 1), ("Next", "chevron_right", place + 1)):
            there = 0 <= to < len(numbers)
            st.button(
                f"{name} {label.lower()}", icon=f":material/{icon}:", type="tertiary", key=f"{name}-{key}",
                disabled=not there, on_click=turn, args=(numbers[to],) if there else None,
            )  # fmt: skip
        st.caption(f"{label} {now} of {numbers[-1]}" if key == "page" else f"{place + 1} of {len(numbers)}")


def _draw_passage(panel: Panel, chunk: Chunk, spans: Spans) -> str | None:
    """The passage; returns the heading above what is marked."""
    if not service().store and has_page_picture(chunk):
        try:
            _draw_page(panel, chunk, spans)
        except (DocumentError, MissingDependencyError) as error:
            st.info(escape(str(error)))
        else:
            return chunk.heading
    return _draw_text(panel, chunk, spans)


def _draw_page(panel: Panel, chunk: Chunk, spans: Spans) -> None:
    """The page of a PDF, which can be had large enough to be read on a phone, with the passage marked."""
    page, own = panel.page or chunk.page or 1, chunk.page or 1
    last = max((other.page or 1 for other in service().index.chunks_of(chunk.source)), default=own)
    _draw_steps("page", "Page", page, list(range(1, last + 1)), panel.turn)
    is_large = st.toggle("Large", key="large-page", help="Large enough to read; scroll it sideways.")
    width = 2 * LARGE if is_large else LARGE
    picture, top = (
        page_picture(chunk, spans, width) if page == own else (page_image(chunk.source, page, width=width), 0)
    )
    with st.container(key="large" if is_large else "page"):
        marked = ", with the passage marked" if page == own else ""
        st.image(picture, width="stretch", alt=f"Page {page} of the document{marked}.")
    scroll_to(
        "[role=dialog] [data-testid=stImage] img", "page", f"{panel}{is_large}", share=top, from_top=0.3, focus=True
    )
    with st.expander("The passage as text"):
        st.text(remove_invisible(chunk.text))


def _draw_text(panel: Panel, chunk: Chunk, spans: Spans) -> str | None:
    """A passage between the lines around it; returns the heading above what is marked."""
    around, problem = SourceContext("", chunk.text, "", chunk.heading), None
    if not service().store:  # whose sources are files of other machines, or names that a stranger made up
        around, problem = text_around(chunk, spans[0][0] if spans else 0)
    if problem:
        st.info(escape(problem))
    is_markdown = around.is_markdown
    if around.before.strip():
        st.html(text_html(around.before, is_markdown=is_markdown, style="around"))
    with st.container(border=True, key="cited"):
        st.html(text_html(around.text, spans, is_markdown=is_markdown))
    if around.after.strip():
        st.html(text_html(around.after, is_markdown=is_markdown, style="around"))
    scroll_to(
        f"[role=dialog] .st-key-cited {'mark' if spans else '.text'}", "passage", f"{panel}", from_top=0.3, focus=True
    )
    return around.heading


def draw_original(source: str) -> None:
    """The whole file, unless it has changed since."""
    for document in service().index.documents_below([source]):
        st.download_button(
            "Open the original", partial(read_original, document), Path(source).name, on_click="ignore",
            icon=":material/open_in_new:", key="original",
        )  # fmt: skip
