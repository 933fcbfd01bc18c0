"""What is wrong with an index, why that matters, and the command that mends it."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jina_rag.errors import FingerprintMismatchError, IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.indexing.rebuild import NEW_CHROMA_FOLDER, OLD_CHROMA_FOLDER, chroma_folder
from jina_rag.rag.store.catalog import MANIFEST, Manifest
from jina_rag.rag.store.lock import is_being_written
from jina_rag.rag.store.vectors import Inspection, inspect_folder


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
    manifest = Manifest(folder / MANIFEST)
    if not manifest.path.is_file():
        raise IndexFolderError(f"No index at {folder}: make one with `jina-rag add PATH`.")
    try:
        try:
            damage = manifest.check() if manifest.exists() else ["it is empty"]
        except IndexFolderError as error:
            damage = [str(error)]
        if damage:
            return [_damaged_manifest(folder, damage)]
        return [*_problems_of_manifest(folder, manifest), *_problems_of_vectors(folder, manifest)]
    finally:
        manifest.close()


def _problems_of_manifest(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    for fault, n in manifest.faults().items():
        yield Problem(f"{n:,} {fault}.", _WHY_OF_FAULTS[fault], _command("rebuild", folder))
    unfinished = manifest.unfinished()
    if unfinished and not is_being_written(folder):
        yield Problem(
            f"{len(unfinished):,} documents were being written when a process ended, such as {min(unfinished)}.",
            "Searches find them as they were before, or not yet.",
            _command("sync", folder),
        )
    if manifest.chroma_folder() or ((folder / OLD_CHROMA_FOLDER).exists() and not is_being_written(folder)):
        yield Problem(
            "A rebuild was interrupted when it was about to put the new vectors in the place of the old.",
            "The new ones are in use already; the old ones take up room.",
            _command("rebuild", folder),
        )
    elif (manifest.staged() or (folder / NEW_CHROMA_FOLDER).exists()) and not is_being_written(folder):
        yield Problem(
            "A rebuild was interrupted.",
            "The index is as it was before; what had been embedded for the rebuild is kept and takes up room.",
            _command("rebuild", folder),
        )


def _problems_of_vectors(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    place, ids = chroma_folder(folder, manifest), set(manifest.chunk_ids())
    if not ids and not place.exists():
        return
    found = inspect_folder(place)
    if found.fault:
        yield Problem(
            f"The vectors in {place} can't be used: {found.fault}.",
            "Searches by meaning fail or miss passages.",
            _command("rebuild", folder),
        )
    if found.fault and not found.ids:
        return
    yield from _problems_of_fingerprint(folder, manifest, found)
    if missing := ids - found.ids:
        yield Problem(
            f"{len(missing):,} of {len(ids):,} chunks have no vector in Chroma.",
            "Searches by meaning don't find them.",
            _command("rebuild", folder),
        )
    if (extra := found.ids - ids) and not is_being_written(folder):
        yield Problem(
            f"Chroma holds {len(extra):,} vectors of chunks that the index does not know.",
            "jina-rag passes them over; other programs that open the folder find them.",
            _command("rebuild", folder),
        )


def _problems_of_fingerprint(folder: Path, manifest: Manifest, found: Inspection) -> Iterator[Problem]:
    wanted = manifest.fingerprint()
    try:
        wanted.check(Fingerprint.from_json(found.fingerprint or ""), where="Chroma", remedy="")
    except FingerprintMismatchError as error:
        yield Problem(
            f"The vectors in Chroma are of another model than the index says. {error}".strip(),
            "Questions and passages can't be compared, so the index does not open.",
            _command("rebuild", folder),
        )


def _damaged_manifest(folder: Path, damage: list[str]) -> Problem:
    return Problem(
        f"{folder / MANIFEST} is damaged: {'; '.join(damage)}",
        "The texts and the list of documents are in it, so nothing can be rebuilt from here. Your documents themselves "
        "are not touched.",
        f"mv {shlex.quote(str(folder))} {shlex.quote(f'{folder}.damaged')}, then `jina-rag add` with the documents",
    )


def _command(name: str, folder: Path) -> str:
    return f"jina-rag {name} --index {shlex.quote(str(folder))}"


_WHY_OF_FAULTS = {
    "chunks without a document": "They are found though their document was taken out.",
    "documents whose chunks are not as many as noted": "A part of them may not be found.",
    "chunks that can't be found by their words": "Searches by words miss them.",
    "words of chunks that are gone": "Searches by words may find fewer passages than they should.",
    "chunks whose vectors are not kept": "They would have to be embedded again if Chroma's folder were lost.",
}
