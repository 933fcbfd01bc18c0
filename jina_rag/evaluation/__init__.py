"""How good search and answers are, measured on questions whose answers are known.

>>> from jina_rag.evaluation import evaluate, load_dataset
>>> evaluation = evaluate(load_dataset("questions.csv"), index=".jina-rag/index")     # doctest: +SKIP
>>> evaluation.methods[0].measures["nDCG@10"].mean                                   # doctest: +SKIP

The rooms: `datasets` that are read, `corpus` and `vector_cache` which make texts searchable, `evaluating` searches and
`answers`, `measures` with their intervals, the `results`, and the `report` that people read.
"""

from jina_rag.evaluation.datasets import COLUMNS, Dataset, ExpectedPassage, Question, load_dataset
from jina_rag.evaluation.evaluation import evaluate
from jina_rag.evaluation.measures import Difference, Estimate
from jina_rag.evaluation.results import (
    AnswerScore,
    AnswersResult,
    Comparison,
    Evaluation,
    MethodResult,
    compare_with,
    load_run,
)

__all__ = [
    "COLUMNS",
    "AnswerScore",
    "AnswersResult",
    "Comparison",
    "Dataset",
    "Difference",
    "Estimate",
    "Evaluation",
    "ExpectedPassage",
    "MethodResult",
    "Question",
    "compare_with",
    "evaluate",
    "load_dataset",
    "load_run",
]
