"""Search by meaning and by words, and what joins them."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb import QueryResult
from chromadb.api.models.Collection import Collection

from jina_rag import Embedder
from jina_rag.errors import BackendError, IndexFolderError, InputTooLongError
from jina_rag.evaluation.evaluating import has_passage
from jina_rag.rag import DocumentIndex, Filters, Retriever, SearchOptions, SearchResult
from jina_rag.rag.indexing.candidates import Mode
from jina_rag.rag.retrieval.rerank import Reranker
from jina_rag.rag.retrieval.search import LEXICAL_WEIGHT, RRF_CONSTANT
from jina_rag.testing import fake_embedder
from jina_rag.vectors import FloatArray
from tests.index_files import database, stored_vectors
from tests.questions import SAMPLES, load_questions


@pytest.fixture
def planets(index: DocumentIndex, tmp_path: Path) -> DocumentIndex:
    folder = tmp_path / "planets"
    folder.mkdir()
    for name, text in {
        "mars.txt": "Mars looks red because of iron rust.",
        "rust.md": "Iron rust is red, and so is a brick.",
        "venus.txt": "Venus is covered in thick clouds of acid.",
        "saturn.txt": "Saturn has rings made of ice.",
        "pump.txt": "The pump stops with ERR_CONN-42 at night.",
    }.items():
        (folder / name).write_text(text)
    index.add([folder])
    return index


def search(
    index: DocumentIndex, query: str, k: int = 5, *, reranker: Reranker | None = None, **options: Any
) -> list[SearchResult]:
    return Retriever(index, reranker).retrieve(query, SearchOptions(k, **options))


def _names(results: list[SearchResult]) -> list[str]:
    return [Path(result.chunk.source).name for result in results]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_every_mode_finds_the_passage(planets: DocumentIndex, mode: Mode) -> None:
    assert _names(search(planets, "What are the rings of Saturn made of?", 1, mode=mode)) == ["saturn.txt"]


def test_words_alone_do_not_outweigh_many_passages_that_are_near(minilm: Embedder, tmp_path: Path) -> None:
    """The nearest passages are so alike that hardly anything lies between the first and the last of them."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for day in range(60):
        text = f"Day {day}, hour 24: the sea was calm, the wind came from the west."
        (folder / f"day-{day:02}.txt").write_text(text)
    (folder / "rota.txt").write_text("How the rota is made, and how many shifts there are. We ask how you like them.")
    with DocumentIndex.create_or_open(tmp_path / "of-days", minilm) as index:
        index.add([folder])
        names = _names(search(index, "How was the sea on day 24?"))
    assert names[0] == "day-24.txt"
    assert "rota.txt" not in names


def test_hybrid_search_adds_the_scores_of_both_sides(planets: DocumentIndex) -> None:
    query = "red iron clouds"
    results = search(planets, query)
    dense, lexical = search(planets, query, 5, mode="dense"), search(planets, query, 4, mode="lexical")
    assert {r.chunk.id for r in results} >= {r.chunk.id for r in dense}
    candidates = planets.candidates(query, planets.embedder.embed_query(query), 30)
    weakest = min(candidate.similarity for candidate in candidates)
    coverage = {candidate.chunk.id: candidate.coverage for candidate in candidates}
    for result in results:
        by_meaning = (result.similarity - weakest) / (1 - weakest)
        by_words = coverage[result.chunk.id]
        assert result.score == pytest.approx((1 - LEXICAL_WEIGHT) * by_meaning + LEXICAL_WEIGHT * by_words)
        assert bool(by_words) == bool(result.lexical)
    assert [r.score for r in results] == sorted((r.score for r in results), reverse=True)
    by_id = {r.chunk.id: r for r in results}
    for place, result in enumerate(dense, start=1):
        side = by_id[result.chunk.id].dense
        assert side is not None
        assert side.rank == place
        assert side.score == pytest.approx(result.similarity)
    for place, result in enumerate(lexical, start=1):
        if side := by_id[result.chunk.id].lexical if result.chunk.id in by_id else None:
            assert side.rank == place
            assert side.score == pytest.approx(result.score)


