"""How good search and answers are: `eval`."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import QUESTIONS, app, examples
from jina_rag.cli.opening import embedder_for, load_embedder, open_index
from jina_rag.cli.options import (
    DEFAULT_INDEX,
    BackendOption,
    DimensionsOption,
    IndexOption,
    JsonOption,
    JudgeOption,
    OtherModelOption,
    QuantizationOption,
    RerankerOption,
)
from jina_rag.cli.output import print_json, print_notice, print_table, shortened
from jina_rag.cli.progress import counting_bar, stage_bar
from jina_rag.errors import EvaluationError
from jina_rag.formatting import counted

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.evaluation import Comparison, Dataset, Evaluation


@app.command(
    name="eval",
    rich_help_panel=QUESTIONS,
    epilog=examples(
        "jina-rag eval questions.csv --make-questions 50",
        "jina-rag eval questions.csv --report report.html",
        "jina-rag eval beir/scifact --model minilm --json > minilm.json",
        "jina-rag eval beir/scifact --model minilm:Q8_0 --against minilm.json",
        "jina-rag eval beir/scifact --sweep --report sweep.html",
    ),
)
def evaluate(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Your own questions about the index (.csv or .jsonl with the columns question, file, page, phrase, "
            "relevance); a SQuAD file (.json); or a BEIR folder.",
        ),
    ],
    index: IndexOption = DEFAULT_INDEX,
    model: OtherModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    reranker: RerankerOption = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of passages to find.")] = 10,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="auto|none|NAME|PATH.gguf|URL",
            help="Answer the questions too, with this answer model, and measure the answers; `none` measures the "
            "sentences that are highlighted without one.",
            show_default="neither",
        ),
    ] = None,
    judge: JudgeOption = "llm",
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="RUN.json", help="Compare with an earlier run, printed with --json."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report with plots to read.")
    ] = None,
    with_sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Compare the model's quantisations on this machine, dimensions and precisions of vectors (float32, "
            "int8, binary), and recommend one.",
        ),
    ] = False,
    n_questions: Annotated[
        int | None,
        typer.Option(
            "--make-questions",
            metavar="N",
            min=1,
            max=10_000,
            help="Let the answer model write N questions about the index into DATASET, a new .csv file to check.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well the passages that answer known questions are found.

    A row of a .csv file says which question is answered where: the file, and if you like the page and a phrase of the
    passage. Rows with the same question are further passages of it.
    """
    if n_questions is not None:
        _make_questions(dataset, n_questions, index, backend, llm)
        return
    from jina_rag.evaluation import compare_with, load_dataset, load_run
    from jina_rag.evaluation import evaluate as run_evaluation
    from jina_rag.evaluation.report import make_report

    questions = load_dataset(dataset)
    if with_sweep:
        _sweep(questions, index, model, report, as_json=as_json)
        return
    earlier = load_run(against, questions.digest) if against else None
    with _embedder(questions, index, model, quantization, dimensions, backend) as embedder, stage_bar() as show:
        evaluation = run_evaluation(
            questions,
            embedder,
            index=index,
            k=k,
            reranker=reranker,
            llm=llm,
            judge=judge,
            on_progress=show,
        )
    comparisons = compare_with(evaluation, earlier) if earlier else []
    if report:
        name = f"{against} ({earlier.model})" if earlier else ""
        _write_report(report, make_report(evaluation, comparisons, name))
    if as_json:
        print_json(evaluation.as_dict())
        return
    _print_evaluation(evaluation)
    _print_comparisons(comparisons)


def _make_questions(path: Path, n: int, folder: Path, backend: str | None, llm: str | None) -> None:
    from jina_rag.evaluation.questions import make_questions, write_questions
    from jina_rag.rag.answering.chat_generator import ChatGenerator
    from jina_rag.rag.answering.factory import make_generator

    if path.suffix.lower() != ".csv":
        raise typer.BadParameter(f"Questions are written to a .csv file, not to {path}.", param_hint="DATASET")
    generator = make_generator(llm)
    if not isinstance(generator, ChatGenerator):
        raise EvaluationError(
            "No language model is connected, and the questions are written by one. Start Ollama or LM Studio, download "
            "one (jina-rag download Qwen3.5-4B), or name one with --llm."
        )
    done = 0
    with closing(generator), open_index(folder, backend) as index, counting_bar("Writing", n, "questions") as show:
        for made in write_questions(path, make_questions(index, generator.model, n)):
            done += 1
            show(done)
            print_notice(shortened(made.text, 100))
    print_notice(f"{counted(done, 'question')} in {path}. Check them, then: jina-rag eval {path} --report report.html")


