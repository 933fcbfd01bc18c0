"""The vectors of an index made anew: after damage, for another machine, or for another model.

SQLite keeps the vector of every text, and those of another model beside them until all are there. Then one transaction
swaps them, and Chroma follows from the beginning. A rebuild that was interrupted goes on where it stopped.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from jina_rag.embedder import Embedder
from jina_rag.errors import IndexFolderError, InputTooLongError
from jina_rag.rag.chunking import Chunk, chunk_id
from jina_rag.rag.indexing.chroma_side import ChromaSide
from jina_rag.rag.indexing.opening import find_catalog, leave_private
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.chroma_store import slices
from jina_rag.rag.store.lock import sole_writer
from jina_rag.rag.store.types import text_digest
from jina_rag.rag.text.search_text import search_text
from jina_rag.vectors import FloatArray

_CHUNKS_AT_A_TIME = 128

RebuildCallback = Callable[[int, int], None]
"""Called with how many chunks are done, and how many there are."""


def rebuild(
    folder: Path | str,
    embedder: Embedder,
    on_progress: RebuildCallback | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Make the vectors and words of an index anew from its stored texts, for its own model or another.

    For another model the index stays as it was until all texts are embedded, whatever happens meanwhile; a rebuild that
    was interrupted goes on where it stopped. For the index's own model nothing is embedded that has a vector already.
    Another model takes over the chunks as they were cut for the first.

    Args:
        folder: Where the index is.
        embedder: The model; its vectors may be of another width.
        on_progress: Called with how many chunks are done, and how many there are.
        should_stop: Asked now and then.

    Returns:
        How many texts were embedded.

    Raises:
        IndexFolderError: there is no index, its catalog is damaged, another process is writing, it was stopped, or a
            chunk is too long for the model.
    """
    folder = Path(folder)
    catalog = find_catalog(folder)
    report = on_progress or (lambda _, __: None)
    try:
        with sole_writer(folder), leave_private(folder):
            catalog.delete_orphans()
            is_new_model, n_chunks = embedder.fingerprint != catalog.fingerprint(), catalog.count_chunks()
            n_embedded = _embed(folder, catalog, embedder, report if is_new_model else lambda _, __: None, should_stop)
            chroma = ChromaSide(folder, catalog, embedder.fingerprint)
            try:
                chroma.remake()
                chroma.follow(lambda left: None if is_new_model else report(n_chunks - left, n_chunks), should_stop)
            finally:
                chroma.close()
            if catalog.count_dirty():
                raise IndexFolderError(f"The rebuild of {folder} was stopped. Start it again to go on.")
            return n_embedded
    finally:
        catalog.close()


def _embed(
    folder: Path, catalog: Catalog, embedder: Embedder, report: RebuildCallback, should_stop: Callable[[], bool]
) -> int:
    """See to it that all texts have a vector of the model, and take these over. Returns how many were embedded."""
    fingerprint = embedder.fingerprint
    in_use = fingerprint == catalog.fingerprint()
    ids, n_embedded, new_ids = catalog.chunk_ids(), 0, dict[str, str]()
    for part in slices(ids, _CHUNKS_AT_A_TIME):
        if should_stop():
            raise IndexFolderError(
                f"The rebuild of {folder} was stopped, and the index is as it was. Start it again to go on."
            )
        chunks = catalog.chunks(part)
        texts = {text_digest(chunk.text): chunk.text for chunk in chunks.values()}
        kept = catalog.vectors(texts) if in_use else catalog.staged_vectors(fingerprint, texts)
        width = embedder.dimensions
        missing = {digest: text for digest, text in texts.items() if len(kept.get(digest, ())) != width}
        if missing:
            vectors = dict(zip(missing, _embedded(embedder, missing), strict=True))
            if in_use:
                catalog.keep_vectors(vectors)
            else:
                catalog.stage_vectors(fingerprint, vectors)
        new_ids.update((id_, _new_id(chunk, fingerprint.digest)) for id_, chunk in chunks.items())
        n_embedded += len(missing)
        report(len(new_ids), len(ids))
    catalog.swap_in(fingerprint, new_ids)
    return n_embedded


def _embedded(embedder: Embedder, texts: Mapping[bytes, str]) -> FloatArray:
    try:
        return embedder.embed_documents([search_text(text) for text in texts.values()])
    except InputTooLongError as error:
        raise IndexFolderError(
            f"A chunk has {error.token_count:,} tokens and {embedder.spec.name} reads {error.max_tokens:,}. "
            "Make a new index with this model and add the documents to it."
        ) from error


def _new_id(chunk: Chunk, model_digest: str) -> str:
    """What the chunk would be called had it been made with a model."""
    return chunk_id(chunk.source, chunk.position, chunk.text, model_digest)
