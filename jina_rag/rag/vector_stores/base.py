"""`VectorStore`: what a store of rows must do, and nothing of how."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jina_rag.closeable import Closeable
from jina_rag.errors import JinaRagError, StoreError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.filters import Filters
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DocumentState:
    """A document as a store knows it, from its first row.

    Attributes:
        source: The file's absolute path or address.
        sha256: Of the file's bytes.
        size: Of the file, in bytes.
        mtime_ns: When the file was last changed, in nanoseconds since 1970.
        n_chunks: Into how many chunks it was cut.
        collections: Those that it is in.
    """

    source: str
    sha256: str
    size: int
    mtime_ns: int
    n_chunks: int
    collections: tuple[str, ...]


class Found(NamedTuple):
    """A chunk that a search has found.

    Attributes:
        chunk: The chunk.
        vector: Float32 of shape (d,), unit length.
        score: Of a search by words the store's own BM25 score; else the cosine similarity.
    """

    chunk: Chunk
    vector: FloatArray
    score: float


class VectorStore(Closeable):
    """Rows of chunks with their vectors, all made with one model. Safe to use from many threads; one writer at a time.

    Every method raises StoreError if the store can't be used, or gives what no such store would; and
    StoreUnavailableError if its server stayed away as long as the address allows.

    Attributes:
        address: Where it is, for messages.
        fingerprint: What its vectors are made with.
        has_words: Whether it can search by words.
        limits: Sentences for people on what it can't do.
    """

    address: str
    fingerprint: Fingerprint
    has_words: bool = True
    limits: tuple[str, ...] = ()

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def upsert(self, rows: "pa.Table") -> None:
        """Add rows, or replace those that have their ids, in bounded batches. Doing it twice changes nothing.

        Args:
            rows: As `rows.make_rows` makes them, for `fingerprint`.
        """

    @abstractmethod
    def delete(self, ids: Iterable[str]) -> None:
        """Delete rows in bounded batches; unknown ids are passed over."""

    @abstractmethod
    def ids(self, source: str | None = None) -> Iterator[str]:
        """The ids of all rows, or of one document's, page by page."""

    @abstractmethod
    def documents(self) -> Iterator[DocumentState]:
        """Every document once, page by page. A document whose first row is missing is passed over."""

    @abstractmethod
    def optimize(self) -> None:
        """Bring the store's own indexes up to date after many rows were written; rows are found before that, too."""

    @abstractmethod
    def nearest(self, vector: FloatArray, n: int, filters: Filters) -> list[Found]:
        """The `n` rows most similar to a vector of unit length, best first.

        Raises:
            StoreError: also if the store can't do what the filters say.
        """

    @abstractmethod
    def matching(self, query: str, n: int, filters: Filters) -> list[Found]:
        """The `n` rows that match the words of a query best by BM25, best first; none where `has_words` is False."""

    @abstractmethod
    def around(self, chunk: Chunk, n: int) -> list[Chunk]:
        """At most `n` chunks before and `n` after a chunk in its document, in order, without itself."""

    @abstractmethod
    def has_document(self, filters: Filters) -> bool:
        """Whether a row meets the filters."""


@contextmanager
def foreign_errors(where: str) -> Iterator[None]:
    """Say in our words that a store can't be used. Within it is the store's library, fed with what is stored there."""
    try:
        yield
    except JinaRagError:
        raise
    # What is stored may end as any error in the library; panics of Rust (PyO3) are not even an Exception.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise StoreError(
            f"{where} can't be used ({type(error).__name__}: {str(error)[:300]}). Check that it is what it should be."
        ) from error
