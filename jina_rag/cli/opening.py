"""What commands work with: the model, the index and the pipeline that their options name."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from jina_rag.cli.progress import working
from jina_rag.errors import FingerprintMismatchError, UnknownModelError
from jina_rag.models import DEFAULT_MODEL, parse_model_name

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.rag.answering.pipeline import RagPipeline
    from jina_rag.rag.indexing.index import DocumentIndex
    from jina_rag.rag.retrieval.retriever import Retriever
    from jina_rag.rag.retrieval.search import SearchOptions


def load_embedder(
    model: str | None, quantization: str | None, dimensions: int | None, backend: str | None = None
) -> "Embedder":
    """The model with this name, in this process or behind an address, as `Embedder.from_pretrained` has it."""
    from jina_rag.embedder import Embedder

    name = model or "auto"
    # A download draws a bar of its own.
    with working("Loading the model") if backend is None and _is_here(name, quantization) else nullcontext():
        return Embedder.from_pretrained(name, quantization=quantization, dimensions=dimensions, backend=backend)


def _is_here(name: str, quantization: str | None) -> bool:
    from jina_rag.model_files import is_on_this_machine

    try:
        spec, named = parse_model_name(DEFAULT_MODEL if name == "auto" else name)
        return is_on_this_machine(spec, quantization or named)
    except UnknownModelError:  # which is for from_pretrained to say
        return False


def embedder_for(
    folder: Path,
    model: str | None,
    quantization: str | None,
    dimensions: int | None,
    backend: str | None = None,
) -> "Embedder":
    """The model of the index in a folder, or the one that is asked for if there is no index yet.

    Raises:
        FingerprintMismatchError: there is an index, and the model that is asked for is another.
    """
    from jina_rag.rag.indexing.index import read_index_settings
    from jina_rag.rag.store.catalog import MANIFEST

    if not (folder / MANIFEST).is_file():
        return load_embedder(model, quantization, dimensions, backend)
    made_with = read_index_settings(folder)
    asked_for: list[tuple[str, str | int | None, str | int]] = [
        ("--quantization", quantization and quantization.upper(), made_with.quantization),
        ("--dimensions", dimensions, made_with.dimensions),
    ]
    if model and model != "auto":
        spec, named = parse_model_name(model)
        asked_for += [("--model", spec.name, made_with.model), ("--model", named, made_with.quantization)]
    for option, wanted, stored in asked_for:
        if wanted is not None and wanted != stored:
            raise FingerprintMismatchError(
                f"{option} names {wanted}, and the index {folder} was made with {stored}. An index keeps the model it "
                f"was made with: leave {option} out, or name another folder with --index."
            )
    return load_embedder(made_with.model, made_with.quantization or None, made_with.dimensions, backend)


@contextmanager
def open_index(folder: Path, backend: str | None = None) -> "Iterator[DocumentIndex]":
    """The index in a folder with its own model, both closed in the end.

    Raises:
        IndexFolderError: there is none, or it is damaged.
    """
    from jina_rag.rag.indexing.index import DocumentIndex, read_index_settings

    made_with = read_index_settings(folder)
    with (
        load_embedder(made_with.model, made_with.quantization or None, made_with.dimensions, backend) as embedder,
        DocumentIndex.open(folder, embedder) as index,
    ):
        yield index


@contextmanager
def open_pipeline(
    folder: Path,
    llm: str | None,
    options: "SearchOptions",
    backend: str | None = None,
    reranker: str | None = None,
) -> "Iterator[RagPipeline]":
    """The pipeline over the index in a folder, all of it closed in the end.

    Raises:
        IndexFolderError: there is none, or it is damaged.
        GenerationError: `llm` names nothing.
        BackendError: `reranker` names nothing.
    """
    from jina_rag.rag.answering.factory import make_generator
    from jina_rag.rag.answering.pipeline import RagPipeline

    with (
        open_retriever(folder, backend, reranker) as retriever,
        closing(make_generator(llm, retriever.index)) as generator,
    ):
        yield RagPipeline(retriever, generator, options=options)


@contextmanager
def open_retriever(folder: Path, backend: str | None = None, reranker: str | None = None) -> "Iterator[Retriever]":
    """The retriever over the index in a folder, all of it closed in the end.

    Raises:
        IndexFolderError: there is none, or it is damaged.
        BackendError: `reranker` names nothing.
    """
    from jina_rag.rag.retrieval.rerank import make_reranker
    from jina_rag.rag.retrieval.retriever import Retriever

    with (
        open_index(folder, backend) as index,
        closing(make_reranker(reranker, index)) if reranker else nullcontext() as reranking,
    ):
        yield Retriever(index, reranking)
