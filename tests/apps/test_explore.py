"""The Explore page in every state, and what it computes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from streamlit.testing.v1 import AppTest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex
from jina_rag.vectors import normalize, truncate_dimensions
from tests.apps.conftest import OpenApp, checked, go

QUESTION = "When does the last boat leave?"
EVIL = "<img src=http://evil.test/a.png> $x$ :red[no] ![x](http://evil.test/b.png) \x1b[31m\u202e"

pytestmark = pytest.mark.usefixtures("app_modules")


@pytest.fixture
def page(open_app: OpenApp, folder: Path) -> AppTest:
    return go(open_app(folder), "explore")


def section(app: AppTest, name: str) -> AppTest:
    return checked(app.button_group(key="section").select(name).run())


def ask(app: AppTest, question: str) -> AppTest:
    return checked(app.text_input(key="explored").set_value(question).run())


def layers(app: AppTest) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each layer of the one chart with the rows that it draws."""
    (element,) = app.get("vega_lite_chart")
    proto = element.proto
    chart = json.loads(proto.spec)
    tables = {table.name: table.data.data for table in proto.datasets} | {None: proto.data.data}
    names = [(layer.get("data") or chart.get("data") or {}).get("name") for layer in chart["layer"]]
    rows = [pyarrow.ipc.open_stream(tables[name]).read_all().to_pylist() for name in names]
    return list(zip(chart["layer"], rows, strict=True))


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption)


def test_map_shows_every_passage_and_marks_what_a_question_finds(
    page: AppTest, folder: Path, embedder: Embedder
) -> None:
    with DocumentIndex.open(folder, embedder) as index:
        n_chunks = index.count_chunks()
        best = index.nearest(embedder.embed_query(QUESTION), 10)
    ((points, rows),) = layers(page)
    assert len(rows) == n_chunks
    assert {tip["field"] for tip in points["encoding"]["tooltip"]} == {"document", "heading", "begins"}
    assert f"all {n_chunks} passages" in captions(page)
    _, (_, ringed), (_, ranked), (_, star) = layers(ask(page, QUESTION))
    assert [row["id"] for row in ringed] == [chunk.id for chunk, _ in best]
    assert ranked[0]["rank"] == "1"
    assert star[0]["what"] == "Your question"


def test_neighbours_of_a_passage_are_those_of_the_index(page: AppTest, folder: Path, embedder: Embedder) -> None:
    with DocumentIndex.open(folder, embedder) as index:
        source = next(document.source for document in index.documents() if document.source.endswith("safety-rules.md"))
        chunk = index.chunks_of(source)[2]
        nearest = [near for near, _ in index.nearest(index.vectors([chunk.id])[0], 6) if near.id != chunk.id]
    checked(page.selectbox(key="document").select(source).run())
    checked(page.selectbox(key="passage").select(chunk.id).run())
    assert page.text[0].value == chunk.text
    assert [text.value[:30] for text in page.text[1:]] == [" ".join(near.text.split())[:30] for near in nearest[:5]]


def test_other_document_brings_its_own_passages(page: AppTest) -> None:
    first = page.selectbox(key="passage").value
    checked(page.selectbox(key="document").select_index(2).run())
    assert page.selectbox(key="passage").value != first


def test_shorter_vectors_of_a_model_that_cannot_be_cut(page: AppTest) -> None:
    section(page, "shorter")
    assert "no Matryoshka training" in page.info[0].value
    assert not page.dataframe
    ask(page, QUESTION)
    table = page.dataframe[0].value
    assert list(table["Vectors"]) == ["whole (384 dimensions)", "int8", "binary"]
    assert list(table["Memory for a million"]) == ["1.5 GB", "384.0 MB", "48.0 MB"]
    assert table["Same as whole"][0] == 1
    assert table["Best in common"][0] == "10 of 10"
    assert list(page.dataframe[1].value["384 dimensions"]) == list(range(1, 11))


def test_question_stays_from_section_to_section(page: AppTest) -> None:
    ask(page, QUESTION)
    section(page, "texts")
    section(page, "shorter")
    assert page.text_input(key="explored").value == QUESTION
    assert page.dataframe


def test_texts_are_compared_with_each_other(page: AppTest, embedder: Embedder) -> None:
    section(page, "texts")
    texts = ["A dog barks.", "A dog is barking.", EVIL]
    checked(page.text_area(key="texts").set_value("\n".join([texts[0], "", *texts[1:]])).run())
    found = np.array([row["cosine"] for row in layers(page)[0][1]]).reshape(3, 3)
    vectors = embedder.embed_documents(texts)
    np.testing.assert_allclose(found, vectors @ vectors.T, atol=2e-3)
    shown = page.text[2].value
    assert shown.startswith("3  <img src=http://evil.test")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "trained on English" in captions(page)


