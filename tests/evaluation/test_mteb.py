from enum import Enum

import numpy as np
import pytest

from jina_rag.errors import MissingDependencyError
from jina_rag.evaluation.mteb import MtebEncoder
from jina_rag.testing import fake_embedder


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