def _embedder(
    questions: "Dataset",
    index: Path,
    model: str | None,
    quantization: str | None,
    dimensions: int | None,
    backend: str | None,
) -> "Embedder":
    """The index's own model, or the one that is named for a dataset with texts of its own."""
    from jina_rag.rag.indexing.index import read_index_settings

    if questions.texts is None:
        read_index_settings(index)  # without an index, a model would be loaded for nothing
        return embedder_for(index, model, quantization, dimensions, backend)()
    return load_embedder(model, quantization, dimensions, backend)


def _sweep(questions: "Dataset", index: Path, model: str | None, report: Path | None, *, as_json: bool) -> None:
    from jina_rag.bench.files import find_model, on_this_machine
    from jina_rag.evaluation.sweep_report import make_sweep_report
    from jina_rag.evaluation.sweeping import sweep
    from jina_rag.rag.indexing.index import read_index_settings

    if model is None and questions.texts is None:
        model = read_index_settings(index).model
    with stage_bar() as show:
        files = on_this_machine(find_model(model or "auto"), show)
        result = sweep(questions, files, index=index, on_progress=show)
    if report:
        _write_report(report, make_sweep_report(result))
    if as_json:
        print_json(result.as_dict())
        return
    typer.secho(f"{result.dataset}: {counted(result.n_questions, 'question')}, {result.model}", bold=True)
    heads = ["SETTING", "nDCG@10", "95% INTERVAL", "recall@10", "FOUND AGAIN", "BYTES IN MEMORY", "ON DISK"]
    rows = [
        [
            row.name,
            f"{row.ndcg.mean:.3f}",
            f"{row.ndcg.low:.3f} to {row.ndcg.high:.3f}",
            f"{row.recall.mean:.3f}",
            f"{row.found_again:.1%}",
            f"{row.memory_bytes:,}",
            f"{row.disk_bytes:,}",
            f"{row.texts_per_s:,.1f}",
            f"{1000 * row.question_s:.1f} ms",
        ]
        for row in result.rows
    ]
    print_table([[*heads, "TEXTS/S", "QUESTION"], *rows], right=range(1, 9))
    typer.echo(f"\nTake {result.advised.name}: the least memory of those that are no worse than the best.")


def _write_report(path: Path, html: str) -> None:
    try:
        path.write_text(html, "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be written ({error.strerror}).", param_hint="--report") from error
    print_notice(f"Report: {path}")


def _print_evaluation(evaluation: "Evaluation") -> None:
    title = f"{evaluation.dataset}: {counted(len(evaluation.questions), 'question')}, {evaluation.model}"
    typer.secho(f"{title} {evaluation.quantization}".rstrip(), bold=True)
    if evaluation.methods:
        names = list(evaluation.methods[0].measures)
        rows = [
            [method.name, *(f"{method.measures[name].mean:.3f}" for name in names), f"{1000 * method.search_s:.1f} ms"]
            for method in evaluation.methods
        ]
        print_table([["SEARCH", *names, "TIME OF ONE"], *rows], right=range(1, len(names) + 2))
        low_high = evaluation.methods[-1].measures["nDCG@10"]
        print_notice(
            f"Means over the questions, from 0 to 1. The 95% interval of the last nDCG@10 is {low_high.low:.3f} to "
            f"{low_high.high:.3f}; --json and --report have them all. The time of one search is a median, without "
            "embedding the question."
        )
    if evaluation.answers:
        by = f", citations judged by {evaluation.answers.judge}" if evaluation.answers.judge else ""
        of = evaluation.answers.generator
        typer.secho(f"\nAnswers of {of}{by}" if of else "\nHighlighted sentences, without a language model", bold=True)
        answers = evaluation.answers.measures.items()
        print_table([["MEASURE", "MEAN"], *([name, f"{value.mean:.3f}"] for name, value in answers)], right=(1,))
    for note in evaluation.notes:
        print_notice(note)


def _print_comparisons(comparisons: "list[Comparison]") -> None:
    if not comparisons:
        return
    rows = [
        [
            one.method,
            one.measure,
            f"{one.difference.mean:+.4f}",
            f"{one.difference.low:+.4f} to {one.difference.high:+.4f}",
            f"{one.difference.better} / {one.difference.worse}",
            f"{one.difference.p:.4f}",
        ]
        for one in comparisons
    ]
    typer.echo()
    heads = ["SEARCH", "MEASURE", "DIFFERENCE", "95% INTERVAL", "BETTER / WORSE", "P"]
    print_table([heads, *rows], right=(2, 3, 4, 5))
    print_notice("P by the paired randomisation test: from 0.05 down, a difference is hardly chance.")
