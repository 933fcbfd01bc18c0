"""An index of generated documents of mixed formats: where the time of ingestion goes, what a `sync` and a search cost.

    python -m tests.benchmarks.ingestion FOLDER [DOCUMENTS]                 # embeds with the bundled all-MiniLM-L6-v2
    python -m tests.benchmarks.ingestion FOLDER [DOCUMENTS] --search-only   # the searches alone, in minutes

FOLDER keeps the documents and the index; delete it to begin anew. What a search costs beside the query's embedding does
not depend on the model: with --search-only a vector of 384 numbers is made from a text's words.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import numpy as np

from jina_rag import Embedder
from jina_rag.models import get_model_spec
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.candidates import Mode
from jina_rag.rag.indexing.index import AddProgress
from jina_rag.testing import FAKE_SPEC, FakeBackend
from jina_rag.vectors import FloatArray
from tests.rag.documents.pdf import write_pdf

WORDS_PER_DOCUMENT = 240  # makes about four chunks

_CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" '
    'ContentType="application/xml"/><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONSHIPS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)


class TimedEmbedder(Embedder):
    """Knows how long it has been embedding documents, and how many."""

    seconds = 0.0
    n_texts = 0

    def embed_documents(self, texts: Iterable[str]) -> FloatArray:
        """As the embedder does, with the clock running."""
        started = time.perf_counter()
        vectors = super().embed_documents(texts)
        self.seconds += time.perf_counter() - started
        self.n_texts += len(vectors)
        return vectors


def main() -> None:
    """Print the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the documents and the index are")
    parser.add_argument("documents", type=int, nargs="?", default=5000, help="how many")
    parser.add_argument("--search-only", action="store_true", help="measure searches, with vectors of no model")
    arguments = parser.parse_args()
    documents = arguments.folder / "documents"
    if not documents.exists():
        write_documents(documents, arguments.documents)
    plain = embedder_of_words() if arguments.search_only else Embedder.from_pretrained("all-MiniLM-L6-v2")
    embedder = TimedEmbedder(plain.backend, plain.spec, quantization=plain.quantization)
    shutil.rmtree(arguments.folder / "index", ignore_errors=True)
    with DocumentIndex.create_or_open(arguments.folder / "index", embedder) as index:
        measure_ingestion(index, documents, embedder)
        if not arguments.search_only:
            measure_sync(index, documents, embedder)
        measure_search(index, embedder)


def embedder_of_words() -> Embedder:
    """As many numbers as MiniLM's vectors have, and chunks of about as many words."""
    spec = replace(
        FAKE_SPEC,
        dimensions=get_model_spec("all-MiniLM-L6-v2").dimensions,
        matryoshka_dimensions=(),
        max_input_tokens=80,
    )
    return Embedder(FakeBackend(spec.dimensions), spec)


def measure_ingestion(index: DocumentIndex, documents: Path, embedder: TimedEmbedder) -> None:
    """The share of embedding in the wall time, and the memory as it goes."""
    embedder.embed_documents(["warm"])
    embedder.seconds, embedder.n_texts, memory = 0.0, 0, dict[int, int]()

    def note(progress: AddProgress) -> None:
        memory.setdefault(int(10 * progress.fraction), resident_megabytes())

    started = time.perf_counter()
    report = index.add([documents], note)
    seconds = time.perf_counter() - started
    say(f"{len(report.added):,} documents, {report.n_chunks:,} chunks, {len(report.failed)} failed: {seconds:.1f} s")
    say(f"embedding: {embedder.seconds:.1f} s, {embedder.seconds / seconds:.1%} of the wall time")
    say(f"resident memory in MB at each tenth: {' '.join(str(memory[tenth]) for tenth in sorted(memory))}")
    say(f"on disk: {index.status().n_bytes / 1e6:.0f} MB")


def measure_sync(index: DocumentIndex, documents: Path, embedder: TimedEmbedder) -> None:
    """Seconds of a second `sync`, and what one changed file costs."""
    started = time.perf_counter()
    report = index.sync()
    say(f"sync of {len(report.unchanged):,} unchanged documents: {time.perf_counter() - started:.2f} s")
    path = next(documents.rglob("*.md"))
    path.write_text(path.read_text().replace("## Part 1", "## Part one", 1))
    embedder.n_texts = 0
    started = time.perf_counter()
    report = index.sync()
    n_chunks = len(index.chunks_of(str(path)))
    say(
        f"one changed paragraph: {embedder.n_texts} of {n_chunks} chunks embedded, {len(report.updated)} documents "
        f"updated, {time.perf_counter() - started:.2f} s"
    )


