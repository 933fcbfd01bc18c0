"""How well answers do on the questions about the sample documents.

python -m tests.apps.answers [--group GROUP] [--llm LLM] [--reranker RERANKER]

ANSWERS.md has the figures, and tells which questions were looked at when thresholds were chosen, and which were not.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.cli.output import PASSAGE_LENGTH
from jina_rag.rag import Answer, DocumentIndex, RagPipeline, Retriever, SearchResult, make_generator, make_reranker
from jina_rag.rag.retrieval.snippets import make_snippet

SAMPLES = Path(__file__).parents[2] / "apps" / "qa" / "sample_documents"
Split = Literal["development", "held-out", "fresh"]
GROUPS: dict[str, tuple[Split, ...]] = {
    "seen": ("development", "held-out"),  # looked at while the rule was made
    "development": ("development",),
    "held-out": ("held-out",),
    "fresh": ("fresh",),  # a forecast
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

    @property
    def cites_a_right_passage(self) -> bool:
        cited = [citation.result for citation in self.answer.citations]
        return any(place.is_in(result) for place in self.question.passages for result in cited)

    @property
    def cites_all_right_passages(self) -> bool:
        cited = [citation.result for citation in self.answer.citations]
        return all(any(place.is_in(result) for result in cited) for place in self.question.passages)

    @property
    def found(self) -> bool:
        return any(place.is_in(result) for place in self.question.passages for result in self.answer.passages)

    @property
    def finds_it_first(self) -> bool:
        return any(place.is_in(result) for place in self.question.passages for result in self.answer.passages[:1])

    @property
    def checked(self) -> bool:
        return self.answer.checked

    @property
    def says_it(self) -> bool:
        return self._stands_in(self.answer.text)

    @property
    def says_or_shows_it(self) -> bool:
        """Whether the expected phrase is in the answer or, if there is none, in what is shown to have come closest."""
        closest = () if self.answer.answered else self.answer.passages
        return self.says_it or any(
            self._stands_in(make_snippet(result.chunk.text, self.question.question, PASSAGE_LENGTH).text)
            for result in closest
        )

    def _stands_in(self, text: str) -> bool:
        return any(one_line(place.phrase) in one_line(text) for place in self.question.passages)


def one_line(text: str) -> str:
    return " ".join(text.split())


def load_questions() -> tuple[list[Question], list[Question]]:
    """The questions that the sample documents answer, and those that they don't."""
    rows = json.loads(Path(__file__).with_name("questions.json").read_text(encoding="utf-8"))
    answered = [Question(**{**row, "passages": tuple(Place(**p) for p in row["passages"])}) for row in rows["answered"]]
    return answered, [Question(**row) for row in rows["unanswered"]]


def ask_all(pipeline: RagPipeline, questions: Sequence[Question]) -> list[Outcome]:
    return [Outcome(question, pipeline.ask(question.question)) for question in questions]


def share(outcomes: Sequence[Outcome], name: str) -> float:
    return sum(bool(getattr(outcome, name)) for outcome in outcomes) / len(outcomes)


def declined(outcomes: Sequence[Outcome]) -> float:
    return sum(not outcome.answer.answered for outcome in outcomes) / len(outcomes)


def _report(groups: Sequence[str], answered: Sequence[Outcome], unanswered: Sequence[Outcome]) -> Iterator[str]:
    for group in groups:
        splits = GROUPS[group]
        good = [o for o in answered if o.question.is_english and o.question.split in splits]
        cross = [outcome for outcome in good if len(outcome.question.passages) > 1]
        bad = [o for o in unanswered if o.question.language == "en" and o.question.split in splits]
        near = [outcome for outcome in bad if outcome.question.near]
        yield f"{group}: {len(good)} English questions with an answer, {len(cross)} of them across documents"
        for name in ("found", "finds_it_first", "cites_a_right_passage", "says_it", "says_or_shows_it", "checked"):
            yield f"  {name.replace('_', ' '):24} {share(good, name):.2f}"
        yield f"  cites all right passages, across documents {share(cross, 'cites_all_right_passages'):.2f}"
        yield f"{group}: {declined(bad):.2f} of {len(bad)} questions without an answer declined"
        yield f"  {declined(near):.2f} of the {len(near)} near misses"
        yield f"  {share(bad, 'checked'):.2f} answered all the same, and all of it quoted or supported"
    for language in ("de", "fr", "es", "ja", "ar", "en"):
        others = [o for o in answered if o.question.language == language and not o.question.is_english]
        if others:
            cited = sum(outcome.cites_a_right_passage for outcome in others)
            yield f"{language}, for the record: {cited} of {len(others)} cite a right passage"
    for outcome in answered:
        if outcome.question.is_english and not outcome.cites_a_right_passage:
            yield f"missed: {outcome.question.question} -> {outcome.answer.text[:100]}"
    for outcome in unanswered:
        if outcome.answer.answered:
            yield f"answered: {outcome.question.question} -> {outcome.answer.text[:100]}"


def main(groups: Sequence[str], llm: str | None, reranker: str | None) -> None:
    """Ask the questions of some groups, and print how they were answered."""
    splits = {split for group in groups for split in GROUPS[group]}
    answered, unanswered = ([asked for asked in part if asked.split in splits] for part in load_questions())
    with (
        TemporaryDirectory() as folder,
        Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=1)) as embedder,
        DocumentIndex.create_or_open(folder, embedder) as index,
    ):
        index.add([SAMPLES])
        ranking = make_reranker(reranker) if reranker else None
        pipeline = RagPipeline(Retriever(index, ranking), make_generator(llm, index))
        for line in _report(groups, ask_all(pipeline, answered), ask_all(pipeline, unanswered)):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How well answers do on the questions about the sample documents.")
    parser.add_argument("--group", choices=GROUPS, action="append", help="which questions; all if none is named")
    parser.add_argument("--llm", help="who answers, as for jina-rag ask; extractive if it is left out")
    parser.add_argument("--reranker", help="what puts the passages in order, as for jina-rag ask")
    options = parser.parse_args()
    main(options.group or list(GROUPS), options.llm, options.reranker)
