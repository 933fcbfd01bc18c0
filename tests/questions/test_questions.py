"""Our own questions: they are what they say, and MiniLM finds the passages of the English ones."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.evaluation import Dataset, evaluate
from jina_rag.evaluation.evaluating import find_misplaced
from jina_rag.rag import DocumentIndex
from tests.questions import DOCUMENTS, GROUPS, SAMPLES, KnownQuestion, load_questions

QUESTIONS = load_questions()
ANSWERED = [one for one in QUESTIONS if one.asked.is_answerable]


@pytest.fixture(scope="module")
def index(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    with DocumentIndex.create_or_open(tmp_path_factory.mktemp("questions") / "index", minilm) as opened:
        assert not opened.add([SAMPLES, DOCUMENTS]).failed
        yield opened


def dataset(questions: list[KnownQuestion]) -> Dataset:
    return Dataset("own", tuple(one.asked for one in questions))


def test_every_passage_is_where_it_is_expected(index: DocumentIndex) -> None:
    assert find_misplaced(dataset(QUESTIONS), index) == []


def test_there_are_questions_enough() -> None:
    languages = Counter(one.asked.language for one in ANSWERED)
    assert len(ANSWERED) >= 150
    assert {name for name, count in languages.items() if count >= 5} >= {"en", "de", "fr", "es", "ja", "ar"}
    grades = Counter(passage.relevance for one in ANSWERED for passage in one.asked.expected)
    assert min(grades[grade] for grade in (0, 1, 2)) >= 40
    assert sum(one.asked.language == "en" and one.near for one in QUESTIONS if one not in ANSWERED) >= 32
    assert len({one.asked.text for one in QUESTIONS}) == len(QUESTIONS)


# nDCG@10 and recall@5 of hybrid search, nDCG@10 of dense search, and the expected phrase in the first highlight and in
# three: 0.01 to 0.03 below what was measured. Seen questions were written with the documents open and share their
# words; a third of the fresh ones don't; those about the bikes have a hard negative each, which differs from the
# passage by the name of the bike.
FLOORS = {
    "seen": (0.95, 0.98, 0.87, 0.70, 0.78),
    "fresh": (0.82, 0.89, 0.75, 0.57, 0.65),
    "bikes": (0.98, 0.98, 0.98, 0.33, 0.33),
}


@pytest.mark.parametrize("group", FLOORS)
def test_minilm_finds_the_passages_of_english_questions(
    index: DocumentIndex, minilm: Embedder, tmp_path: Path, group: str
) -> None:
    asked = dataset([one for one in ANSWERED if one.is_english and one.split in GROUPS[group]])
    found = evaluate(replace(asked, name=group), minilm, index=index.folder, llm="none", cache=tmp_path)
    dense, _, hybrid = found.methods
    assert found.answers is not None
    highlights = [found.answers.measures[f"expected phrase in the first {n}"] for n in ("highlight", "3 highlights")]
    measures = [hybrid.measures["nDCG@10"], hybrid.measures["recall@5"], dense.measures["nDCG@10"], *highlights]
    values = [measure.mean for measure in measures]
    assert all(value >= floor for value, floor in zip(values, FLOORS[group], strict=True)), values
