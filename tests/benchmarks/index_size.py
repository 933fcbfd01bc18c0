"""What a passage takes in an index's folder: the figures behind `jina-rag bench --documents`.

    python -m tests.benchmarks.index_size [PASSAGES]

Indexes of so many passages, and of a quarter as many, under vectors of two widths, and what follows from them. The
passages are as long as `jina-rag add` makes them.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from jina_rag import Embedder
from jina_rag.bench.texts import SENTENCES
from jina_rag.rag import DocumentIndex
from jina_rag.testing import FAKE_SPEC, FakeBackend
from tests.benchmarks.long_text import say

WIDTHS = (64, 1024)
LENGTH = 12  # sentences of a passage: close to the longest that is made


def main(passages: int) -> None:
    """Print the sizes, and the bytes that an index, a passage and a byte of its vector take."""
    rows, sizes = [], []
    for width in WIDTHS:
        for wanted in (passages // 4, passages):
            chunks, text_bytes, size = _index(width, wanted)
            say(f"{chunks:,} passages of {text_bytes // chunks} bytes, {width} numbers: {size:,} bytes")
            rows.append([1, chunks, 4 * width * chunks])
            sizes.append(size)
    (fixed, chunk, vector), *_ = np.linalg.lstsq(np.array(rows, float), np.array(sizes, float))
    say(f"{fixed:,.0f} for an index, {chunk:,.0f} for a passage, {vector:.2f} for a byte of its vector")


def _index(width: int, passages: int) -> tuple[int, int, int]:
    rng = np.random.default_rng(0)
    spec = replace(FAKE_SPEC, dimensions=width, matryoshka_dimensions=(width,))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "text.md"
        parts = [f"# Part {number}\n\n{' '.join(rng.choice(SENTENCES, LENGTH))}\n" for number in range(passages)]
        source.write_text("\n".join(parts))
        index_folder = Path(folder) / "index"
        with DocumentIndex.create_or_open(index_folder, Embedder(FakeBackend(width), spec)) as index:
            index.add([source])
            chunks = index.count_chunks()
        size = sum(path.stat().st_size for path in index_folder.rglob("*") if path.is_file())
        return chunks, source.stat().st_size, size


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