@pytest.mark.parametrize("question", ["{}", "What is the width of {}?", 'price of "{}"'])
def test_a_code_puts_its_passage_first(index: DocumentIndex, tmp_path: Path, question: str) -> None:
    rows = [f"P-{number:05},{number % 7} mm,£{number % 11}" for number in range(600)]
    (tmp_path / "parts.csv").write_text("\n".join(["Part,Width,Price", *rows]))
    index.add([tmp_path / "parts.csv"])
    for number in range(0, 600, 29):
        (first,) = search(index, question.format(f"P-{number:05}"), 1)
        assert f"P-{number:05}" in first.chunk.text


def test_what_only_one_side_finds_has_a_similarity_too(planets: DocumentIndex, embedder: Embedder) -> None:
    query = embedder.embed_query("red clouds")
    found = planets.candidates("red clouds", query, 1)
    assert {bool(candidate.dense) for candidate in found} == {True, False}
    for candidate in found:
        vector = embedder.embed_documents([candidate.chunk.text])[0]
        np.testing.assert_array_equal(candidate.vector, vector)
        assert candidate.similarity == pytest.approx(float(vector @ query), abs=1e-6)


def test_a_single_mode_orders_by_its_own_score(planets: DocumentIndex) -> None:
    for result in search(planets, "red iron rust", mode="dense"):
        assert result.dense is not None
        assert result.lexical is None
        assert result.score == result.similarity == result.dense.score
    for result in search(planets, "red iron rust", mode="lexical"):
        assert result.lexical is not None
        assert result.dense is None
        assert result.score == result.lexical.score > 0


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_filters_restrict_every_mode(planets: DocumentIndex, tmp_path: Path, mode: Mode) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Red iron in another collection.")
    planets.add([other], collections=["other"])
    assert _names(search(planets, "red iron", mode=mode, filters=Filters(file_types=(".md",)))) == ["rust.md"]
    assert _names(search(planets, "red iron", mode=mode, filters=Filters(collections=("other",)))) == ["other.txt"]
    both = search(
        planets, "red iron", mode=mode, filters=Filters(collections=("other", "default"), file_types=("txt",))
    )
    assert {"mars.txt", "other.txt"} <= set(_names(both))
    assert search(planets, "red iron", mode=mode, filters=Filters(sources=("nowhere/*",))) == []


def test_diversity_puts_other_passages_before_copies(planets: DocumentIndex, tmp_path: Path) -> None:
    for copy in "abc":
        (tmp_path / f"copy-{copy}.txt").write_text("Mars looks red because of iron rust.")
        planets.add([tmp_path / f"copy-{copy}.txt"])
    query = "Mars looks red because of iron rust"
    assert len({r.chunk.text for r in search(planets, query, 4)}) == 1
    varied = search(planets, query, 4, mmr_lambda=0.2)
    assert len({r.chunk.text for r in varied}) == 4
    assert varied[0] == search(planets, query, 1)[0]
    assert len({r.chunk.id for r in search(planets, query, 8, mmr_lambda=0)}) == 8


class Shortest:
    """A reranker that likes short passages."""

    name = "shortest"

    def __init__(self, scores: list[float] | None = None) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.scores = scores

    def score(self, query: str, texts: list[str]) -> FloatArray:
        self.asked.append((query, texts))
        return np.array(self.scores or [-len(text) for text in texts], np.float32)

    def close(self) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_a_reranker_has_the_last_word(planets: DocumentIndex, mode: Mode) -> None:
    query = "iron red clouds ice"
    found = search(planets, query, 5, mode=mode)
    reranker = Shortest()
    results = search(planets, query, 2, mode=mode, reranker=reranker)
    assert reranker.asked == [(query, [result.chunk.text for result in found])]
    assert _names(results) == _names(sorted(found, key=lambda result: len(result.chunk.text)))[:2]
    before = {result.chunk.id: result for result in found}
    for result in results:
        assert result.score == -len(result.chunk.text)
        assert result.retrieval_score == before[result.chunk.id].score
        assert (result.dense, result.lexical) == (before[result.chunk.id].dense, before[result.chunk.id].lexical)
    assert all(result.retrieval_score is None for result in found)


def test_a_reranker_reads_the_best_candidates_only(planets: DocumentIndex, tmp_path: Path) -> None:
    moons = tmp_path / "moons"
    moons.mkdir()
    for number in range(30):
        (moons / f"{number}.txt").write_text(f"Moon number {number} is made of red iron.")
    planets.add([moons])
    reranker = Shortest()
    search(planets, "red iron clouds", 1, mode="dense", reranker=reranker)
    best = search(planets, "red iron clouds", 30, mode="dense")
    assert reranker.asked[0][1] == [result.chunk.text for result in best]
    assert search(planets, " ", reranker=reranker) == []
    assert search(planets, "red", reranker=reranker, filters=Filters(file_types=("pdf",))) == []
    assert len(reranker.asked) == 1


