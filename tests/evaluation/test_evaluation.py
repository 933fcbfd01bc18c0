import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from jina_rag import Embedder
from jina_rag.backends.base import BackendResult, ProgressCallback
from jina_rag.bench.progress import BenchProgress
from jina_rag.errors import EvaluationError
from jina_rag.evaluation import Dataset, ExpectedPassage, Question, compare_with, evaluate, load_run
from jina_rag.evaluation.report import make_report
from jina_rag.evaluation.vector_cache import caching
from jina_rag.rag import DocumentIndex
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder

TEXTS = {
    "mars": "Mars looks red because of iron rust.",
    "venus": "Venus is covered in thick clouds.",
    "saturn": "Saturn has rings made of ice.",
    "blank": " ",
}
PLANETS = Dataset(
    "planets",
    (
        Question("1", "Why does Mars look red?", (ExpectedPassage("mars"),)),
        Question("2", "rings of ice", (ExpectedPassage("saturn", relevance=2), ExpectedPassage("venus", relevance=0))),
        Question("3", "Who won?"),
    ),
    TEXTS,
)


class CountingBackend(FakeBackend):
    """Counts texts, and fails after so many."""

    def __init__(self, fail_after: float = float("inf")) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.fail_after = fail_after

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        if len(self.texts) >= self.fail_after:
            raise KeyboardInterrupt
        self.texts += texts
        return super().embed(texts, max_tokens=max_tokens, truncate=truncate, on_progress=on_progress)


def test_texts_are_found_in_each_way(tmp_path: Path) -> None:
    seen: list[BenchProgress] = []
    evaluation = evaluate(PLANETS, fake_embedder(), cache=tmp_path, on_progress=seen.append)
    assert [method.name for method in evaluation.methods] == ["dense", "lexical", "hybrid"]
    for method in evaluation.methods:
        assert method.values["recall@1"] == {"1": 1, "2": 1}
        assert method.ranks == {"1": 1, "2": 1}
    assert (evaluation.n_texts, evaluation.model, evaluation.dimensions) == (3, "fake", 64)
    assert [(each.done, each.total) for each in seen if each.stage.startswith("Embedding")] == [(3, 3)]
    assert [(each.done, each.total) for each in seen if each.stage == "Searching"] == [(1, 2), (2, 2)]


def test_what_an_interrupted_evaluation_has_embedded_is_not_embedded_again(tmp_path: Path) -> None:
    texts = {str(number): f"Text number {number}." for number in range(300)}
    dataset = Dataset("many", (Question("1", "number 7", (ExpectedPassage("7"),)),), texts)
    first, second = CountingBackend(fail_after=200), CountingBackend()
    with pytest.raises(KeyboardInterrupt):
        evaluate(dataset, Embedder(first, FAKE_SPEC), cache=tmp_path)
    resumed = evaluate(dataset, Embedder(second, FAKE_SPEC), cache=tmp_path)
    assert first.texts
    assert len([*first.texts, *second.texts]) == len({*first.texts, *second.texts}) == 301
    whole = evaluate(dataset, Embedder(CountingBackend(), FAKE_SPEC), cache=tmp_path / "other")
    assert [method.values for method in resumed.methods] == [method.values for method in whole.methods]


