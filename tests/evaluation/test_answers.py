from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jina_rag.backends.base import WaitCallback
from jina_rag.errors import GenerationError
from jina_rag.evaluation import Dataset, ExpectedPassage, Question
from jina_rag.evaluation.answers import citation_scores, evaluate_answers
from jina_rag.rag import RagPipeline
from jina_rag.rag.answering.types import NO_ANSWER, Turn
from jina_rag.rag.retrieval.search import SearchResult
from tests.rag.conftest import FixedJudge, FixedRetriever, passages


@pytest.mark.parametrize(
    ("claims", "stated_by", "recall", "precision"),
    [
        # (claim, cited), sets of passages that state the claim: any set with one of these in it does.
        ([("a", [1])], [{1}], 1, 1),
        ([("a", [])], [], 0, None),
        ([("a", [1])], [], 0, 0),
        ([("a", [1, 2])], [{1}], 1, 0.5),  # 2 is needless
        ([("a", [1, 2])], [{1, 2}], 1, 1),  # neither does alone
        ([("a", [1, 2])], [{1}, {2}], 1, 1),  # each does alone
        ([("a", [1]), ("b", [])], [{1}], 0.5, 1),
        ([], [], None, None),
    ],
)
def test_citation_scores_are_alces(
    claims: list[tuple[str, list[int]]], stated_by: list[set[int]], recall: float | None, precision: float | None
) -> None:
    assert citation_scores(claims, lambda _, numbers: any(one <= set(numbers) for one in stated_by)) == (
        recall,
        precision,
    )


class Scripted:
    """Writes what is prepared for a question, and counts."""

    name = "scripted"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],  # noqa: ARG002
        history: Sequence[Turn] = (),  # noqa: ARG002
        on_wait: WaitCallback | None = None,  # noqa: ARG002
    ) -> Iterator[str]:
        self.asked.append(question)
        if question not in self.answers:
            raise GenerationError("The model is away.")
        yield self.answers[question]

    def rewrite(self, question: str, history: Sequence[Turn]) -> str | None:  # noqa: ARG002
        return question

    def close(self) -> None:
        pass


def test_answers_are_scored_and_not_written_again(tmp_path: Path) -> None:
    found = FixedRetriever(passages("Mars is red. It is small.", "Ice is cold."))
    dataset = Dataset(
        "planets",
        (
            Question("1", "Which is red?", (ExpectedPassage("1.md", phrase="Mars is red"),)),
            Question("2", "Which is big?", (ExpectedPassage("1.md", phrase="Jupiter"),)),
            Question("3", "Who won?"),
            Question("4", "Fails?"),
        ),
    )
    written = {
        "Which is red?": "Mars is red. [1] The rusty one. [2]",
        "Which is big?": NO_ANSWER,
        "Who won?": NO_ANSWER,
    }
    generator = Scripted(written)
    pipeline = RagPipeline(found, generator, judge=FixedJudge({}))
    result = evaluate_answers(dataset, pipeline, tmp_path / "answers.jsonl")
    first = result.scores["1"]
    assert (first.answered, first.citation_recall, first.citation_precision, first.has_phrase) == (True, 0.5, 0.5, True)
    assert not result.scores["2"].answered
    assert result.scores["4"].error == "The model is away."
    means = {name: estimate.mean for name, estimate in result.measures.items()}
    assert means["answered, of questions that the documents answer"] == 0.5
    assert means["declined, of questions that they don't"] == 1
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('{"key": "cut sho')
    generator.asked.clear()
    again = evaluate_answers(dataset, pipeline, tmp_path / "answers.jsonl")
    assert again == result
    assert generator.asked == ["Fails?"]
