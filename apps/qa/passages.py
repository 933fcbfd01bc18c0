"""Answers and passages put into words and Markdown that pages can show; nothing here draws."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from untrusted import harmless, plain, visible

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag import (
    Answer,
    Chunk,
    CitationMark,
    CitationStream,
    Claim,
    PassagePlace,
    SearchResult,
    Stage,
    Timings,
    page_image,
    passage_boxes,
    read_place,
)

MARGIN = 700
"""How many characters before and after a passage are shown with it."""

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching your documents",
    "reading": "Reading the passages",
    "waiting": "Waiting",
    "answering": "Answering",
}


def place_of(chunk: Chunk) -> str:
    """File, page and heading in one line, as text."""
    page = f"page {chunk.page}" if chunk.page is not None else ""
    return visible(" ".join(", ".join(part for part in (Path(chunk.source).name, page, chunk.heading) if part).split()))


def chip_label(number: int, chunk: Chunk) -> str:
    """A button's label: the number, the file and the page, as Markdown."""
    page = f", p. {chunk.page}" if chunk.page is not None else ""
    return plain(f"{number} · {_shortened(Path(chunk.source).name)}{page}")


def _shortened(name: str, most: int = 40) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 11]}…{name[-10:]}"


def answer_markdown(text: str, n_passages: int) -> str:
    """An answer as Markdown, as much of it as there is: its bold words and lists, its marks as badges, nothing else."""
    marks = CitationStream(n_passages)
    parts = [*marks.feed(text), *marks.close()]
    return "".join(_badge(part) if isinstance(part, CitationMark) else harmless(part.text) for part in parts)


def _badge(mark: CitationMark) -> str:
    color = "orange" if mark.unknown else "blue"
    return f":{color}-badge[{', '.join(map(str, mark.numbers))}]"


def highlighted(text: str) -> str:
    """A passage as Markdown, each line marked."""
    return _by_line(text, lambda line: f":yellow-background[{line}]")


def faded(text: str) -> str:
    """What stands around a passage, as Markdown in grey."""
    return _by_line(text, lambda line: f":gray[{line}]")


def _by_line(text: str, dress: Callable[[str], str]) -> str:
    """Each line dressed by itself; blank lines part paragraphs, as in the document."""
    lines = (line.strip() for line in visible(text).strip().splitlines())
    return "\n".join(f"{dress(plain(line))}  " if line else "" for line in lines)


def stage_label(stage: Stage) -> str:
    """What happens now, for a reader who waits."""
    if stage.name == "waiting":
        return f"Waiting: {_counted(stage.n_ahead, 'other answer')} first"
    return _STAGES[stage.name]


def stage_times(timings: Timings) -> list[str]:
    """What happened and how long it took, a line for each stage that took any time."""
    times = (
        (name, getattr(timings, name)) for name in ("understanding", "searching", "waiting", "reading", "answering")
    )
    return [f"{_STAGES[name]}: {seconds(taken)}" for name, taken in times if taken]


def seconds(taken: float) -> str:
    """A time for people."""
    return f"{taken * 1000:.0f} ms" if taken < 1 else f"{taken:.1f} s"


def verdict(answer: Answer) -> str:
    """How much of an answer stands in the passages that it cites, in one sentence."""
    n_checked = sum(claim.verified for claim in answer.claims)
    if not answer.claims:
        return "There is nothing in this answer to check."
    if answer.verified:
        return "Checked: every sentence stands in a passage that it cites."
    return f"Checked: {n_checked} of {_counted(len(answer.claims), 'sentence')} stand in a passage that they cite."


def unsupported(answer: Answer) -> Iterator[Claim]:
    """What an answer says and no passage that it cites does."""
    return (claim for claim in answer.claims if not claim.verified)


def rank_table(answer: Answer) -> str:
    """Why these passages, as a table in Markdown: the rank and score of each on both sides of the search."""
    head = ("Passage", "Fused score", "Rank by meaning", "Similarity", "Rank by words", "BM25", "Found for", "Where")
    rows = (_rank_row(number, result, answer) for number, result in enumerate(answer.passages, start=1))
    lines = [head, (":-",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rank_row(number: int, result: SearchResult, answer: Answer) -> tuple[str, ...]:
    dense, lexical = result.dense, result.lexical
    return (
        str(number),
        f"{result.score:.4f}",
        str(dense.rank) if dense else "–",
        f"{result.similarity:.3f}",
        str(lexical.rank) if lexical else "–",
        f"{lexical.score:.2f}" if lexical else "–",
        "the question before" if result.chunk.id in answer.kept else "this question",
        plain(place_of(result.chunk)),
    )


def page_picture(chunk: Chunk) -> bytes | None:
    """The page of a PDF that a passage stands on, with its lines marked; None for other kinds.

    Raises:
        DocumentError: the file is gone or has changed.
        MissingDependencyError: a package that draws pages is not installed.
    """
    if chunk.page is None or Path(chunk.source).suffix.lower() != ".pdf":
        return None
    boxes = passage_boxes(chunk.source, chunk.page, chunk.start, chunk.end, chunk.text)
    return page_image(chunk.source, chunk.page, boxes)


def text_around(chunk: Chunk) -> tuple[PassagePlace, str | None]:
    """A passage and the text around it; if the document can't be read any more, the passage alone and why."""
    try:
        return read_place(chunk, margin=MARGIN), None
    except (DocumentError, MissingDependencyError) as error:
        return PassagePlace("", chunk.text, ""), str(error)


def keep_feedback(folder: Path, answer: Answer, *, helpful: bool) -> None:
    """Write what a reader thought of an answer into `feedback.jsonl` beside the index; it goes nowhere else."""
    record = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "helpful": helpful, **answer.as_dict()}
    with (folder / "feedback.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
