"""Highlights: where passages answer a question best, as far as similarity says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from jina_rag.embedder import Embedder
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.retrieval.sentence_similarity import most_similar_sentences


@dataclass(frozen=True)
class Highlight:
    """The sentence of a passage that is most similar to a question.

    Attributes:
        number: Of the passage among those that were found, counted from 1.
        start: Where the sentence begins in `chunk.text`, in characters.
        end: Where it ends.
        similarity: Cosine similarity of question and sentence, by the index's own model.
    """

    number: int
    start: int
    end: int
    similarity: float


def best_sentences(question: str, passages: Sequence[SearchResult], embedder: Embedder) -> list[Highlight]:
    """The sentence of each passage that is most similar to the question, the most similar first.

    A passage of nothing but headings has none.

    Args:
        question: What was asked.
        passages: What was found. All of them are read, which takes as long as adding them to an index does.
        embedder: The model that found them.

    Raises:
        As `most_similar_sentences` does.
    """
    scored = most_similar_sentences(question, [passage.chunk.text for passage in passages], embedder)
    highlights = [Highlight(number, *sentence) for number, sentence in enumerate(scored, start=1) if sentence]
    return sorted(highlights, key=lambda highlight: -highlight.similarity)
