"""Questions whose answers are known, over the sample documents and those in `documents/`.

`questions.jsonl` has a row for each passage, in the form of `jina-rag eval`. Relevance 2 answers the question, 1
answers a part of it, and 0 is a hard negative, which says the same of something else. A question without a file has no
answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from jina_rag.evaluation import Question, load_dataset

FILE = Path(__file__).with_name("questions.jsonl")
DOCUMENTS = Path(__file__).with_name("documents")
GROUPS = {"seen": ("development", "held-out"), "fresh": ("fresh",), "bikes": ("bikes",)}
"""The splits of each."""

SAMPLES = Path(__file__).parents[2] / "apps" / "qa" / "sample_documents"


@dataclass(frozen=True)
class KnownQuestion:
    """A question with what is known of it beside its passages.

    Attributes:
        asked: The question.
        split: "development" and "held-out" questions were read while search was made; "fresh" ones were written by
            somebody who did not know it; "bikes" are about the documents here.
        multilingual: Whether its documents are in another language than it is, or in a script that MiniLM can't read.
        near: For a question without an answer, whether it is about the same island.
    """

    asked: Question
    split: str
    multilingual: bool = False
    near: bool = False

    @property
    def is_english(self) -> bool:
        return self.asked.language == "en" and not self.multilingual


def load_questions() -> list[KnownQuestion]:
    """All of them."""
    rows = {row["question"]: row for row in map(json.loads, reversed(FILE.read_text("utf-8").splitlines()))}
    return [
        KnownQuestion(
            one, rows[one.text]["split"], rows[one.text].get("multilingual", False), rows[one.text].get("near", False)
        )
        for one in load_dataset(FILE).questions
    ]
