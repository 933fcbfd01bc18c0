"""What the tests of the page share: the sample documents, their questions, and the bundled model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.backends.llama_cpp import LlamaCppOptions

APP = Path(__file__).parents[2] / "apps" / "qa"
SAMPLES = APP / "sample_documents"


@dataclass(frozen=True)
class Question:
    """A question with the only place that answers it, and words which the answer must hold."""

    question: str
    file: str
    page: int | None
    words: list[str]
    language: str
    multilingual: bool = False


def load_questions() -> tuple[list[Question], list[str]]:
    """The questions that the sample documents answer, and those that they don't."""
    rows = json.loads(Path(__file__).with_name("questions.json").read_text(encoding="utf-8"))
    return [Question(**row) for row in rows["answered"]], [row["question"] for row in rows["unanswered"]]


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    # One thread: as quick for a model so small, and no slower when tests share the cores.
    with Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=1)) as model:
        yield model
