"""Options that several commands share: the same name, meaning and help everywhere."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jina_rag.backends.remote.address import BACKEND_VARIABLE, JUDGE_VARIABLE, RERANKER_VARIABLE
from jina_rag.errors import StoreError
from jina_rag.models import list_models
from jina_rag.rag_models import list_chat_models, list_rerankers

if TYPE_CHECKING:
    from jina_rag.rag.retrieval.search import SearchOptions
    from jina_rag.rag.store.filters import Filters

DEFAULT_INDEX = Path(".jina-rag/index")

_DAY = ["%Y-%m-%d"]
_ELSEWHERE = ", or with the server at this address; by default with what the index was made with, else llama.cpp"


def _model_names(incomplete: str) -> list[str]:
    return [name for name in ("auto", *(spec.name for spec in list_models())) if name.startswith(incomplete)]


def _llm_names(incomplete: str) -> list[str]:
    names = ("auto", "none", "smollm2", *(row.name for row in list_chat_models()))
    return [name for name in names if name.startswith(incomplete)]


def complete_rerankers(incomplete: str) -> list[str]:
    """The names of rerankers that begin so."""
    return [row.name for row in list_rerankers() if row.name.startswith(incomplete)]


def _model_option(default: str) -> Any:  # noqa: ANN401 - what typer takes and gives
    return typer.Option(
        "--model",
        metavar="NAME",
        help="Embedding model, one that `jina-rag models` lists.",
        show_default=default,
        autocompletion=_model_names,
    )


def backend_option(variable: str | None, metavar: str = "URL|llama.cpp|onnx|auto", elsewhere: str = _ELSEWHERE) -> Any:  # noqa: ANN401
    """Where a model runs. The commands that measure or serve one are not sent to a server by the variable of others."""
    return typer.Option(
        "--backend",
        envvar=variable,
        metavar=metavar,
        help=f"Embed with llama.cpp, with ONNX Runtime (onnx), or with the faster of the two here (auto){elsewhere}.",
    )


def _found_upward(ctx: typer.Context, param: typer.CallbackParam, folder: Path) -> Path:
    """The folder of the index: where none is named, that of the nearest folder above that has one, as git does.

    One that belongs to somebody else is passed over: in a folder that all may write to, anybody can leave one.
    """
    source = ctx.get_parameter_source(param.name or "")
    if source is None or source.name != "DEFAULT":
        return folder
    from jina_rag.rag.store.catalog import CATALOG

    here = Path.cwd()
    for above in (here, *here.parents):
        catalog = above / DEFAULT_INDEX / CATALOG
        if catalog.is_file() and (above == here or not hasattr(os, "getuid") or catalog.stat().st_uid == os.getuid()):
            return DEFAULT_INDEX if above == here else above / DEFAULT_INDEX
    return folder


def _folder_or_store(ctx: typer.Context, param: typer.CallbackParam, text: str) -> str:
    from jina_rag.rag.vector_stores.address import is_store_address

    return text if is_store_address(text) else str(_found_upward(ctx, param, Path(text)))


def _index_folder(text: Path | str) -> Path:
    from jina_rag.rag.vector_stores.address import is_store_address

    if is_store_address(text):
        raise StoreError(
            f"This command works on an index folder, and {text} is a vector store. `jina-rag index --source PATH --to "
            f"{text}` and `jina-rag sync PATH --index {text}` fill it and bring it up to date; search, ask and chat "
            "read it."
        )
    return Path(text)


def _filter(name: str, metavar: str, help_text: str, **more: Any) -> Any:  # noqa: ANN401
    return typer.Option(name, metavar=metavar, help=help_text, rich_help_panel="Filters", **more)


IndexOption = Annotated[
    Path,
    typer.Option(
        "--index",
        envvar="JINA_RAG_INDEX",
        metavar="FOLDER",
        help="Folder of the index. By default .jina-rag/index here, or in the nearest folder above that has one.",
        show_default=False,
        parser=_index_folder,
        callback=_found_upward,
    ),
]
IndexOrStoreOption = Annotated[
    str,
    typer.Option(
        "--index",
        envvar="JINA_RAG_INDEX",
        metavar="FOLDER|STORE",
        help="Folder of the index, by default .jina-rag/index here, or in the nearest folder above that has one; or a "
        "vector store: chroma://HOST:PORT/COLLECTION, chromas:// for TLS (token in CHROMA_API_KEY), or lance://FOLDER.",
        show_default=False,
        callback=_folder_or_store,
    ),
]
ModelOption = Annotated[str | None, _model_option("auto: the Jina model if it is available, else the bundled one")]
OtherModelOption = Annotated[str | None, _model_option("the index's own")]
QuantizationOption = Annotated[
    str | None, typer.Option("--quantization", metavar="NAME", help="Quantization of the weights, such as Q8_0.")
]
DimensionsOption = Annotated[
    int | None,
    typer.Option("--dimensions", metavar="N", help="Truncate vectors to N dimensions; fewer are faster to search."),
]
BackendOption = Annotated[str | None, backend_option(BACKEND_VARIABLE)]
FileBackendOption = Annotated[str | None, backend_option(None, "llama.cpp|onnx|auto", "")]
RerankerOption = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        envvar=RERANKER_VARIABLE,
        metavar="NAME|PATH.gguf|URL",
        help="Put the passages in the order of a reranking model: one that `jina-rag models` lists, one in a file or "
        "one behind an address.",
        autocompletion=complete_rerankers,
    ),
]
LlmOption = Annotated[
    str,
    typer.Option(
        "--llm",
        metavar="auto|none|NAME|PATH.gguf|URL",
        help="Answer model: what runs on this machine, such as Ollama or LM Studio, else a downloaded one (auto); "
        "none; one that `jina-rag models` lists, or the very small smollm2; a chat model in a file; or one behind an "
        "OpenAI-compatible address such as http://localhost:11434/v1#NAME (API key in OPENAI_API_KEY).",
        autocompletion=_llm_names,
    ),
]
JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge",
        envvar=JUDGE_VARIABLE,
        metavar="none|llm|NAME|PATH.gguf|URL",
        help="Check claims that are not quoted with a model that reads claim and passage: the answer model (llm); "
        "one that `jina-rag models` lists; a chat model, reranker or classifier in a file; or a chat model behind an "
        "address.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]

CollectionsOption = Annotated[
    list[str] | None,
    typer.Option("--collection", metavar="NAME", help="Collection that the documents are in; may be repeated."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Skip files that match a .gitignore pattern; may be repeated."),
]


@dataclass(frozen=True)
class FilterFlags:
    """Which documents count. Add these options to a command with `with_flags`."""

    sources: Annotated[
        list[str] | None,
        _filter("--source", "PATTERN", 'Only this file, folder or pattern, such as "reports/*.pdf"; may be repeated.'),
    ] = None
    file_types: Annotated[
        list[str] | None, _filter("--type", "TYPE", "Only this file type, such as pdf; may be repeated.")
    ] = None
    collections: Annotated[
        list[str] | None, _filter("--collection", "NAME", "Only this collection; may be repeated.")
    ] = None
    since: Annotated[
        datetime | None, _filter("--since", "YYYY-MM-DD", "Only files modified on this day or later.", formats=_DAY)
    ] = None
    until: Annotated[
        datetime | None, _filter("--until", "YYYY-MM-DD", "Only files modified on this day or earlier.", formats=_DAY)
    ] = None

    where: Annotated[
        list[str] | None,
        _filter(
            "--where",
            "CONDITION",
            'Only documents whose metadata says so, such as "author=*lee*" or "created>=2024-03"; may be repeated.',
        ),
    ] = None

    def as_filters(self) -> "Filters":
        """What a search takes; `until` with all of its day."""
        from jina_rag.rag.store.filters import Filters

        try:
            return Filters(
                sources=tuple(map(_from_here, self.sources or ())),
                file_types=tuple(self.file_types or ()),
                collections=tuple(self.collections or ()),
                modified_after=self.since,
                modified_before=self.until and min(self.until, datetime.max - timedelta(days=1)) + timedelta(days=1),
                where=tuple(self.where or ()),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--where") from error


@dataclass(frozen=True)
class SearchFlags(FilterFlags):
    """Where and how to search. Add these options to a command with `with_flags`."""

    index: IndexOrStoreOption = str(DEFAULT_INDEX)
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of passages to find.")] = 5
    mode: Annotated[
        Literal["hybrid", "dense", "lexical"],
        typer.Option("--mode", help="By meaning and words (hybrid), by meaning (dense), or by words (lexical, BM25)."),
    ] = "hybrid"
    context_window: Annotated[
        int,
        typer.Option("--context-window", min=0, max=10, metavar="N", help="Add N passages before and after each one."),
    ] = 0
    mmr_lambda: Annotated[
        float,
        typer.Option(
            "--mmr-lambda",
            min=0.0,
            max=1.0,
            help="Maximal marginal relevance: 1 ranks by relevance alone, 0 by diversity alone.",
        ),
    ] = 1.0
    reranker: RerankerOption = None
    backend: BackendOption = None

    def as_options(self) -> "SearchOptions":
        """What a retriever takes."""
        from jina_rag.rag.retrieval.search import SearchOptions

        return SearchOptions(self.k, self.mode, self.as_filters(), self.mmr_lambda, self.context_window)


def _from_here(source: str) -> str:
    """A source as an index has it: one that begins at the root or here without links and dots, any other as it is."""
    from jina_rag.rag.documents.sources import source_of

    begins = source in (".", "..") or source.startswith(("/", "./", "../"))
    return source_of(Path(source).resolve()) if begins else source


NO_FILTERS = FilterFlags()
DEFAULT_SEARCH = SearchFlags()


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of a parameter whose default is a group such as `NO_FILTERS`, its options.

    Typer knows no groups of options: it asks for a function's signature, and gets one here that has them singly.
    """
    own = inspect.signature(command)
    (group,) = (each for each in own.parameters.values() if is_dataclass(each.default))
    fields = inspect.signature(type(group.default)).parameters

    @wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401 - what the command takes
        chosen = {name: options.pop(name) for name in fields}
        command(**options, **{group.name: type(group.default)(**chosen)})

    parameters = [one for each in own.parameters.values() for one in (fields.values() if each is group else [each])]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run
