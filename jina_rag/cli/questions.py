"""Questions: `search` and `ask`."""

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.answers import print_answer, print_sources
from jina_rag.cli.app import INTERRUPTED, NOTHING, QUESTIONS, app, examples
from jina_rag.cli.opening import open_pipeline, open_retriever
from jina_rag.cli.options import DEFAULT_SEARCH, JsonOption, JudgeOption, LlmOption, SearchFlags, with_flags
from jina_rag.cli.output import NOTHING_FOUND, place, print_json, print_results, print_table, shortened

if TYPE_CHECKING:
    from jina_rag.rag.indexing.candidates import Rank
    from jina_rag.rag.retrieval.search import SearchResult

_MANY_WORDS = {"allow_extra_args": True}
"""Words that were not put in quotes reach the command, which says so."""


@app.command(
    rich_help_panel=QUESTIONS,
    context_settings=_MANY_WORDS,
    epilog=examples('jina-rag search "opening hours" -k 3', "jina-rag search museum --type pdf --explain"),
)
@with_flags
def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question, or some words.")],
    explain: Annotated[bool, typer.Option("--explain", help="Show how each passage was ranked.")] = False,
    as_json: JsonOption = False,
    flags: SearchFlags = DEFAULT_SEARCH,
) -> None:
    """Find the passages that match a query."""
    _check_quotes(ctx, query)
    with open_retriever(flags.index, flags.backend, flags.reranker) as retriever:
        retriever.index.check_names(flags.as_filters())
        results = retriever.retrieve(query, flags.as_options())
        is_empty = not results and retriever.index.count_chunks() == 0
    if as_json:
        print_json([asdict(result) for result in results])
    elif results:
        print_results(results, query)
        if explain:
            _print_ranks(results)
    else:
        typer.echo("The index is empty. Add documents with: jina-rag add PATH" if is_empty else NOTHING_FOUND, err=True)
    if not results:
        raise typer.Exit(NOTHING)


@app.command(
    rich_help_panel=QUESTIONS,
    context_settings=_MANY_WORDS,
    epilog=examples('jina-rag ask "When is the museum open?"', 'jina-rag ask "When is it open?" --llm smollm2'),
)
@with_flags
def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question about the documents.")],
    llm: LlmOption = "auto",
    judge: JudgeOption = "none",
    as_json: JsonOption = False,
    flags: SearchFlags = DEFAULT_SEARCH,
) -> None:
    """Answer a question from the documents, with citations."""
    _check_quotes(ctx, question)
    with open_pipeline(flags, llm, judge) as pipeline, pipeline.start(question) as run:
        answer = print_answer(run, quietly=as_json)
    if as_json:
        print_json(answer.as_dict())
    else:
        print_sources(answer)
    if answer.stopped:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(INTERRUPTED)
    if not (answer.answered or answer.highlights):
        raise typer.Exit(NOTHING)


def _check_quotes(ctx: typer.Context, first: str) -> None:
    if ctx.args:
        text = shlex.quote(" ".join([first, *ctx.args]))
        raise typer.BadParameter(f"Put it in quotes: jina-rag {ctx.info_name} {text}", param_hint="the question")


def _print_ranks(results: "list[SearchResult]") -> None:
    rows = [
        (
            f"[{number}]",
            *_scores(result),
            *_rank(result.dense),
            *_rank(result.lexical),
            shortened(place(result.chunk), 40),
        )
        for number, result in enumerate(results, start=1)
    ]
    typer.echo()
    reranked = ["RERANKED"] if results[0].retrieval_score is not None else []
    names = ("", *reranked, "SCORE", "DENSE RANK", "COSINE", "LEXICAL RANK", "BM25", "PASSAGE")
    print_table([names, *rows], right=range(1, len(names) - 1))


def _scores(result: "SearchResult") -> tuple[str, ...]:
    """What a reranker gave a passage, if one was asked, and what it was found with."""
    if result.retrieval_score is None:
        return (f"{result.score:.4f}",)
    return f"{result.score:.4f}", f"{result.retrieval_score:.4f}"


def _rank(rank: "Rank | None") -> tuple[str, str]:
    return (str(rank.rank), f"{rank.score:.3f}") if rank else ("-", "-")
