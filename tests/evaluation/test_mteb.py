from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.errors import MissingDependencyError
from jina_rag.evaluation import Dataset, ExpectedPassage, Question, evaluate
from jina_rag.evaluation.mteb import MtebEncoder
from jina_rag.testing import fake_embedder, random_texts


class PromptType(Enum):
    """As mteb has it."""

    query = "query"
    document = "document"


def test_texts_are_embedded_as_what_mteb_says_they_are() -> None:
    embedder = fake_embedder(truncate=True)
    encoder = MtebEncoder.from_embedder(embedder)
    batches = [{"text": ["Mars is red.", "Venus is hot."]}, {"text": ["Saturn has rings."], "title": [""]}]
    texts = [text for batch in batches for text in batch["text"]]
    task = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "batch_size": 32}
    for prompt_type, input_type in ((PromptType.query, "query"), (PromptType.document, "document"), (None, "document")):
        found = encoder.encode(batches, prompt_type=prompt_type, **task)
        np.testing.assert_array_equal(found, embedder.embed(texts, input_type).vectors)  # type: ignore[arg-type]
    similarity = np.asarray(encoder.similarity(found, found[:2]))
    assert similarity.shape == (3, 2)
    np.testing.assert_allclose(np.asarray(encoder.similarity_pairwise(found, found)), 1, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(similarity[:2]), 1, atol=1e-6)


def test_every_quantisation_and_width_has_results_of_its_own() -> None:
    whole, cut = (MtebEncoder.from_embedder(fake_embedder(width)) for width in (64, 16))
    assert (whole.name, cut.name) == ("jina_rag/fake-64d", "jina_rag/fake-16d")
    assert whole.revision != cut.revision


def test_without_mteb_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mteb", None)
    with pytest.raises(MissingDependencyError, match="pip install 'mteb>=2'"):
        _ = MtebEncoder.from_embedder(fake_embedder()).mteb_model_meta


def mteb_task(dataset: Dataset) -> Any:
    """The dataset as a task of mteb."""
    from datasets import Dataset as Table
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Local(AbsTaskRetrieval):  # type: ignore[misc] # mteb is not installed where mypy runs
        metadata = TaskMetadata(
            name="Local",
            description="Made here.",
            dataset={"path": "local", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc: int | None = None, **_: object) -> None:  # noqa: ARG002
            assert dataset.texts is not None
            corpus = [{"id": name, "title": "", "text": text} for name, text in dataset.texts.items()]
            relevant = {one.id: {each.file: each.relevance for each in one.expected} for one in dataset.questions}
            split = {
                "corpus": Table.from_list(corpus),
                "queries": Table.from_list([{"id": one.id, "text": one.text} for one in dataset.questions]),
                "relevant_docs": relevant,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Local()


def test_mteb_measures_what_our_evaluation_measures(minilm: Embedder, tmp_path: Path) -> None:
    mteb = pytest.importorskip("mteb", reason="mteb is not installed")
    texts = {f"text {number}": text for number, text in enumerate(random_texts(100, words=12, seed=1))}
    names = list(texts)

    def question(place: int) -> Question:
        expected = ExpectedPassage(names[place], relevance=2), ExpectedPassage(names[-1 - place])
        return Question(str(place), " ".join(texts[names[place]].split()[:2]), expected)

    dataset = Dataset("local", tuple(map(question, range(40))), texts)
    encoder = MtebEncoder.from_embedder(Embedder(minilm.backend, minilm.spec, quantization="F32", truncate=True))
    (there,) = mteb.evaluate(encoder, mteb_task(dataset), cache=None).task_results
    (scores,) = there.scores["test"]
    (dense,) = evaluate(dataset, minilm, modes=["dense"], cache=tmp_path).methods
    assert 0.1 < dense.measures["nDCG@10"].mean < 0.9
    for theirs, ours in (
        ("ndcg_at_10", "nDCG@10"),
        ("recall_at_1", "recall@1"),
        ("recall_at_10", "recall@10"),
        ("mrr_at_10", "MRR@10"),
        ("map_at_10", "MAP@10"),
    ):
        assert scores[theirs] == pytest.approx(dense.measures[ours].mean, abs=2e-5), theirs
