"""How well extractive answers do on documents of another kind than the sample ones, with the bundled model.

    python -m tests.benchmarks.answers XQUAD.json

The file is in the form of SQuAD 1.1, such as XQuAD's English part. Each paragraph is a document. Each question is
answered twice: from the five passages that are found for it, and from the five best ones without its own paragraph,
which leaves those about the same subject and nothing that answers.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions, SearchResult
from jina_rag.rag.answering.extractive import ExtractiveGenerator
from jina_rag.rag.answering.types import NO_ANSWER
from jina_rag.rag.citations.claims import ClaimChecker, find_citations
from tests.benchmarks.long_text import say

PASSAGES = 5
CANDIDATES = 12  # a paragraph may be cut into several chunks, which all have to go


def main(path: Path) -> None:
    """Answer all questions of a file and say how many are answered, rightly, and declined."""
    entries = [entry for article in json.loads(path.read_text())["data"] for entry in article["paragraphs"]]
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as folder, Embedder.from_pretrained("all-MiniLM-L6-v2") as embedder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        for number, entry in enumerate(entries):
            (documents / f"{number}.txt").write_text(entry["context"])
        with DocumentIndex.create_or_open(Path(folder) / "index", embedder) as index:
            index.add([documents])
            generator = ExtractiveGenerator(embedder, index)
            for number, entry in enumerate(entries):
                for asked in entry["qas"]:
                    counts.update(_outcomes(index, generator, asked, str(number)))
    n_questions = counts.pop("questions")
    for name, count in sorted(counts.items()):
        say(f"{name:52}{count / n_questions:7.3f}")


def _outcomes(
    index: DocumentIndex, generator: ExtractiveGenerator, asked: dict[str, Any], number: str
) -> dict[str, int]:
    question, answer = asked["question"], asked["answers"][0]["text"]
    results = Retriever(index).retrieve(question, SearchOptions(k=CANDIDATES))
    found, others = results[:PASSAGES], [result for result in results if not _is_from(result, number)][:PASSAGES]
    text = "".join(generator.stream(question, found))
    citations = find_citations(ClaimChecker(found, question).claims(text), found)
    return {
        "questions": 1,
        "paragraph found": any(_is_from(result, number) for result in found),
        "right paragraph cited": any(_is_from(cited.result, number) for cited in citations),
        "expected words in the answer": answer in text,
        "declined without the paragraph": "".join(generator.stream(question, others)) == NO_ANSWER,
    }


def _is_from(result: SearchResult, number: str) -> bool:
    return Path(result.chunk.source).stem == number


if __name__ == "__main__":
    main(Path(sys.argv[1]))
