"""What brings an index back into order: after a kill, after damage, and for another model.

The manifest is the truth, and keeps the vector of every text. Chroma can therefore always be made again beside the old
folder, `chroma.new`, and takes its place by renaming once it is whole.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jina_rag.errors import IndexFolderError, InputTooLongError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk, chunk_id
from jina_rag.rag.indexing.index_model import IndexModel
from jina_rag.rag.store.catalog import Manifest, text_digest
from jina_rag.rag.store.vectors import CHROMA_FOLDER, VectorStore, chroma_errors, inspect_folder, slices
from jina_rag.vectors import FloatArray

NEW_CHROMA_FOLDER = "chroma.new"
OLD_CHROMA_FOLDER = "chroma.old"

_CHUNKS_AT_A_TIME = 128

RebuildCallback = Callable[[int, int], None]
"""Called with how many chunks are done, and how many there are."""


def chroma_folder(folder: Path, manifest: Manifest) -> Path:
    """Where the vectors of an index are: a rebuilt folder counts from the moment the manifest says so."""
    adopted = manifest.chroma_folder()
    return folder / adopted if adopted and (folder / adopted).is_dir() else folder / CHROMA_FOLDER


def recover(folder: Path, manifest: Manifest, model: IndexModel) -> None:
    """Put in order what a killed process has left. The caller holds the lock and has no vectors open.

    Vectors of texts that were not complete documents yet are kept for when these come again.
    """
    settle(folder, manifest)
    unfinished = manifest.unfinished()
    if not unfinished:
        return
    # A process that was killed while Chroma saved its graph can leave a file that would end the one that reads it.
    if (folder / CHROMA_FOLDER).is_dir() and inspect_folder(folder / CHROMA_FOLDER).fault:
        renew_chroma(folder, manifest, model)
        return
    with chroma_errors(folder / CHROMA_FOLDER):
        store = VectorStore(folder / CHROMA_FOLDER, model.fingerprint)
        try:
            mend(manifest, store, model, unfinished)
        finally:
            store.close()


def settle(folder: Path, manifest: Manifest) -> None:
    """Give a rebuilt Chroma folder its usual name, and delete the old one. The caller holds the lock."""
    adopted = manifest.chroma_folder()
    if not adopted:
        return
    new, usual, old = folder / adopted, folder / CHROMA_FOLDER, folder / OLD_CHROMA_FOLDER
    if new.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        if usual.exists():
            usual.rename(old)
        new.rename(usual)
    manifest.settle()
    shutil.rmtree(old, ignore_errors=True)


def mend(manifest: Manifest, store: VectorStore, model: IndexModel, sources: Iterable[str] | None = None) -> None:
    """Make Chroma agree with the manifest, for some sources or, for None, everywhere. The caller holds the lock."""
    if sources is None:
        _make_agree(manifest, store, model, manifest.chunk_ids(), store.ids())
        sources = manifest.unfinished()
    else:
        sources = list(sources)
        for source in sources:
            ids = [chunk.id for chunk in manifest.chunks_of(source)]
            _make_agree(manifest, store, model, ids, store.ids(source))
    manifest.keep(sources)


def renew_chroma(
    folder: Path,
    manifest: Manifest,
    model: IndexModel,
    on_progress: RebuildCallback | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Make Chroma's folder anew, for `model`; the old state stays good until the end.

    The caller holds the lock. Returns how many texts had to be embedded.

    Raises:
        IndexFolderError: the folder can't be written, or a chunk is too long for the model.
    """
    settle(folder, manifest)
    fingerprint, new = model.fingerprint, folder / NEW_CHROMA_FOLDER
    shutil.rmtree(new, ignore_errors=True)  # of a rebuild that was killed; nobody reads it
    ids, n_embedded, new_ids = manifest.chunk_ids(), 0, dict[str, str]()
    collections = {document.source: document.collection for document in manifest.documents()}
    with chroma_errors(new):
        store = VectorStore(new, model.fingerprint)
        try:
            for part in slices(ids, _CHUNKS_AT_A_TIME):
                if should_stop():
                    raise IndexFolderError(
                        f"The rebuild of {folder} was stopped, and the index is as it was. Start it again to go on."
                    )
                chunks = list(manifest.chunks(part).values())
                vectors, n_new = _vectors_for(manifest, model, chunks)
                renamed = [_renamed(chunk, fingerprint) for chunk in chunks]
                store.upsert(renamed, [vectors[text_digest(chunk.text)] for chunk in chunks], collections)
                new_ids.update((old.id, chunk.id) for old, chunk in zip(chunks, renamed, strict=True))
                n_embedded += n_new
                if on_progress:
                    on_progress(len(new_ids), len(ids))
        finally:
            store.close()
    manifest.adopt(fingerprint, new_ids, NEW_CHROMA_FOLDER)
    settle(folder, manifest)
    return n_embedded


def _vectors_for(
    manifest: Manifest, model: IndexModel, chunks: Sequence[Chunk]
) -> tuple[Mapping[bytes, FloatArray], int]:
    """The vectors of chunks' texts by digest, and how many had to be embedded; these are kept from now on."""
    texts = {text_digest(chunk.text): chunk.text for chunk in chunks}
    in_use = model.fingerprint.digest == manifest.fingerprint().digest
    vectors = manifest.vectors(texts) if in_use else manifest.staged_vectors(model.fingerprint, texts)
    missing = {digest: text for digest, text in texts.items() if digest not in vectors}
    if missing:
        try:
            embedded = dict(zip(missing, model.embedder.embed_documents(list(missing.values())), strict=True))
        except InputTooLongError as error:
            raise IndexFolderError(
                f"A chunk has {error.token_count:,} tokens and {model.fingerprint.model} reads {error.max_tokens:,}. "
                "Make a new index with this model and add the documents to it."
            ) from error
        if in_use:
            manifest.begin((), embedded)
        else:
            manifest.stage_vectors(model.fingerprint, embedded)
        vectors.update(embedded)
    return vectors, len(missing)


def _renamed(chunk: Chunk, fingerprint: Fingerprint) -> Chunk:
    """The chunk as it would be called had it been made with the model of `fingerprint`."""
    return replace(chunk, id=chunk_id(chunk.source, chunk.position, chunk.text, fingerprint.digest))


def _make_agree(
    manifest: Manifest, store: VectorStore, model: IndexModel, wanted: Sequence[str], stored: set[str]
) -> None:
    missing = [id_ for id_ in wanted if id_ not in stored]
    collections = {document.source: document.collection for document in manifest.documents()} if missing else {}
    for part in slices(missing, _CHUNKS_AT_A_TIME):
        chunks = list(manifest.chunks(part).values())
        vectors, _ = _vectors_for(manifest, model, chunks)
        store.upsert(chunks, [vectors[text_digest(chunk.text)] for chunk in chunks], collections)
    store.delete(stored.difference(wanted))
