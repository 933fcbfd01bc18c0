"""Which passages are about a question."""

from dataclasses import dataclass

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.index import DocumentIndex

DEFAULT_K = 5


@dataclass(frozen=True)
class SearchResult:
    """A passage that was found.

    Attributes:
        chunk: The passage.
        score: Cosine similarity of question and passage, between -1 and 1; higher is better.
    """

    chunk: Chunk
    score: float


def search(index: DocumentIndex, query: str, k: int = DEFAULT_K) -> list[SearchResult]:
    """The `k` passages most similar to `query`, best first; fewer if the index holds fewer.

    Raises:
        InputTooLongError, InvalidTextError: the query can't be embedded.
        BackendError: the model failed.
        IndexFolderError: the index can't be read.
        ValueError: `k` is less than 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    return [SearchResult(chunk, score) for chunk, score in index.nearest(index.embedder.embed_query(query), k)]
