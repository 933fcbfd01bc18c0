"""Options that several commands share: the same name, meaning and help everywhere."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jina_rag.models import list_models

if TYPE_CHECKING:
    from jina_rag.rag.filters import Filters
    from jina_rag.rag.pipeline import SearchOptions

DEFAULT_INDEX = Path(".jina-rag/index")

ModeName = Literal["hybrid", "dense", "lexical"]

_FILTERS = "Filters"
_DAY = ["%Y-%m-%d"]


def _model_names(incomplete: str) -> list[str]:
    return [name for name in ("auto", *(spec.name for spec in list_models())) if name.startswith(incomplete)]


IndexOption = Annotated[
    Path, typer.Option("--index", envvar="JINA_RAG_INDEX", metavar="FOLDER", help="Where the index is.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="One that `jina-rag models` lists. Left out, the Jina model if it can be had, else the bundled one.",
        show_default="auto",
        autocompletion=_model_names,
    ),
]
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
        envvar="JINA_RAG_BACKEND",
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
DiversityOption = Annotated[
    float,
    typer.Option("--diversity", min=0.0, max=1.0, help="The higher, the less passages repeat."),
]
NeighboursOption = Annotated[
    int,
    typer.Option("--neighbours", min=0, max=10, metavar="N", help="Take so many passages before and after each, too."),
]
SourcesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="PATTERN",
        help='Only this file, folder or pattern, such as "reports/*.pdf"; may be repeated.',
        rich_help_panel=_FILTERS,
    ),
]
KindsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="ENDING",
        help="Only this kind of file, such as pdf; may be repeated.",
        rich_help_panel=_FILTERS,
    ),
]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collection", metavar="NAME", help="Only this collection; may be repeated.", rich_help_panel=_FILTERS
    ),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        formats=_DAY,
        metavar="YYYY-MM-DD",
        help="Only files changed on this day or later.",
        rich_help_panel=_FILTERS,
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--until",
        formats=_DAY,
        metavar="YYYY-MM-DD",
        help="Only files changed on this day or earlier.",
        rich_help_panel=_FILTERS,
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
        envvar="JINA_RAG_RERANKER",
        metavar="PATH.gguf|URL",
        help="Let this model put the passages in order: one in a file, or one behind an address.",
    ),
]


def make_options(
    k: int,
    mode: ModeName,
    diversity: float,
    neighbours: int,
    sources: list[str] | None,
    kinds: list[str] | None,
    collections: list[str] | None,
    since: datetime | None,
    until: datetime | None,
) -> "SearchOptions":
    """What the options ask a search for; the filters as `make_filters` reads them."""
    from jina_rag.rag.pipeline import SearchOptions

    filters = make_filters(sources, kinds, collections, since, until)
    return SearchOptions(k=k, mode=mode, filters=filters, diversity=diversity, neighbours=neighbours)


def make_filters(
    sources: list[str] | None,
    kinds: list[str] | None,
    collections: list[str] | None,
    since: datetime | None,
    until: datetime | None,
) -> "Filters":
    """The filters that the options name; `until` with all of its day."""
    from jina_rag.rag.filters import Filters

    return Filters(
        sources=tuple(sources or ()),
        kinds=tuple(kinds or ()),
        collections=tuple(collections or ()),
        modified_after=since,
        modified_before=until and until + timedelta(days=1),
    )
