"""What an evaluation found, as data and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jina_rag.errors import EvaluationError
from jina_rag.evaluation.measures import Difference, Estimate, compare

_MAX_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """How well one way to search did.

    Attributes:
        name: "dense", "lexical" or "hybrid", with the reranker's name if there is one.
        measures: Mean and confidence interval by measure.
        values: Each measure's value for each question, by the question's id.
        ranks: At which rank the first expected passage was found, by the question's id; None where it was not.
        search_s: Time of one search, the median of the first 30; without the question's embedding.
    """

    name: str
    measures: Mapping[str, Estimate]
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    ranks: Mapping[str, int | None] = field(repr=False)
    search_s: float


@dataclass(frozen=True, kw_only=True)
class AnswerScore:
    """What became of one answer.

    Attributes:
        answered: Whether the language model answered, or declined.
        text: The answer.
        citation_recall: Share of its claims that the passages they cite support together; None if it declined.
        citation_precision: Share of its citations that support their claim; None if there are none.
        has_phrase: Whether it has one of the expected phrases; None if none is expected, or it declined.
        error: Why it could not be written or judged; empty if it was.
    """

    answered: bool
    text: str = ""
    citation_recall: float | None = None
    citation_precision: float | None = None
    has_phrase: bool | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AnswersResult:
    """How good the answers of a language model are, or without one the highlighted sentences.

    Attributes:
        generator: The language model; empty without one.
        judge: What read the citations; empty where only quotations counted.
        measures: Means with confidence intervals, by name; over the questions that have a value.
        scores: Of each question, by its id.
    """

    generator: str
    judge: str
    measures: Mapping[str, Estimate]
    scores: Mapping[str, AnswerScore] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation of one model over one dataset.

    Attributes:
        dataset: Its name.
        digest: Its `Dataset.digest`.
        model: Name of the embedding model.
        quantization: How its weights are stored.
        dimensions: Width of the vectors.
        k: How many passages were found for each question.
        n_texts: How many passages were searched.
        questions: Their texts, by id; of those that the documents answer.
        methods: Ways to search.
        answers: Answers, or highlighted sentences; None if they were not asked for.
        notes: What a reader should know, in sentences.
        embedding_s: Time in which the engine embedded.
        total_s: Time of all.
        created: When, ISO 8601, UTC.
    """

    dataset: str
    digest: str
    model: str
    quantization: str
    dimensions: int
    k: int
    n_texts: int
    questions: Mapping[str, str] = field(repr=False)
    methods: tuple[MethodResult, ...]
    answers: AnswersResult | None = None
    notes: tuple[str, ...] = ()
    embedding_s: float = 0.0
    total_s: float = 0.0
    created: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """One measure of one way to search, in an earlier and a later run."""

    method: str
    measure: str
    difference: Difference


@dataclass(frozen=True)
class EarlierRun:
    """What of a run is needed to compare with it: its model, and values by method, measure and question."""

    model: str
    values: Mapping[str, Mapping[str, Mapping[str, float]]]


def load_run(path: Path | str, digest: str) -> EarlierRun:
    """A run that `jina-rag eval --json` printed.

    Args:
        path: The file.
        digest: Of the dataset that it must be of.

    Raises:
        EvaluationError: it is no such file, or a run over other questions.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise EvaluationError(f"{path} is too large for a run.")
        run = json.loads(path.read_text("utf-8"))
        values = {
            str(method["name"]): {
                str(measure): {str(question): float(value) for question, value in of_questions.items()}
                for measure, of_questions in method["values"].items()
            }
            for method in run["methods"]
        }
        stored, model = str(run["digest"]), f"{run['model']} {run['quantization']}, {run['dimensions']} dimensions"
    except OSError as error:
        raise EvaluationError(f"{path} can't be read ({error}).") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(
            f"{path} is no run ({type(error).__name__}: {error}). "
            "Make one with: jina-rag eval DATASET --json > RUN.json"
        ) from error
    if stored != digest:
        raise EvaluationError(f"{path} is a run over other questions or texts. Repeat it over these.")
    return EarlierRun(model, values)


def compare_with(evaluation: Evaluation, earlier: EarlierRun) -> list[Comparison]:
    """Every measure that both runs have, of every way to search that both tried."""
    return [
        Comparison(method.name, name, compare(earlier.values[method.name][name], values))
        for method in evaluation.methods
        for name, values in method.values.items()
        if values.keys() & earlier.values.get(method.name, {}).get(name, {}).keys()
    ]
