"""Options that several commands share: the same name, meaning and help everywhere."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jina_rag.backends.remote.address import BACKEND_VARIABLE, RERANKER_VARIABLE
from jina_rag.models import list_models

if TYPE_CHECKING:
    from jina_rag.rag.retrieval.search import SearchOptions
    from jina_rag.rag.store.filters import Filters

DEFAULT_INDEX = Path(".jina-rag/index")

ModeName = Literal["hybrid", "dense", "lexical"]
FusionName = Literal["ranks", "scores"]

_DAY = ["%Y-%m-%d"]


def _model_names(incomplete: str) -> list[str]:
    return [name for name in ("auto", *(spec.name for spec in list_models())) if name.startswith(incomplete)]


def _filter(name: str, metavar: str, help_text: str, **more: Any) -> Any:  # noqa: ANN401 - what typer takes and gives
    return typer.Option(name, metavar=metavar, help=help_text, rich_help_panel="Filters", **more)


def _model_option(left_out: str, default: str) -> Any:  # noqa: ANN401
    return typer.Option(
        "--model",
        metavar="NAME",
        help=f"One that `jina-rag models` lists. Left out, {left_out}.",
        show_default=default,
        autocompletion=_model_names,
    )


IndexOption = Annotated[
    Path, typer.Option("--index", envvar="JINA_RAG_INDEX", metavar="FOLDER", help="Where the index is.")
]
ModelOption = Annotated[
    str | None, _model_option("the Jina model if it can be had, else the bundled one", default="auto")
]
OtherModelOption = Annotated[str | None, _model_option("the index's own", default="its own")]
QuantizationOption = Annotated[
    str | None,
    typer.Option("--quantization", metavar="NAME", help="How the weights are stored, such as Q8_0."),
]
DimensionsOption = Annotated[
    int | None, typer.Option("--dimensions", metavar="N", help="Cut vectors to this width; smaller is quicker.")
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        envvar=BACKEND_VARIABLE,
        metavar="URL",
        help="Embed with the server at this address instead of in this process.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before.")]

CollectionOption = Annotated[
    str | None, typer.Option("--collection", metavar="NAME", help="The collection that the documents belong to.")
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Leave out what this .gitignore pattern names; may be repeated."),
]

KOption = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many passages to look for.")]
ModeOption = Annotated[
    ModeName, typer.Option("--mode", help="By meaning and words together, by meaning (dense), or by words (lexical).")
]
FusionOption = Annotated[
    FusionName,
    typer.Option("--fusion", help="Join meaning and words by ranks, which suits every model, or by scores."),
]
MmrLambdaOption = Annotated[
    float,
    typer.Option(
        "--mmr-lambda",
        min=0.0,
        max=1.0,
        help="Maximal marginal relevance: below 1, passages that repeat others come later.",
    ),
]
ContextWindowOption = Annotated[
    int,
    typer.Option(
        "--context-window", min=0, max=10, metavar="N", help="Also take N passages before and after each one."
    ),
]
LlmOption = Annotated[
    str,
    typer.Option(
        "--llm",
        metavar="extractive|smollm2|PATH.gguf|URL",
        help="Who words the answer: the documents' own sentences, a small language model from an installed "
        "package, one in a file, or one behind an OpenAI-compatible address such as "
        "http://localhost:11434/v1#name (its key in OPENAI_API_KEY).",
    ),
]
RerankerOption = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        envvar=RERANKER_VARIABLE,
        metavar="sentences|PATH.gguf|URL",
        help="What puts the passages in order: the index's own model, which reads them sentence by sentence, or a "
        "reranking model in a file or behind an address.",
    ),
]


@dataclass(frozen=True)
class FilterOptions:
    """Which documents count: the options of every command that looks for passages. Add them with `with_filters`."""

    sources: Annotated[
        list[str] | None,
        _filter("--source", "PATTERN", 'Only this file, folder or pattern, such as "reports/*.pdf"; may be repeated.'),
    ] = None
    file_types: Annotated[
        list[str] | None, _filter("--type", "ENDING", "Only this kind of file, such as pdf; may be repeated.")
    ] = None
    collections: Annotated[
        list[str] | None, _filter("--collection", "NAME", "Only this collection; may be repeated.")
    ] = None
    since: Annotated[
        datetime | None, _filter("--since", "YYYY-MM-DD", "Only files changed on this day or later.", formats=_DAY)
    ] = None
    until: Annotated[
        datetime | None, _filter("--until", "YYYY-MM-DD", "Only files changed on this day or earlier.", formats=_DAY)
    ] = None

    def as_filters(self) -> "Filters":
        """What a search takes; `until` with all of its day."""
        from jina_rag.rag.store.filters import Filters

        return Filters(
            sources=tuple(map(_from_here, self.sources or ())),
            file_types=tuple(self.file_types or ()),
            collections=tuple(self.collections or ()),
            modified_after=self.since,
            modified_before=self.until and min(self.until, datetime.max - timedelta(days=1)) + timedelta(days=1),
        )


def _from_here(source: str) -> str:
    """A source as an index has it: one that begins at the root or here without links and dots, any other as it is."""
    begins = source in (".", "..") or source.startswith(("/", "./", "../"))
    return str(Path(source).resolve()) if begins else source


NO_FILTERS = FilterOptions()


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of its parameter `filters`, an option for each field of `FilterOptions`.

    Typer knows no groups of options: it asks for a function's signature, and is told one here that has them singly.
    """

    @wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401 - what the command takes
        chosen = {name: options.pop(name) for name in names}
        command(**options, filters=FilterOptions(**chosen))

    fields = inspect.signature(FilterOptions).parameters
    names = list(fields)
    own = inspect.signature(command)
    parameters = [
        one for each in own.parameters.values() for one in (fields.values() if each.name == "filters" else [each])
    ]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def make_options(
    k: int, mode: ModeName, fusion: FusionName, mmr_lambda: float, context_window: int, filters: FilterOptions
) -> "SearchOptions":
    """What the options ask a search for."""
    from jina_rag.rag.retrieval.search import SearchOptions

    return SearchOptions(k, mode, fusion, filters.as_filters(), mmr_lambda, context_window)
