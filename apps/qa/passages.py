"""Answers and passages put into words, and what is shown of a passage's source; nothing here draws."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from escaping import escape

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import counted
from jina_rag.rag import Answer
from jina_rag.rag.answering.run import Stage
from jina_rag.rag.answering.types import Timings
from jina_rag.rag.answering.wording import describe_claim
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import Claim
from jina_rag.rag.citations.source_context import SourceContext, page_image, passage_boxes, read_source_context
from jina_rag.rag.documents.formats.pictures import PICTURE_KINDS
from jina_rag.rag.documents.reading import read_file
from jina_rag.rag.store.types import IndexedDocument

MARGIN = 700
"""How many characters before and after a passage are shown with it."""
MAX_NAME, MAX_CLAIM = 120, 160
"""Characters of a file's name, and of a claim that is objected to."""

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching your documents",
    "waiting": "Waiting",
    "reading": "Reading the passages",
    "answering": "Answering",
    "checking": "Checking the claims",
}


def chip_label(chunk: Chunk, number: int | None = None) -> str:
    """A button's label: the number, if answers cite it, the file and the page, as Markdown."""
    name = " ".join(Path(chunk.source).name.split())
    shown = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 11]}…{name[-10:]}"
    page = f", p. {chunk.page}" if chunk.page is not None else ""
    return escape((f"{number} · " if number else "") + shown + page)


def stage_label(stage: Stage) -> str:
    """What happens now, for a reader who waits."""
    if stage.name == "checking":
        return "Checking the claims… Stop ends the check and keeps the answer"
    if stage.name == "waiting":
        return f"Waiting: {counted(stage.n_ahead, 'other answer')} first"
    return _STAGES[stage.name]


def stage_times(timings: Timings) -> list[str]:
    """What happened and how long it took, a line for each stage that took any time."""
    times = ((name, getattr(timings, name)) for name in _STAGES)
    return [f"{_STAGES[name]}: {seconds(taken)}" for name, taken in times if taken]


def seconds(taken: float) -> str:
    """A short time: "40 ms", "1.2 s"."""
    return f"{taken * 1000:.0f} ms" if taken < 1 else f"{taken:.1f} s"


def objections(answer: Answer) -> list[str]:
    """What speaks against an answer, worst first, in sentences."""
    found = []
    if answer.unknown_numbers:
        found.append(f"It cites passages that do not exist: {', '.join(map(str, answer.unknown_numbers))}.")
    if not answer.citations and not answer.stopped:
        found.append("It cites no passage, so nothing shows that it is true.")
    for claim in answer.claims:
        if claim.verdict == "not found":
            why = describe_claim(claim) or "the judge did not find this in the cited passage"
            found.append(f"“{shorten(readable(claim), MAX_CLAIM, placeholder=' …')}”: {why}.")
    return found


def readable(claim: Claim) -> str:
    """What a claim says on one line, the row of a table by its cells."""
    cells = claim.text.strip("| ").split("|")
    return " · ".join(" ".join(cell.split()) for cell in cells)


def has_page_picture(chunk: Chunk) -> bool:
    """Whether a passage is on a page that can be shown."""
    return chunk.page is not None and Path(chunk.source).suffix.lower() in (".pdf", *PICTURE_KINDS)


def page_picture(chunk: Chunk, spans: Sequence[tuple[int, int]], width: int) -> tuple[bytes, float]:
    """The page of a PDF or picture that a passage is on, marked, and what is cited from it marked more strongly.

    Returns:
        The picture as PNG, `width` pixels wide, and how far down what is marked begins, from 0 to 1.

    Raises:
        DocumentError: the file is gone or has changed.
        MissingDependencyError: a package that draws pages is not installed.
    """
    page = chunk.page or 1
    cited = [(chunk.start + start, chunk.start + end) for start, end in spans]
    whole, *parts = passage_boxes(chunk.source, page, [(chunk.start, chunk.end), *cited], chunk.text)
    strong = [box for boxes in parts for box in boxes]
    top = min((box.top for box in strong or whole), default=0.0)
    return page_image(chunk.source, page, whole, cited=strong, width=width), top


def text_around(chunk: Chunk, place: int) -> tuple[SourceContext, str | None]:
    """A passage, the text around it and the headings above a place in it.

    If the document can't be read any more, it is the passage alone, and why.
    """
    try:
        return read_source_context(chunk, margin=MARGIN, place=place), None
    except (DocumentError, MissingDependencyError) as error:
        return SourceContext("", chunk.text, "", chunk.heading), str(error)


def read_original(document: IndexedDocument) -> bytes:
    """The file of a document, as it was when it was indexed.

    Raises:
        DocumentError: it is gone or has changed.
    """
    data = read_file(document.source).data
    if hashlib.sha256(data).hexdigest() != document.sha256:
        raise DocumentError(f"{document.source} has changed since it was indexed. Update the library, then ask again.")
    return data