def test_diversity_after_a_reranker_of_logits(planets: DocumentIndex, tmp_path: Path) -> None:
    for copy in "abc":
        (tmp_path / f"copy-{copy}.txt").write_text("Saturn has rings made of ice.")
        planets.add([tmp_path / f"copy-{copy}.txt"])
    texts = [result.chunk.text for result in search(planets, "ice", 8, reranker=Shortest(), mmr_lambda=0.4)]
    assert texts[0] == min(texts, key=len)
    assert len(set(texts[:5])) == 5  # copies come last, though all scores lie far below zero


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 5])
def test_what_is_no_score_is_refused(planets: DocumentIndex, scores: list[float]) -> None:
    with pytest.raises(BackendError, match="shortest did not give a number for each passage"):
        search(planets, "red", reranker=Shortest(scores))


def test_neighbours_come_with_a_passage(index: DocumentIndex, tmp_path: Path) -> None:
    parts = [f"# Part {n}\n\n" + f"part{n} " * 150 for n in range(5)]
    (tmp_path / "long.md").write_text("\n\n".join(parts))
    index.add([tmp_path / "long.md"])
    (found,) = search(index, "part2", 1, context_window=2)
    chunks = index.chunks_of(found.chunk.source)
    place = found.chunk.position
    assert list(found.before) == chunks[max(0, place - 2) : place]
    assert list(found.after) == chunks[place + 1 : place + 3]
    assert len(found.before) == len(found.after) == 2
    (bare,) = search(index, "part2", 1)
    assert bare.before == bare.after == ()


@pytest.mark.parametrize("query", ["", " \n\t"])
def test_a_blank_query_finds_nothing(planets: DocumentIndex, query: str) -> None:
    assert search(planets, query) == []


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_an_empty_index_and_a_large_k(index: DocumentIndex, notes: Path, mode: Mode) -> None:
    assert search(index, "moons", mode=mode, mmr_lambda=0.5, context_window=1) == []
    index.add([notes])
    assert len(search(index, "moons rings clouds", 1000, mode=mode)) == 3


@pytest.mark.parametrize("query", ["is the of", "\0", "\u202e*", '"', "😀", "NOT ( OR", "a" * 2000])
def test_odd_queries(planets: DocumentIndex, query: str) -> None:
    assert len(search(planets, query)) == 5  # by meaning there is always an order
    assert len(search(planets, query, mode="lexical")) <= 5


