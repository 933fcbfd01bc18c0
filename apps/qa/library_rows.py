"""The rows of the library's list of documents; nothing here draws."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks import Kind, Task

from jina_rag.rag.indexing.index import FailedDocument
from jina_rag.rag.store.types import IndexedDocument
from jina_rag.rag.text.cleaning import remove_invisible


@dataclass(frozen=True)
class Entry:
    """A line of the list of documents. Texts are as they were found."""

    source: str
    collection: str
    state: str
    note: str = ""
    n_chunks: int | None = None
    size: int | None = None
    added_at: datetime | None = None

    def row(self) -> dict[str, object]:
        """The cells, under the names of the columns."""
        path = Path(self.source)
        return {
            "Name": remove_invisible(path.name),
            "State": self.state,
            "Kind": remove_invisible(path.suffix.lstrip(".").lower()),
            "Collection": remove_invisible(self.collection),
            "Passages": self.n_chunks,
            "Size": self.size,
            "Added": self.added_at,
            "Folder": remove_invisible(str(path.parent)),
        }

    def fits(self, words: str) -> bool:
        """Whether all words are somewhere in its path, collection or state."""
        text = f"{self.source} {self.collection} {self.state}".casefold()
        return all(word in text for word in words.casefold().split())


def entries(
    documents: Iterable[IndexedDocument], failed: Iterable[FailedDocument], tasks: Iterable[Task]
) -> list[Entry]:
    """All documents: first those that could not be read, then queued ones, then those that can be searched."""
    known = {document.source: document for document in documents}
    names = {Path(source).name for source in known}
    failures = {item.source: item.reason for item in failed}
    open_uploads = (task for task in tasks if not task.is_over and task.kind is Kind.UPLOAD)
    queued = {name: task.collection for task in open_uploads for name in task.paths}
    return [
        *(Entry(source, _collection(known.get(source)), "Not read", reason) for source, reason in failures.items()),
        *(Entry(name, collection, "Queued") for name, collection in queued.items() if name not in names),
        *(_entry(document) for source, document in known.items() if source not in failures),
    ]


def _collection(document: IndexedDocument | None) -> str:
    return ", ".join(document.collections) if document else ""


def _entry(document: IndexedDocument) -> Entry:
    return Entry(
        document.source,
        ", ".join(document.collections),
        "Ready, with a note" if document.notes else "Ready",
        " ".join(document.notes),
        document.n_chunks,
        document.size,
        datetime.fromisoformat(document.added_at).astimezone(UTC) if document.added_at else None,
    )


def reason(source: str, why: str) -> str:
    """The name of a document and why it could not be read, for a place that shows text as it is."""
    name = Path(source).name
    return remove_invisible(f"{name}: {why.replace(source, name)}")
