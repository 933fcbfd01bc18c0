"""The sentences that are marked where no language model answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from jina_rag import Embedder
from jina_rag.backends.base import BackendResult
from jina_rag.rag.retrieval.highlights import best_sentences
from jina_rag.testing import FAKE_SPEC, FakeBackend
from tests.rag.conftest import passages

FOUND = passages(
    "Venus is hot. Its clouds\nare thick.",
    "# Planets\n\nIt has two moons. The planet Mars looks\nred.",
    "# Only a heading",
)


def test_the_best_sentence_of_each_passage_is_marked_in_its_place(minilm: Embedder) -> None:
    highlights = best_sentences("Which planet is red?", FOUND, minilm)
    marked = [(each.number, FOUND[each.number - 1].chunk.text[each.start : each.end]) for each in highlights]
    assert marked == [(2, "The planet Mars looks\nred."), (1, "Venus is hot."), (3, "Only a heading")]
    sentences = minilm.embed_documents(["The planet Mars looks red.", "Venus is hot.", "Only a heading"])
    similarities = minilm.similarity(minilm.embed_query("Which planet is red?"), sentences).ravel()
    assert [each.similarity for each in highlights] == pytest.approx(similarities.tolist(), abs=1e-4)
    assert best_sentences("Which planet is red?", [], minilm) == []


def test_a_question_that_is_too_long_counts_by_its_beginning(embedder: Embedder) -> None:
    short = Embedder(embedder.backend, replace(embedder.spec, max_input_tokens=12))
    assert [each.number for each in best_sentences("Its thick clouds " * 20, FOUND, short)][:2] == [1, 2]


class CountingBackend(FakeBackend):
    """Counts the texts that it embeds."""

    n_texts = 0

    def embed(self, texts: Sequence[str], **options: Any) -> BackendResult:
        self.n_texts += len(texts)
        return super().embed(texts, **options)


def test_a_sentence_is_embedded_once() -> None:
    backend = CountingBackend()
    embedder = Embedder(backend, FAKE_SPEC)
    best_sentences("Which planet is red?", FOUND, embedder)
    n_first = backend.n_texts
    best_sentences("What is hot?", FOUND[1:], embedder)
    assert (n_first, backend.n_texts) == (6, 7)