def test_only_lexical_search_takes_more_than_the_model_reads(planets: DocumentIndex) -> None:
    query = "Saturn rings " + "and so on " * 1000
    for mode in ("hybrid", "dense"):
        with pytest.raises(InputTooLongError):
            search(planets, query, mode=mode)
    (first, *_) = search(planets, query, mode="lexical")
    assert Path(first.chunk.source).name == "saturn.txt"
    beginning = fake_embedder(truncate=True).embed_query(query)
    assert first.similarity == pytest.approx(float(beginning @ stored_vectors(planets.folder, [first.chunk.id])[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be"),
        ({"mode": "fuzzy"}, "hybrid, dense, lexical"),
        ({"mmr_lambda": 1.5}, "between 0 and 1"),
        ({"mmr_lambda": float("nan")}, "between 0 and 1"),
        ({"context_window": -1}, "context_window"),
    ],
)
def test_wrong_arguments_are_named(planets: DocumentIndex, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(planets, "red", **arguments)  # type: ignore[arg-type]


def test_what_is_removed_meanwhile_is_left_out(planets: DocumentIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question to Chroma and the reading of what it found."""
    query = Collection.query

    def query_and_remove(self: Collection, **arguments: Any) -> QueryResult:
        found = query(self, **arguments)
        with database(planets.folder) as connection:
            connection.execute("DELETE FROM chunks WHERE source LIKE '%saturn.txt'")
        return found

    monkeypatch.setattr(Collection, "query", query_and_remove)
    assert len(search(planets, "Saturn clouds", mode="dense")) == 4


def test_a_missing_vector_is_said_aloud(planets: DocumentIndex) -> None:
    with database(planets.folder) as connection:
        connection.execute("DELETE FROM vectors")
    with pytest.raises(IndexFolderError, match="no vector of the chunk"):
        search(planets, "Saturn", mode="lexical")


def test_a_search_reads_sqlite_twice_and_asks_chroma_once(
    planets: DocumentIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for copy in "abc":
        (copies / f"{copy}.md").write_text("Mars looks red because of iron rust.")
    planets.add([copies])
    search(planets, "warm up")
    statements: list[str] = []
    questions: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    def note(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            questions.append(name)
            return method(*arguments, **options)

        return noted

    for name in ("query", "get", "count"):
        monkeypatch.setattr(Collection, name, note(name, getattr(Collection, name)))
    monkeypatch.setattr(sqlite3, "connect", traced)
    with DocumentIndex.open(planets.folder, planets.embedder) as index:
        search(index, "warm up")
        for options in ({}, {"mmr_lambda": 0.5}, {"filters": Filters(file_types=("md",))}, {"mode": "dense"}):
            statements.clear()
            questions.clear()
            assert search(index, "red iron clouds", **options)
            assert (statements.count("BEGIN"), questions) == (2, ["query"]), options
        statements.clear()
        assert search(index, "red iron clouds", mode="lexical", context_window=1)
        assert (statements.count("BEGIN"), questions) == (2, ["query"])


@pytest.fixture(scope="module")
def samples(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentIndex]:
    with DocumentIndex.create_or_open(tmp_path_factory.mktemp("samples") / "index", minilm) as index:
        index.add([SAMPLES])
        yield index


# Words of the documents serve the questions that were written with the documents open, so each split has its own floor.
@pytest.mark.parametrize(("split", "floor"), [("development", 0.95), ("held-out", 0.91), ("fresh", 0.78)])
def test_joining_both_sides_beats_either_on_the_sample_documents(
    samples: DocumentIndex, split: str, floor: float
) -> None:
    """Reciprocal rank of the right passage: why hybrid search is the default."""
    known = [one for one in load_questions() if one.is_english and one.split == split]
    questions = [one.asked for one in known if one.asked.is_answerable]
    reciprocal_rank = dict.fromkeys(("hybrid", "dense", "lexical"), 0.0)
    for asked in questions:
        for mode in reciprocal_rank:
            results = search(samples, asked.text, 10, mode=mode)
            right = [
                place
                for place, result in enumerate(results, 1)
                if any(has_passage(result.chunk, expected) for expected in asked.expected)
            ]
            reciprocal_rank[mode] += 1 / right[0] / len(questions) if right else 0
    assert reciprocal_rank["hybrid"] >= floor
    assert reciprocal_rank["hybrid"] > max(reciprocal_rank["dense"], reciprocal_rank["lexical"])


def test_a_question_may_build_on_the_one_before(planets: DocumentIndex) -> None:
    alone = search(planets, "And what is it made of?", 5)
    both = search(planets, "Which planet has rings? And what is it made of?", 5)
    joined = search(planets, "And what is it made of?", 5, previous_query="Which planet has rings?")
    ranks = [{each.chunk.id: rank for rank, each in enumerate(found, start=1)} for found in (alone, both)]
    for result in joined:
        expected = sum(1 / (RRF_CONSTANT + rank[result.chunk.id]) for rank in ranks if result.chunk.id in rank)
        assert result.score == pytest.approx(expected)
    assert [result.score for result in joined] == sorted((result.score for result in joined), reverse=True)
    assert "saturn.txt" in _names(joined[:2])
    assert len(search(planets, "ice", 2, previous_query="rings", mmr_lambda=0.5)) == 2
    assert search(planets, " ", 2, previous_query="rings") == []


def test_a_long_question_before_is_cut(tmp_path: Path, embedder: Embedder) -> None:
    short = Embedder(embedder.backend, replace(embedder.spec, max_input_tokens=32))
    with DocumentIndex.create_or_open(tmp_path / "index", short) as index:
        (tmp_path / "mars.txt").write_text("Mars is red.")
        index.add([tmp_path / "mars.txt"])
        assert _names(search(index, "Why?", previous_query="Mars " * 100)) == ["mars.txt"]


def test_each_query_has_its_own_reranking(planets: DocumentIndex) -> None:
    reranker = Shortest()
    search(planets, "ice", 2, previous_query="rings", reranker=reranker)
    assert [query for query, _ in reranker.asked] == ["ice", "rings ice"]