@pytest.mark.parametrize(("written", "told"), [("", "at least two"), ("one", "at least two")])
def test_too_few_texts_are_asked_for(page: AppTest, written: str, told: str) -> None:
    section(page, "texts")
    checked(page.text_area(key="texts").set_value(written).run())
    assert told in page.info[0].value
    assert not page.get("vega_lite_chart")


def test_only_so_many_texts_are_compared(page: AppTest) -> None:
    section(page, "texts")
    checked(page.text_area(key="texts").set_value("\n".join("abcdefghijklmn")).run())
    assert "first 12" in page.warning[0].value


def test_nothing_to_explore_yet(open_app: OpenApp, tmp_path: Path) -> None:
    app = go(open_app(tmp_path / "none", "--no-samples"), "explore")
    assert app.get("file_uploader")
    assert not app.get("vega_lite_chart")


def test_hostile_documents_are_harmless_on_the_map(open_app: OpenApp, embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "![x](http:__evil.test_a.png) $x$ :red[no].txt"
    path.write_text(EVIL + " and some more words")
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([path])
    app = go(open_app(tmp_path / "index"), "explore")
    (row,) = layers(app)[0][1]
    assert row["document"] == path.name
    assert "\x1b" not in row["begins"]
    assert "\u202e" not in row["begins"]
    assert not [text.value for text in app.markdown if re.search(r"!\[|(?<!`):red\[", text.value)]


def test_plane_is_the_one_in_which_vectors_differ_most() -> None:
    from vector_map import fit_plane

    random = np.random.default_rng(0)
    flat: Any = np.asarray(random.standard_normal((200, 2)) * [5, 3], np.float32)
    vectors = np.zeros((200, 16), np.float32)
    vectors[:, [4, 9]] = flat
    vectors += 0.01 * random.standard_normal((200, 16)) + 7
    plane = fit_plane(vectors)
    assert plane.share > 0.999
    placed: Any = plane.place(vectors)
    np.testing.assert_allclose(np.hypot(*(placed - placed[0]).T), np.hypot(*(flat - flat[0]).T), atol=0.1)
    assert abs(np.corrcoef(placed.T)[0, 1]) < 1e-3
    again = fit_plane(vectors[::-1].copy())
    np.testing.assert_allclose(again.axes, plane.axes, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2])
def test_plane_of_hardly_any_vectors(n: int) -> None:
    from vector_map import fit_plane

    vectors = np.eye(n, 8, dtype=np.float32)
    plane = fit_plane(vectors)
    assert plane.place(vectors).shape == (n, 2)
    assert np.isfinite(plane.place(vectors)).all()
    assert plane.share == pytest.approx(1)


def test_each_way_of_keeping_vectors_is_compared_with_the_whole_ones() -> None:
    from matryoshka import compare, rank_table, trained_widths

    random = np.random.default_rng(2)
    vectors = normalize(random.standard_normal((500, 64), dtype=np.float32))
    query = normalize(vectors[7] + 0.3 * random.standard_normal(64, dtype=np.float32) / 8)
    widths = trained_widths((8, 16, 32, 64, 128), 64)
    assert widths == [64, 32, 16, 8]
    trials = compare(query, vectors, widths)
    assert [trial.name for trial in trials] == [
        "64 dimensions",
        "32 dimensions",
        "16 dimensions",
        "8 dimensions",
        "int8",
        "binary",
    ]
    assert [trial.bytes_per_vector for trial in trials] == [256, 128, 64, 32, 64, 8]
    for trial, width in zip(trials, widths, strict=False):
        scores = truncate_dimensions(vectors, width) @ truncate_dimensions(query, width)
        expected = np.argsort(-scores)[:10].tolist()
        assert list(trial.ranking) == expected
        assert trial.overlap == len(set(expected) & set(trials[0].ranking))
    assert all(trial.ranking[0] == 7 for trial in trials if trial.name != "8 dimensions")
    assert trials[4].overlap >= 9
    assert all(trial.seconds > 0 for trial in trials)
    table = rank_table(trials)
    assert [row["64 dimensions"] for row in table] == list(range(1, 11))
    assert sum(row["binary"] is not None for row in table) == trials[5].overlap


def test_fewer_vectors_than_are_looked_for() -> None:
    from matryoshka import compare

    vectors = np.eye(3, 8, dtype=np.float32)
    trials = compare(vectors[0], vectors, [8])
    assert [len(trial.ranking) for trial in trials] == [3, 3, 3]
    assert trials[0].overlap == 3
