"""How well the questions about the sample documents are answered.

    python -m tests.apps.answers [--group GROUP] [--llm LLM] [--judge JUDGE] [--reranker RERANKER]

Without a language model: whether the right passage is found, and whether the highlighted sentence has the expected
phrase. ANSWERS.md has the figures.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.rag import Answer, DocumentIndex, RagPipeline, Retriever, SearchResult, make_generator, make_reranker
from jina_rag.rag.answering.judging import make_judge

SAMPLES = Path(__file__).parents[2] / "apps" / "qa" / "sample_documents"
Split = Literal["development", "held-out", "fresh"]
GROUPS: dict[str, tuple[Split, ...]] = {
    "seen": ("development", "held-out"),
    "fresh": ("fresh",),
}


@dataclass(frozen=True)
class Place:
    """A passage that answers: a phrase of it, and where it stands."""

    file: str
    page: int | None
    phrase: str

    def is_in(self, result: SearchResult) -> bool:
        chunk = result.chunk
        here = (Path(chunk.source).name, chunk.page) == (self.file, self.page)
        return here and one_line(self.phrase) in one_line(chunk.text)


@dataclass(frozen=True)
class Question:
    """A question, and the passages that answer it; none if the documents don't.

    Attributes:
        multilingual: Whether its documents are in another language than it is, or in a script that MiniLM can't read.
        near: For a question without an answer, whether it is about the same island.
    """

    question: str
    language: str
    split: Split
    passages: tuple[Place, ...] = ()
    multilingual: bool = False
    near: bool = False

    @property
    def is_english(self) -> bool:
        return self.language == "en" and not self.multilingual


@dataclass(frozen=True)
class Outcome:
    """What became of a question."""

    question: Question
    answer: Answer

    def finds(self, n: int) -> bool:
        """Whether a right passage is among the first `n`."""
        return any(map(self._is_right, self.answer.passages[:n]))

    def shows(self, n: int) -> bool:
        """Whether a right passage is among those of the first `n` highlights."""
        return any(self._is_right(result) for result, _ in self._highlighted(n))

    def highlights(self, n: int) -> bool:
        """Whether one of the first `n` highlights is in a right passage and has its expected phrase."""
        return any(
            place.is_in(result) and one_line(place.phrase) in one_line(text)
            for place in self.question.passages
            for result, text in self._highlighted(n)
        )

    @property
    def cites_a_right_passage(self) -> bool:
        return any(self._is_right(citation.result) for citation in self.answer.citations)

    @property
    def says_it(self) -> bool:
        return any(one_line(place.phrase) in one_line(self.answer.text) for place in self.question.passages)

    @property
    def checked(self) -> bool:
        return self.answer.checked

    @property
    def declined(self) -> bool:
        return not self.answer.answered

    def _is_right(self, result: SearchResult) -> bool:
        return any(place.is_in(result) for place in self.question.passages)

    def _highlighted(self, n: int) -> Iterator[tuple[SearchResult, str]]:
        for highlight in self.answer.highlights[:n]:
            result = self.answer.passages[highlight.number - 1]
            yield result, result.chunk.text[highlight.start : highlight.end]


def one_line(text: str) -> str:
    return " ".join(text.split())


def load_questions() -> tuple[list[Question], list[Question]]:
    """The questions that the sample documents answer, and those that they don't."""
    rows = json.loads(Path(__file__).with_name("questions.json").read_text(encoding="utf-8"))
    answered = [Question(**{**row, "passages": tuple(Place(**p) for p in row["passages"])}) for row in rows["answered"]]
    return answered, [Question(**row) for row in rows["unanswered"]]


def ask_all(pipeline: RagPipeline, questions: Sequence[Question]) -> list[Outcome]:
    return [Outcome(question, pipeline.ask(question.question)) for question in questions]


def share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _report(title: str, outcomes: Sequence[Outcome], *, has_model: bool) -> Iterator[str]:
    """What is reported of questions that the documents answer."""
    yield f"{title}: {len(outcomes)} questions with an answer"
    yield f"  right passage among 1, 3, 5 found      {_shares(outcomes, Outcome.finds)}"
    if has_model:
        for name in ("cites_a_right_passage", "says_it", "checked", "declined"):
            yield f"  {name.replace('_', ' '):38} {share(getattr(outcome, name) for outcome in outcomes):.2f}"
    else:
        yield f"  right passage among 1, 3, 5 highlights {_shares(outcomes, Outcome.shows)}"
        yield f"  phrase in 1, 3, 5 highlights           {_shares(outcomes, Outcome.highlights)}"


def _shares(outcomes: Sequence[Outcome], measure: Callable[[Outcome, int], bool]) -> str:
    return " ".join(f"{share(measure(outcome, n) for outcome in outcomes):.2f}" for n in (1, 3, 5))


def main(groups: Sequence[str], llm: str, judge: str, reranker: str | None) -> None:
    """Ask the questions of some groups, and print what became of them."""
    answered, unanswered = load_questions()
    generator = make_generator(llm)
    with (
        TemporaryDirectory() as folder,
        Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=1)) as embedder,
        DocumentIndex.create_or_open(folder, embedder) as index,
    ):
        index.add([SAMPLES])
        retriever = Retriever(index, make_reranker(reranker) if reranker else None)
        pipeline = RagPipeline(retriever, generator, judge=make_judge(judge, generator))
        for group in groups:
            good = [asked for asked in answered if asked.is_english and asked.split in GROUPS[group]]
            for line in _report(group, ask_all(pipeline, good), has_model=generator is not None):
                sys.stdout.write(f"{line}\n")
            bad = [asked for asked in unanswered if asked.language == "en" and asked.split in GROUPS[group]]
            if generator:
                outcomes = ask_all(pipeline, bad)
                sys.stdout.write(f"{group}: {len(bad)} questions without an answer\n")
                for name in ("declined", "checked"):
                    sys.stdout.write(f"  {name:38} {share(getattr(outcome, name) for outcome in outcomes):.2f}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How well the questions about the sample documents are answered.")
    parser.add_argument("--group", choices=GROUPS, action="append", help="which questions; all if none is named")
    parser.add_argument("--llm", default="none", help="what answers, as for jina-rag ask (%(default)s)")
    parser.add_argument("--judge", default="none", help="what reads the claims, as for jina-rag ask (%(default)s)")
    parser.add_argument("--reranker", help="what puts the passages in order, as for jina-rag ask")
    options = parser.parse_args()
    main(options.group or list(GROUPS), options.llm, options.judge, options.reranker)
