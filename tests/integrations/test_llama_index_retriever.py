"""An index folder as LlamaIndex knows retrievers."""

import asyncio
import copy
import pickle
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.embeddings.jina_rag import JinaRagRetriever

from jina_rag import IndexFolderError
from jina_rag.rag import Retriever, SearchResult, make_reranker
from tests.backends import tiny_reranker
from tests.integrations.conftest import PLANETS

QUESTION = "Which planet is red?"


def test_a_node_tells_where_its_passage_stands(index_folder: Path) -> None:
    (found,) = JinaRagRetriever(index_folder, similarity_top_k=1).retrieve(QUESTION)
    assert found.node.get_content().endswith(PLANETS["Mars"])
    assert Path(found.metadata["source"]).name == "Mars.md"
    assert (found.metadata["title"], found.metadata["heading"]) == ("Mars", "Mars")
    assert 0.3 < found.metadata["similarity"] <= 1
    assert found.score
    assert "page" not in found.metadata
    for_models = found.node.get_content(MetadataMode.LLM)
    assert "Mars.md" in for_models
    assert "similarity" not in for_models


def test_an_engine_answers_from_it(index_folder: Path) -> None:
    engine = RetrieverQueryEngine.from_args(JinaRagRetriever(index_folder, similarity_top_k=2), llm=MockLLM())
    response = engine.query(QUESTION)
    assert PLANETS["Mars"] in response.source_nodes[0].get_content()
    assert PLANETS["Mars"] in str(response)  # the mock repeats its prompt


@pytest.mark.parametrize(
    ("settings", "titles"),
    [
        ({}, {"Mars", "Venus", "Saturn"}),
        ({"sources": ["*/Mars.md"]}, {"Mars"}),
        ({"file_types": [".txt"]}, set()),
        ({"collections": ["other"]}, set()),
        ({"modified_before": datetime(2000, 1, 1)}, set()),
        ({"where": ["author=ann"]}, set()),
        ({"mode": "lexical"}, {"Mars"}),
    ],
)
def test_it_looks_where_it_is_told(index_folder: Path, settings: dict[str, Any], titles: set[str]) -> None:
    found = JinaRagRetriever(index_folder, similarity_top_k=9, **settings).retrieve("rust")
    assert {each.metadata["title"] for each in found} == titles


def titles(found: list[NodeWithScore]) -> set[str]:
    return {each.metadata["title"] for each in found}


def test_settings_that_change_count_from_the_next_search_on(index_folder: Path) -> None:
    retriever = JinaRagRetriever(index_folder, similarity_top_k=9)
    assert len(titles(retriever.retrieve("rust"))) == 3
    retriever.similarity_top_k = 1
    assert titles(retriever.retrieve("rust")) == {"Mars"}
    retriever.sources = ["*/Venus.md"]
    for copied in (retriever, copy.deepcopy(retriever), pickle.loads(pickle.dumps(retriever))):
        assert titles(copied.retrieve("rust")) == {"Venus"}
    retriever.collections = ["other"]
    assert retriever.retrieve("rust") == []
    retriever.similarity_top_k = 0
    with pytest.raises(ValueError, match="k must be at least 1"):
        retriever.retrieve("rust")
    for unknown in ("kinds", "index"):
        with pytest.raises(AttributeError, match="Make another retriever"):
            setattr(retriever, unknown, "other")


def test_a_string_is_not_taken_for_its_letters(index_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"sources takes a list of them, such as \['\*/Mars\.md'\]"):
        JinaRagRetriever(index_folder, sources="*/Mars.md")


def test_a_reranker_puts_passages_in_order(index_folder: Path, tmp_path: Path) -> None:
    model = str(tiny_reranker.write(tmp_path / "reranker.gguf"))
    found = JinaRagRetriever(index_folder, similarity_top_k=3, reranker=model).retrieve(QUESTION)
    scores = [each.score for each in found]
    assert scores == pytest.approx(
        make_reranker(model).score(QUESTION, [each.get_content() for each in found]), abs=1e-3
    )
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]


async def test_the_event_loop_stays_free(index_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_here = threading.Barrier(3, timeout=30)  # one after another they would wait for ever

    def retrieve(*_: object) -> list[SearchResult]:
        all_here.wait()
        return []

    monkeypatch.setattr(Retriever, "retrieve", retrieve)
    found = await asyncio.gather(*(JinaRagRetriever(index_folder).aretrieve(QUESTION) for _ in range(3)))
    assert found == [[], [], []]


def test_a_missing_index_says_how_to_make_one(tmp_path: Path) -> None:
    retriever = JinaRagRetriever(tmp_path)
    with pytest.raises(IndexFolderError, match="jina-rag add"):
        retriever.retrieve("anything")
