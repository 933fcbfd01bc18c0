"""Texts as an index: each one is a document of one chunk, so that they are searched through the same door as files."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.store.catalog import CATALOG, Catalog
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.searching import Matches
from jina_rag.rag.store.types import FoundChunk, IndexedDocument, text_digest
from jina_rag.vectors import FloatArray

_TEXTS_AT_A_TIME = 512


class CorpusIndex(DocumentIndex):
    """An index that compares a question with every vector: nothing is missed, and no graph is built for one evaluation.

    Attributes:
        chunk_ids: Of the chunks.
        chunk_vectors: Theirs, float32 of shape (n, d), unit length.
    """

    chunk_ids: Sequence[str] = ()
    chunk_vectors: FloatArray

    def _nearest(self, vector: FloatArray, n: int, filters: Filters, matches: Matches) -> dict[str, FoundChunk]:  # noqa: ARG002
        # Not `@`: after it the other threads of OpenBLAS wait busily for longer than it takes.
        similarities = np.einsum("nd,d->n", self.chunk_vectors, vector)
        best = np.argpartition(-similarities, min(n, len(self.chunk_ids)) - 1)[:n] if self.chunk_ids else ()
        return self._catalog.best_of([self.chunk_ids[place] for place in best], n, len(vector))


@contextmanager
def corpus_index(
    texts: Mapping[str, str], embedder: Embedder, on_progress: Callable[[int], None] = lambda _: None
) -> Iterator[DocumentIndex]:
    """An index in a temporary folder with one document for each text, its source the text's name.

    Args:
        texts: By name; blank ones are left out, for no search could show them.
        embedder: The model, which must cut what is too long.
        on_progress: Called with how many more texts are done.
    """
    wanted = [(name, text) for name, text in texts.items() if text.strip()]
    with (
        TemporaryDirectory(prefix="jina-rag-eval-") as folder,
        CorpusIndex.create_or_open(Path(folder) / "index", embedder) as index,
        closing(Catalog(index.folder / CATALOG)) as catalog,
    ):
        index.chunk_ids = [chunk_of_text(name, text).id for name, text in wanted]
        index.chunk_vectors = np.empty((len(wanted), embedder.dimensions), np.float32)
        waiting, done = iter(wanted), 0
        while batch := list(islice(waiting, _TEXTS_AT_A_TIME)):
            vectors = embedder.embed([text for _, text in batch], "document", on_progress=on_progress).vectors
            catalog.replace(
                [_document(name, text) for name, text in batch],
                {text_digest(text): vector for (_, text), vector in zip(batch, vectors, strict=True)},
            )
            index.chunk_vectors[done : done + len(batch)] = vectors
            done += len(batch)
        catalog.clear_dirty(index.chunk_ids)  # Chroma has nothing to follow
        yield index


def chunk_of_text(name: str, text: str) -> Chunk:
    """A text as the one chunk of a document that has its name."""
    return Chunk(hashlib.sha256(name.encode()).hexdigest()[:32], name, "", 0, None, None, 0, len(text), text)


def _document(name: str, text: str) -> tuple[IndexedDocument, list[Chunk]]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return IndexedDocument(name, "", sha256, len(text), 0, 1, now), [chunk_of_text(name, text)]
