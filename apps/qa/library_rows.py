"""The library put into rows and words that its page can show; nothing here draws."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from job import Job, Kind, State

from jina_rag.rag import FailedDocument, IndexedDocument
from jina_rag.rag.text.cleaning import remove_invisible

_TITLES = {
    Kind.SYNC: "Update everything",
    Kind.RETRY: "Read again what could not be read",
    Kind.REBUILD: "Rebuild the index",
}
_BYTES = ("bytes", "kB", "MB", "GB", "TB")


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


def entries(documents: Iterable[IndexedDocument], failed: Iterable[FailedDocument], jobs: Iterable[Job]) -> list[Entry]:
    """All documents: what could not be read first, then what waits, then what can be asked."""
    known = {document.source: document for document in documents}
    failures = {item.source: item.reason for item in failed}
    waiting = {
        path: job.collection for job in jobs if not job.is_over and job.kind is Kind.UPLOAD for path in job.paths
    }
    return [
        *(Entry(source, _collection(known.get(source)), "Not read", reason) for source, reason in failures.items()),
        *(Entry(path, collection, "Waiting") for path, collection in waiting.items() if path not in known),
        *(_entry(document) for source, document in known.items() if source not in failures),
    ]


def _collection(document: IndexedDocument | None) -> str:
    return document.collection if document else ""


def _entry(document: IndexedDocument) -> Entry:
    return Entry(
        document.source,
        document.collection,
        "Ready, with a note" if document.notes else "Ready",
        " ".join(document.notes),
        document.n_chunks,
        document.size,
        datetime.fromisoformat(document.added_at).astimezone(UTC) if document.added_at else None,
    )


def title(job: Job) -> str:
    """What a job is about, in a few words."""
    names = [Path(path).name for path in job.paths]
    if job.kind is Kind.REMOVE_COLLECTION:
        return f"Take the collection {job.collection} out"
    if job.kind is Kind.REMOVE:
        return f"Take out {_listed(names)}"
    if job.kind is Kind.UPLOAD:
        return f"Add {_listed(names)}"
    if job.kind is Kind.ADD:
        return f"Add {_listed(job.paths)}"
    return _TITLES[job.kind]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names):,} documents"


def progress(job: Job) -> str:
    """How far a job is: what it is at, how much is done, how quickly, how long it still takes."""
    if job.state is State.WAITING:
        return "Waits for its turn"
    parts = ["Cancelling, once the passages at hand are stored" if job.is_stopping else job.sentence]
    if job.documents_total:
        parts.append(f"{job.documents_done:,} of {counted(job.documents_total, 'document')}")
    if job.chunks_done:
        parts.append(f"{counted(job.chunks_done, 'passage')}, {job.chunks_per_second:,.1f} a second")
    if job.seconds_left is not None and job.fraction < 1:
        parts.append(f"about {duration(job.seconds_left)} left")
    return " · ".join(parts)


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 60:
        return counted(max(1, round(seconds)), "second")
    if seconds < 3600:
        return counted(round(seconds / 60), "minute")
    return f"{counted(int(seconds // 3600), 'hour')} {round(seconds % 3600 / 60)} min"


def size(n_bytes: float) -> str:
    """Bytes in words."""
    unit = 0
    while n_bytes >= 999.5 and unit < len(_BYTES) - 1:
        n_bytes, unit = n_bytes / 1000, unit + 1
    return f"{n_bytes:.0f} {_BYTES[unit]}" if unit < 2 else f"{n_bytes:.1f} {_BYTES[unit]}"


def folder_size(folder: Path) -> int:
    """The bytes of all files below a folder, in which a job may be at work."""
    return sum(_file_size(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def _file_size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def reason(source: str, why: str) -> str:
    """The name of a document and why it could not be read, for a place that shows text as it is."""
    name = Path(source).name
    return remove_invisible(f"{name}: {why.replace(source, name)}")
