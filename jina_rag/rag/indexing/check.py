"""What is wrong with an index, why that matters, and the command that mends it."""

import shlex
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jina_rag.errors import FingerprintMismatchError, IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.indexing.opening import NO_INDEX
from jina_rag.rag.store.catalog import CATALOG, Catalog
from jina_rag.rag.store.chroma_store import CHROMA_FOLDER, Inspection, inspect_folder
from jina_rag.rag.store.files import refuse_links
from jina_rag.rag.store.lock import is_being_written
from jina_rag.rag.store.seal import is_sealed


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with an index.

    Attributes:
        what: The finding, with numbers.
        why: What it means for searches or for the documents.
        remedy: The command that mends it.
    """

    what: str
    why: str
    remedy: str


def doctor(folder: Path | str) -> list[Problem]:
    """Look an index through: every row, every vector. Loads no model, changes nothing; empty if all is well.

    It works on an index that can't be opened, too, and beside a process that writes: what that is at counts as well.

    Raises:
        IndexFolderError: there is nothing in `folder` that ever was an index.
    """
    folder = Path(folder)
    catalog = Catalog(folder / CATALOG)
    if not catalog.path.is_file():
        raise IndexFolderError(NO_INDEX.format(folder))
    try:
        refuse_links(folder)
        damage = catalog.check() if catalog.exists() else ["it is empty"]
        if not damage:
            return [*_problems_of_catalog(folder, catalog), *_problems_of_vectors(folder, catalog)]
    except IndexFolderError as error:
        if not _is_damage(error):
            return [Problem(str(error), "The index is not opened. Nothing in it was changed.", _NEW_INDEX)]
        damage = [str(error)]
    finally:
        catalog.close()
    return [_damaged_catalog(folder, damage)]


def _problems_of_catalog(folder: Path, catalog: Catalog) -> Iterator[Problem]:
    for fault, n in catalog.faults().items():
        yield Problem(f"{n:,} {fault}.", _WHY_OF_FAULTS[fault], _command("rebuild", folder))
    if (n_dirty := catalog.count_dirty()) and not is_being_written(folder):
        yield Problem(
            f"A process ended before Chroma had followed it: {n_dirty:,} vectors are to be written or removed there.",
            "Searches compare with every vector until then, which is right and takes longer.",
            _command("sync", folder),
        )
    if catalog.is_staged() and not is_being_written(folder):
        yield Problem(
            "A rebuild was interrupted.",
            "The index is as it was before; what had been embedded for the rebuild is kept and takes up room.",
            _command("rebuild", folder),
        )


def _problems_of_vectors(folder: Path, catalog: Catalog) -> Iterator[Problem]:
    place, ids = folder / CHROMA_FOLDER, set(catalog.chunk_ids())
    if not ids and not place.exists():
        return
    if place.exists() and not is_sealed(place, catalog.seal()):
        yield Problem(
            f"The vectors in {place} were not written on this machine, and are not opened: such files can do harm.",
            "Searches compare with every vector in SQLite instead, which is right and takes longer.",
            _command("rebuild", folder),
        )
        return
    found = inspect_folder(place)
    if found.fault:
        yield Problem(
            f"The vectors in {place} can't be used: {found.fault}.",
            "Searches compare with every vector in SQLite instead, which takes longer, or miss passages.",
            _command("rebuild", folder),
        )
    if found.fault and not found.ids:
        return
    yield from _problems_of_fingerprint(folder, catalog, found)
    if (missing := ids - found.ids) and not catalog.count_dirty():
        yield Problem(
            f"{len(missing):,} of {len(ids):,} chunks have no vector in Chroma.",
            "Searches by meaning don't find them.",
            _command("rebuild", folder),
        )
    if (extra := found.ids - ids) and not catalog.count_dirty():
        yield Problem(
            f"Chroma holds {len(extra):,} vectors of chunks that the index does not know.",
            "jina-rag passes them over; other programs that open the folder find them.",
            _command("rebuild", folder),
        )


def _problems_of_fingerprint(folder: Path, catalog: Catalog, found: Inspection) -> Iterator[Problem]:
    wanted = catalog.fingerprint()
    try:
        wanted.check(Fingerprint.from_json(found.fingerprint or ""), where="Chroma", remedy="")
    except FingerprintMismatchError as error:
        yield Problem(
            f"The vectors in Chroma are of another model than the index says. {error}".strip(),
            "Questions and passages can't be compared, so the index does not open.",
            _command("rebuild", folder),
        )


def _is_damage(error: IndexFolderError) -> bool:
    """Whether it is the content that can't be read; SQLite may take for whole what holds such text."""
    cause = error.__cause__
    is_other = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF in _NO_DAMAGE
    return isinstance(cause, sqlite3.DatabaseError | UnicodeError) and not is_other


def _damaged_catalog(folder: Path, damage: list[str]) -> Problem:
    return Problem(
        f"{folder / CATALOG} is damaged: {'; '.join(damage)}",
        "The texts and the list of documents are in it, so nothing can be rebuilt from here. Your documents themselves "
        "are not touched.",
        f"mv {shlex.quote(str(folder))} {shlex.quote(f'{folder}.damaged')}, then `jina-rag add` with the documents",
    )


def _command(name: str, folder: Path) -> str:
    return f"jina-rag {name} --index {shlex.quote(str(folder))}"


_NEW_INDEX = "jina-rag add PATH --index FOLDER, with another folder, unless the first line says what to mend"
_NO_DAMAGE = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL}
)
"""What SQLite fails with where the file is whole."""

_WHY_OF_FAULTS = {
    "chunks without a document": "They are found though their document was taken out.",
    "documents whose chunks are not as many as noted": "A part of them may not be found.",
    "chunks that can't be found by their words": "Searches by words miss them.",
    "words of chunks that are gone": "Searches by words may find fewer passages than they should.",
    "chunks whose vectors are not kept": "They would have to be embedded again if Chroma's folder were lost.",
}