def measure_search(index: DocumentIndex, embedder: Embedder, n_queries: int = 200) -> None:
    """p50 and p95 of searches, without the embedding of the query.

    Questions are eight words of a chunk, without the hundred most common ones: these play the part of the function
    words that lexical search leaves out.
    """
    common = set(_vocabulary(random.Random(0))[:100])
    texts = ([word for word in _words_of(chunk) if word not in common] for chunk in index.sample(n_queries))
    questions = [" ".join(words[3:11]) for words in texts]
    prepared = dict(zip(questions, (embedder.embed_query(question) for question in questions), strict=True))
    with (
        DocumentIndex.open(index.folder, embedder) as opened,
        patch.object(Embedder, "embed_query", lambda _, question: prepared[question]),
    ):
        retrieve = Retriever(opened).retrieve
        for mode in get_args(Mode):
            print_latency(mode, [partial(retrieve, question, SearchOptions(mode=mode)) for question in questions])


def print_latency(name: str, calls: Sequence[Callable[[], object]]) -> None:
    """Median and 95th percentile of the seconds that calls take."""
    times = []
    for call in calls:
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    say(f"search, {name}: p50 {np.percentile(times, 50):.1f} ms, p95 {np.percentile(times, 95):.1f} ms")


def write_documents(folder: Path, n_documents: int) -> None:
    """Documents of seven formats, a hundred to a folder; the same ones each time."""
    words = random.Random(0)
    vocabulary = _vocabulary(words)
    for number in range(n_documents):
        place = folder / f"{number // 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        paragraphs = [_paragraph(words, vocabulary) for _ in range(WORDS_PER_DOCUMENT // 120)]
        write, ending = _FORMATS[int(_SHARES[number % len(_SHARES)])]
        write(place / f"{number:05}{ending}", paragraphs)


def _vocabulary(words: random.Random) -> list[str]:
    return list(dict.fromkeys(_word(words) for _ in range(40_000)))[:8000]


def _word(words: random.Random) -> str:
    syllables = ("ba", "ko", "mi", "ter", "lan", "su", "ve", "ri", "don", "el", "pra", "chi", "ga", "no")
    return "".join(words.choice(syllables) for _ in range(words.randrange(2, 5)))


def _words_of(chunk: Chunk) -> list[str]:
    return [word.strip(".,") for word in chunk.text.lower().split()]


def _paragraph(words: random.Random, vocabulary: Sequence[str]) -> str:
    # Common words are common: the n-th is drawn about 1/n as often as the first.
    drawn = [vocabulary[int(len(vocabulary) ** words.random()) - 1] for _ in range(120)]
    return " ".join(" ".join(drawn[start : start + 12]).capitalize() + "." for start in range(0, 120, 12))


def _write_text(path: Path, paragraphs: Sequence[str]) -> None:
    path.write_text("\n\n".join(paragraphs))


def _write_markdown(path: Path, paragraphs: Sequence[str]) -> None:
    parts = (f"## Part {number}\n\n{text}" for number, text in enumerate(paragraphs, start=1))
    path.write_text(f"# Document {path.stem}\n\n" + "\n\n".join(parts))


def _write_html(path: Path, paragraphs: Sequence[str]) -> None:
    parts = "".join(f"<h2>Part {number}</h2><p>{text}</p>" for number, text in enumerate(paragraphs, start=1))
    path.write_text(f"<html><head><title>Page {path.stem}</title></head><body>{parts}</body></html>")


def _write_docx(path: Path, paragraphs: Sequence[str]) -> None:
    parts = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", _CONTENT_TYPES)
        file.writestr("_rels/.rels", _RELATIONSHIPS)
        file.writestr(
            "word/document.xml",
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
            f"{parts}</w:body></w:document>",
        )


def _write_csv(path: Path, paragraphs: Sequence[str]) -> None:
    sentences = [sentence for text in paragraphs for sentence in text.split(". ")]
    path.write_text("name,remark\n" + "".join(f"Row {row},{text}\n" for row, text in enumerate(sentences)))


def _write_json(path: Path, paragraphs: Sequence[str]) -> None:
    path.write_text(json.dumps([{"part": number, "text": text} for number, text in enumerate(paragraphs)], indent=1))


def _write_pdf(path: Path, paragraphs: Sequence[str]) -> None:
    write_pdf(path, [text.replace(". ", ".\n") for text in paragraphs], title=f"Report {path.stem}")


_FORMATS: Sequence[tuple[Callable[[Path, Sequence[str]], None], str]] = (
    (_write_text, ".txt"),
    (_write_markdown, ".md"),
    (_write_html, ".html"),
    (_write_docx, ".docx"),
    (_write_csv, ".csv"),
    (_write_json, ".json"),
    (_write_pdf, ".pdf"),
)


_SHARES = "00000111112223344556"  # of each format, by its place above


def resident_megabytes() -> int:
    """What this process holds in memory now, in 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 10**6


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
