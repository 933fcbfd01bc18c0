"""The model, the index, the retriever and the pipeline that a command's options name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from jina_rag.cli.progress import working
from jina_rag.config import EmbedderConfig
from jina_rag.errors import FingerprintMismatchError, UnknownModelError
from jina_rag.models import DEFAULT_MODEL, parse_model_name

if TYPE_CHECKING:
    from jina_rag.cli.options import SearchFlags
    from jina_rag.embedder import Embedder
    from jina_rag.fingerprint import Fingerprint
    from jina_rag.rag.answering.pipeline import RagPipeline
    from jina_rag.rag.indexing.index import DocumentIndex
    from jina_rag.rag.retrieval.retriever import Retriever


def load_embedder(
    model: str | None, quantization: str | None, dimensions: int | None, backend: str | None = None
) -> "Embedder":
    """The model with this name, in this process or behind an address, as for `Embedder.from_pretrained`."""
    from jina_rag.embedder import Embedder

    name = model or "auto"
    with _loading(name, quantization, backend):
        return Embedder.from_pretrained(name, quantization=quantization, dimensions=dimensions, backend=backend)


def load_made_with(made_with: "Fingerprint", backend: str | None) -> "Embedder":
    """The model of what holds vectors already. Raises as `load_by_name` does."""
    from jina_rag.rag.indexing.index_model import load_by_name

    with _loading(made_with.model, made_with.quantization or None, backend):
        return load_by_name(made_with, backend)


def _loading(name: str, quantization: str | None, backend: str | None) -> AbstractContextManager[object]:
    """A sign that a model is being loaded; nothing where there will be a download, which draws a bar of its own."""
    from jina_rag.model_files import is_on_this_machine

    runs_file = EmbedderConfig(backend=backend).runs_file
    try:
        spec = parse_model_name(DEFAULT_MODEL if name == "auto" else name, quantization)
    except UnknownModelError:  # which is for from_pretrained to say
        return nullcontext()
    return working("Loading the model") if runs_file and is_on_this_machine(*spec) else nullcontext()


def embedder_for(
    folder: Path,
    model: str | None,
    quantization: str | None,
    dimensions: int | None,
    backend: str | None = None,
) -> "Callable[[], Embedder]":
    """What loads the model of the index in a folder, or the one that is asked for if there is no index yet.

    Raises:
        FingerprintMismatchError: there is an index, and the model that is asked for is another.
    """
    from jina_rag.rag.indexing.index import read_index_settings
    from jina_rag.rag.store.catalog import CATALOG

    if not (folder / CATALOG).is_file():
        return lambda: load_embedder(model, quantization, dimensions, backend)
    made_with = read_index_settings(folder)
    refuse_another_model(
        made_with, f"the index {folder}", "name another folder with --index", model, quantization, dimensions
    )
    return lambda: load_made_with(made_with, backend)


def refuse_another_model(
    made_with: "Fingerprint",
    where: str,
    remedy: str,
    model: str | None,
    quantization: str | None,
    dimensions: int | None,
) -> None:
    """Compare what options name with what vectors were made with; nothing is loaded for that.

    Raises:
        FingerprintMismatchError: an option names another model; the message has both, `where` and `remedy`.
        UnknownModelError: `model` names none.
    """
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
                f"{option} names {wanted}, and {where} was made with {stored}, which it keeps: leave {option} out, or "
                f"{remedy}."
            )


def open_index(folder: Path, backend: str | None = None) -> "DocumentIndex":
    """The index in a folder. Its model is loaded when it is needed and closed with the index.

    Raises:
        IndexFolderError: there is none, or it is damaged.
    """
    from jina_rag.rag.indexing.index import DocumentIndex

    return DocumentIndex.open(folder, embedder_for(folder, None, None, None, backend))


@contextmanager
def open_pipeline(flags: "SearchFlags", llm: str | None, judge: str | None) -> "Iterator[RagPipeline]":
    """The pipeline that the options name, all of it closed in the end.

    Raises:
        IndexFolderError: there is no index, or it is damaged.
        GenerationError: `llm` or `judge` names nothing.
        BackendError: `flags.reranker` names nothing.
    """
    from jina_rag.rag.answering.factory import make_generator
    from jina_rag.rag.answering.judging import make_judge
    from jina_rag.rag.answering.pipeline import RagPipeline

    with ExitStack() as opened:
        retriever = opened.enter_context(open_retriever(flags.index, flags.backend, flags.reranker))
        retriever.index.check_names(flags.as_filters())
        if generator := make_generator(llm):
            opened.enter_context(closing(generator))
        if reader := make_judge(judge, generator):
            opened.enter_context(closing(reader))
        yield RagPipeline(retriever, generator, judge=reader, options=flags.as_options())


def open_retriever(index: Path | str, backend: str | None = None, reranker: str | None = None) -> "Retriever":
    """The retriever over the index in a folder or a vector store, which shows that it loads its model."""
    from jina_rag.rag.retrieval.retriever import Retriever

    return Retriever.open(index, backend=backend, reranker=reranker, load=load_made_with)
