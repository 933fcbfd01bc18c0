"""How often the sentence that is highlighted in a passage is the one that answers, without a language model.

    python -m tests.apps.answers

How often passages are found, and how good the answers of a language model are, says `jina-rag eval
tests/questions/questions.jsonl`. ANSWERS.md has the figures.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.evaluation import Question
from jina_rag.evaluation.evaluating import has_passage
from jina_rag.rag import Answer, DocumentIndex, RagPipeline, Retriever, SearchResult
from tests.questions import SAMPLES, load_questions

GROUPS = {"seen": ("development", "held-out"), "fresh": ("fresh",)}


@dataclass(frozen=True)
class Outcome:
    """What became of a question."""

    question: Question
    answer: Answer

    def shows(self, n: int) -> bool:
        """Whether a right passage is among those of the first `n` highlights."""
        return any(has_passage(result.chunk, one) for one in self.question.expected for result, _ in self._first(n))

    def highlights(self, n: int) -> bool:
        """Whether one of the first `n` highlights is in a right passage and has its expected phrase."""
        return any(
            has_passage(result.chunk, one) and one_line(one.phrase) in one_line(text)
            for one in self.question.expected
            for result, text in self._first(n)
        )

    def _first(self, n: int) -> Iterator[tuple[SearchResult, str]]:
        for highlight in self.answer.highlights[:n]:
            result = self.answer.passages[highlight.number - 1]
            yield result, result.chunk.text[highlight.start : highlight.end]


def one_line(text: str) -> str:
    return " ".join(text.split())


def ask_group(pipeline: RagPipeline, group: str) -> list[Outcome]:
    """Ask the English questions of a group that have an answer."""
    asked = [one.asked for one in load_questions() if one.is_english and one.split in GROUPS[group]]
    return [Outcome(one, pipeline.ask(one.text)) for one in asked if one.is_answerable]


def shares(values: Sequence[Iterable[bool]]) -> list[float]:
    return [sum(each) / len(each) for each in map(list, values)]


def main() -> None:
    """Print what became of the questions of each group."""
    with (
        TemporaryDirectory() as folder,
        Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=1)) as embedder,
        DocumentIndex.create_or_open(folder, embedder) as index,
    ):
        index.add([SAMPLES])
        pipeline = RagPipeline(Retriever(index), None)
        for group in GROUPS:
            outcomes = ask_group(pipeline, group)
            for name, measure in (("right passage", Outcome.shows), ("expected phrase", Outcome.highlights)):
                found = shares([[measure(one, n) for one in outcomes] for n in (1, 3, 5)])
                sys.stdout.write(f"{group}, {len(outcomes)} questions, {name} in 1, 3, 5 highlights: ")
                sys.stdout.write(" ".join(f"{value:.2f}" for value in found) + "\n")


if __name__ == "__main__":
    main()
