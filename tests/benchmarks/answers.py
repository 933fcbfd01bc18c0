"""How well passages are found and highlighted without a language model, with the bundled model.

    python -m tests.benchmarks.answers XQUAD.json

The file is in the form of SQuAD 1.1, such as XQuAD's English part. Each paragraph is a document. Counted are questions
whose right chunk is among the first 1, 3 and 5 that are found, and among those of the first 1, 3 and 5 highlights; and
whose answer is in a highlight of that chunk.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jina_rag import Embedder
from jina_rag.rag import Answer, DocumentIndex, RagPipeline, Retriever
from jina_rag.rag.chunking import Chunk
from tests.benchmarks.long_text import say


def main(path: Path) -> None:
    """Ask all questions of a file."""
    entries = [entry for article in json.loads(path.read_text())["data"] for entry in article["paragraphs"]]
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as folder, Embedder.from_pretrained("all-MiniLM-L6-v2") as embedder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        for number, entry in enumerate(entries):
            (documents / f"{number}.txt").write_text(entry["context"])
        with DocumentIndex.create_or_open(Path(folder) / "index", embedder) as index:
            index.add([documents])
            pipeline = RagPipeline(Retriever(index), None)
            for number, entry in enumerate(entries):
                for asked in entry["qas"]:
                    counts.update(_outcomes(pipeline.ask(asked["question"]), asked["answers"][0], str(number)))
    n_questions = sum(len(entry["qas"]) for entry in entries)
    for name, count in sorted(counts.items()):
        say(f"{name:40}{count / n_questions:7.3f}")


def _outcomes(answer: Answer, expected: dict[str, Any], number: str) -> Iterator[str]:
    """What is right of an answer."""
    begin, end = expected["answer_start"], expected["answer_start"] + len(expected["text"])

    def is_right(chunk: Chunk) -> bool:
        return Path(chunk.source).stem == number and chunk.start <= begin and end <= chunk.end

    found = [is_right(result.chunk) for result in answer.passages]
    shown = [(answer.passages[highlight.number - 1].chunk, highlight) for highlight in answer.highlights]
    for n in (1, 3, 5):
        if any(found[:n]):
            yield f"right among {n} found"
        if any(is_right(chunk) for chunk, _ in shown[:n]):
            yield f"right among {n} highlights"
        if any(
            is_right(chunk) and chunk.start + each.start <= begin and end <= chunk.start + each.end
            for chunk, each in shown[:n]
        ):
            yield f"the answer in {n} highlights"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
