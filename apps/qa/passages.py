"""Answers and passages put into words and Markdown that pages can show; nothing here draws."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from escaping import escape, escape_answer

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import counted
from jina_rag.rag import Answer, SearchResult
from jina_rag.rag.answering.run import Stage
from jina_rag.rag.answering.types import Timings
from jina_rag.rag.answering.wording import describe_claim
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import Claim, Verdict
from jina_rag.rag.citations.marks import CitationMark, CitationStream
from jina_rag.rag.citations.source_context import SourceContext, page_image, passage_boxes, read_source_context
from jina_rag.rag.documents.formats.pictures import PICTURE_KINDS
from jina_rag.rag.retrieval.snippets import Snippet
from jina_rag.rag.text.cleaning import remove_invisible

MARGIN = 700
"""How many characters before and after a passage are shown with it."""

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching your documents",
    "waiting": "Waiting",
    "reading": "Reading the passages",
    "answering": "Answering",
    "checking": "Checking the claims",
}


_COLORS: dict[Verdict, str] = {"quoted": "green", "supported": "green", "not found": "red", "unchecked": "orange"}


def place_of(chunk: Chunk) -> str:
    """File, page and heading in one line, as text."""
    page = f"page {chunk.page}" if chunk.page is not None else ""
    return remove_invisible(
        " ".join(", ".join(part for part in (Path(chunk.source).name, page, chunk.heading) if part).split())
    )


def chip_label(chunk: Chunk, number: int | None = None) -> str:
    """A button's label: the number, if answers cite it, the file and the page, as Markdown."""
    page = f", p. {chunk.page}" if chunk.page is not None else ""
    return escape((f"{number} · " if number else "") + f"{_shortened(Path(chunk.source).name)}{page}")


def _shortened(name: str, most: int = 40) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 11]}…{name[-10:]}"


def answer_markdown(text: str, n_passages: int) -> str:
    """An answer as Markdown, as much of it as there is: its bold words and lists, its marks as badges, nothing else."""
    marks = CitationStream(n_passages)
    parts = [*marks.feed(text), *marks.close()]
    return "".join(_badge(part) if isinstance(part, CitationMark) else escape_answer(part.text) for part in parts)


def _badge(mark: CitationMark) -> str:
    color = "orange" if mark.unknown else "blue"
    return f":{color}-badge[{', '.join(map(str, mark.numbers))}]"


def highlighted(text: str, spans: Sequence[tuple[int, int]] = ()) -> str:
    """A passage as Markdown; what is cited from it, from one character to another each, is marked."""
    lines, place = [], 0
    for line in text.splitlines(keepends=True):
        cuts = {0, len(line), *(cut - place for span in spans for cut in span if 0 < cut - place < len(line))}
        pieces = (
            _marked(line[start:end], is_cited=any(first <= place + start < last for first, last in spans))
            for start, end in pairwise(sorted(cuts))
        )
        lines.append("".join(pieces).strip())
        place += len(line)
    return _paragraphs(lines)


def _marked(piece: str, *, is_cited: bool) -> str:
    shown = escape(piece.replace("\n", " "))
    words = shown.strip()
    return shown.replace(words, f":yellow-background[{words}]") if words and is_cited else shown


def faded(text: str) -> str:
    """What stands around a passage, as Markdown in grey."""
    lines = (escape(line.strip()) for line in text.splitlines())
    return _paragraphs([f":gray[{line}]" if line else "" for line in lines])


def _paragraphs(lines: Iterable[str]) -> str:
    """Lines of Markdown as one text; blank lines part paragraphs, as in the document."""
    return "\n".join(f"{line}  " if line else "" for line in lines).strip("\n")


def snippet_markdown(snippet: Snippet) -> str:
    """A snippet with the sentence that it is about marked and the rest in grey."""
    rest = [f":gray[{escape(text)}]" if text.strip() else "" for text in (snippet.before, snippet.after)]
    return f"{rest[0]}:yellow-background[{escape(snippet.sentence)}]{rest[1]}"


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


def claims_markdown(answer: Answer) -> str:
    """The claims of an answer as a list: the verdict on each, what it says and cites, and what is missing."""
    return "\n".join(f"- {_claim_markdown(claim)}" for claim in answer.claims)


def _claim_markdown(claim: Claim) -> str:
    marks = "".join(f" :blue-badge[{number}]" for number in claim.numbers)
    note = describe_claim(claim)
    shown = f":{_COLORS[claim.verdict]}-badge[{claim.verdict}] {escape(' '.join(claim.text.split()))}{marks}"
    return f"{shown} :gray[({escape(note)})]" if note else shown


def rank_table(answer: Answer) -> str:
    """Why these passages, as a table in Markdown: the rank and score of each on both sides of the search."""
    reranked = ("Reranked",) if was_reranked(answer) else ()
    scores = (*reranked, "Fused score", "Rank by meaning", "Similarity", "Rank by words", "BM25")
    head = ("Passage", "Where", *scores, "Found for")
    rows = (_rank_row(number, result, answer) for number, result in enumerate(answer.passages, start=1))
    lines = [head, (":-",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def was_reranked(answer: Answer) -> bool:
    """Whether a reranker put the passages in order."""
    return any(result.retrieval_score is not None for result in answer.passages)


def _rank_row(number: int, result: SearchResult, answer: Answer) -> tuple[str, ...]:
    dense, lexical = result.dense, result.lexical
    scores = (result.score,) if result.retrieval_score is None else (result.score, result.retrieval_score)
    return (
        str(number),
        escape(place_of(result.chunk)),
        *(f"{score:.4f}" for score in scores),
        str(dense.rank) if dense else "–",
        f"{result.similarity:.3f}",
        str(lexical.rank) if lexical else "–",
        f"{lexical.score:.2f}" if lexical else "–",
        "the question before" if result.chunk.id in answer.kept else "this question",
    )


def has_page_picture(chunk: Chunk) -> bool:
    """Whether a passage is on a page that can be shown."""
    return chunk.page is not None and Path(chunk.source).suffix.lower() in (".pdf", *PICTURE_KINDS)


def page_picture(chunk: Chunk, spans: Sequence[tuple[int, int]], width: int) -> bytes:
    """The page of a PDF or picture that a passage stands on, marked, and what is cited from it marked more strongly.

    As PNG, `width` pixels wide.

    Raises:
        DocumentError: the file is gone or has changed.
        MissingDependencyError: a package that draws pages is not installed.
    """
    page = chunk.page or 1
    cited = [(chunk.start + start, chunk.start + end) for start, end in spans]
    whole, *parts = passage_boxes(chunk.source, page, [(chunk.start, chunk.end), *cited], chunk.text)
    return page_image(chunk.source, page, whole, cited=[box for boxes in parts for box in boxes], width=width)


def text_around(chunk: Chunk) -> tuple[SourceContext, str | None]:
    """A passage and the text around it; if the document can't be read any more, the passage alone and why."""
    try:
        return read_source_context(chunk, margin=MARGIN), None
    except (DocumentError, MissingDependencyError) as error:
        return SourceContext("", chunk.text, ""), str(error)