def test_cached_vectors_are_those_of_the_engine_at_every_width_and_of_its_fingerprint_alone(tmp_path: Path) -> None:
    texts = ["one", "two", "a text " * 600, "one"]
    for dimensions in (None, 16):
        plain = Embedder(FakeBackend(), FAKE_SPEC, dimensions=dimensions, truncate=True).embed(texts, "document")
        for _ in range(2):
            cached, engine = caching(fake_embedder(dimensions), tmp_path)
            found = cached.embed(texts, "document")
            np.testing.assert_array_equal(found.vectors, plain.vectors)
            assert (found.token_counts, found.truncated) == (plain.token_counts, plain.truncated)
            assert engine.n_cut == 1
            assert cached.fingerprint == fake_embedder(dimensions).fingerprint
            engine.close_file()
    assert engine.n_embedded == 0
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"not SQLite, " * 100)
    with caching(fake_embedder(), tmp_path)[0] as cached, pytest.raises(EvaluationError, match="Delete that file"):
        cached.embed_query("one")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of two documents of the fake model."""
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "mars.md").write_text("# Mars\n\nMars looks red\nbecause of iron rust.")
    (documents / "saturn.md").write_text("# Saturn\n\nSaturn has rings made of ice.")
    with DocumentIndex.create_or_open(tmp_path / "index", fake_embedder()) as index:
        index.add([documents])
    return tmp_path / "index"


def test_own_questions_over_an_index(tmp_path: Path, folder: Path) -> None:
    dataset = Dataset(
        "own",
        (
            Question("1", "Why is Mars red?", (ExpectedPassage("documents/mars.md", phrase="red because of iron"),)),
            Question("2", "rings", (ExpectedPassage("saturn.md", phrase="rings made of gold"),)),
            Question("3", "Who won?", (ExpectedPassage("turn.md"),)),
        ),
    )
    evaluation = evaluate(dataset, fake_embedder(), index=folder, cache=tmp_path)
    assert evaluation.methods[0].ranks == {"1": 1, "2": None, "3": None}
    assert evaluation.notes == (
        "No single passage of saturn.md has 'rings made of gold', which is expected for: rings",
        "The index has no document turn.md, which is expected for: Who won?",
    )
    with pytest.raises(EvaluationError, match="Name the index"):
        evaluate(dataset, fake_embedder(), cache=tmp_path)
    with pytest.raises(EvaluationError, match="nothing to measure"):
        evaluate(Dataset("none", (Question("1", "Who?"),)), fake_embedder(), index=folder, cache=tmp_path)


def test_highlighted_sentences_are_measured_where_no_language_model_answers(tmp_path: Path) -> None:
    texts = {"mars": "Mars looks red because of iron rust. It is small.", "saturn": "Rings of ice. Saturn is far."}
    dataset = Dataset(
        "planets",
        (
            Question("1", "Mars looks red because of iron rust.", (ExpectedPassage("mars", phrase="iron rust"),)),
            Question("2", "Saturn is far.", (ExpectedPassage("saturn", phrase="Rings of ice"),)),
            Question("3", "It is small.", (ExpectedPassage("mars"), ExpectedPassage("saturn", relevance=0))),
            Question("4", "Who won?"),
        ),
        texts,
    )
    answers = evaluate(dataset, fake_embedder(), llm="none", cache=tmp_path).answers
    assert answers is not None
    assert answers.generator == ""
    assert {name: value.mean for name, value in answers.measures.items()} == {
        "right passage in the first highlight": 1,
        "expected phrase in the first highlight": 0.5,
        "right passage in the first 3 highlights": 1,
        "expected phrase in the first 3 highlights": 0.5,
    }


def test_chunks_that_share_a_passage_count_once(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ("a", "b"):
        (documents / f"{name}.txt").write_text(
            "\n\n".join(f"The red planet is Mars, part {part}." for part in range(60))
        )
    with DocumentIndex.create_or_open(tmp_path / "index", fake_embedder()) as index:
        index.add([documents])
        assert index.count_chunks() > 4
    both = Question("1", "The red planet", (ExpectedPassage("a.txt"), ExpectedPassage("b.txt")))
    evaluation = evaluate(Dataset("own", (both,)), fake_embedder(), index=tmp_path / "index", cache=tmp_path)
    assert all(method.values["nDCG@10"]["1"] == 1 for method in evaluation.methods)


def test_runs_are_compared_over_the_same_questions_only(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    evaluation = evaluate(PLANETS, fake_embedder(), cache=tmp_path)
    path.write_text(json.dumps(evaluation.as_dict()))
    earlier = load_run(path, PLANETS.digest)
    assert earlier.model == "fake , 64 dimensions"
    compared = compare_with(evaluation, earlier)
    assert len(compared) == 18
    assert all(one.difference.mean == 0 and one.difference.n == 2 for one in compared)
    with pytest.raises(EvaluationError, match="other questions"):
        load_run(path, "another")
    for content in ("{}", "[" * 100_000, '{"methods": [{"name": "a", "values": {"m": {"q": "x"}}}]}'):
        path.write_text(content)
        with pytest.raises(EvaluationError, match="is no run"):
            load_run(path, PLANETS.digest)


def test_the_report_is_one_file_that_loads_nothing_and_believes_nothing(tmp_path: Path) -> None:
    hostile = '<script src="http://x.example/a.js">&"'
    missed = Question(hostile, hostile, (ExpectedPassage(hostile),))
    dataset = Dataset(hostile, (*PLANETS.questions, missed), TEXTS)
    evaluation = evaluate(dataset, fake_embedder(), cache=tmp_path)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(evaluation.as_dict()))
    html = make_report(evaluation, compare_with(evaluation, load_run(path, dataset.digest)), hostile)
    page = BeautifulSoup(html, "html.parser")
    assert not page.find_all(["script", "img", "link", "iframe", "object", "a"])
    assert not [tag for tag in page.find_all() if {"src", "href"} & tag.attrs.keys()]
    assert page.find("meta", content="default-src 'none'; style-src 'unsafe-inline'")
    text = " ".join(page.get_text().split())
    assert "With hybrid search the right passage came first for 2 of 3 questions" in text
    assert f"{hostile}not foundnot foundnot found" in text
    assert f"Compared with {hostile}" in text
    assert "so that no search could find them: 1 expected passage." in text
