"""How often the passage with a code is found first, in a table and in prose of 3,000 codes, with the bundled model.

python -m tests.benchmarks.codes
"""

import csv
import random
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, Filters, Retriever, SearchOptions
from jina_rag.rag.indexing.candidates import Mode
from tests.benchmarks.long_text import say

N_CODES = 3000
N_ASKED = 300
SHAPES = ("P-{:05}", "K{:04}", "INV-2024-{:05}", "AB71-{:04}X", "ERR_DISK_{}")
MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
QUESTIONS = (
    "{}",
    "What is the width of {}?",
    'price of "{}"',
    "Can you tell me in which store the part {} was and what its price is?",
)


def main() -> None:
    """Print the share of first ranks for each document and question."""
    rng = random.Random(7)
    codes = [SHAPES[number % len(SHAPES)].format(number) for number in range(N_CODES)]
    asked = rng.sample(codes, N_ASKED)
    with TemporaryDirectory() as name, Embedder.from_pretrained("all-MiniLM-L6-v2") as embedder:
        folder = Path(name)
        write_table(folder / "table.csv", codes, rng)
        write_prose(folder / "prose.txt", codes, rng)
        with DocumentIndex.create_or_open(folder / "index", embedder) as index:
            index.add([folder / "table.csv", folder / "prose.txt"])
            for file_type in (".csv", ".txt"):
                for question in QUESTIONS:
                    for mode in MODES:
                        options = SearchOptions(1, mode, Filters(file_types=(file_type,)))
                        share = sum(is_first(index, code, question, options) for code in asked) / len(asked)
                        say(f"{file_type} {mode:7} {share:7.2%}  {question}")


def write_table(path: Path, codes: list[str], rng: random.Random) -> None:
    """A table with a row for each code."""
    rows = [[code, rng.choice(["oak", "glass"]), f"{rng.randrange(900)} mm", "£9", "Oslo"] for code in codes]
    with path.open("w") as file:
        csv.writer(file).writerows([["Part", "Material", "Width", "Price", "Store"], *rows])


def write_prose(path: Path, codes: list[str], rng: random.Random) -> None:
    """Paragraphs of five sentences, each about a code."""
    sentences = [
        f"In {rng.choice(['March', 'May', 'July'])} the part {code} was {rng.choice(['replaced', 'sold', 'lost'])} in "
        f"{rng.choice(['Oslo', 'Cork', 'Graz'])}, and its {rng.choice(['width', 'price'])} was found to be wrong."
        for code in codes
    ]
    path.write_text("\n\n".join(" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)))


def is_first(index: DocumentIndex, code: str, question: str, options: SearchOptions) -> bool:
    """Whether the first passage has the code."""
    found = Retriever(index).retrieve(question.format(code), options)
    return bool(found) and bool(re.search(rf"(?<![\w-]){code}(?![\w-])", found[0].chunk.text))


if __name__ == "__main__":
    main()
