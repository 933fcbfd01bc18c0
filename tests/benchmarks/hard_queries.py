"""Queries that search by meaning finds hard, as datasets for `jina-rag eval`.

    python -m tests.benchmarks.hard_queries FOLDER XQUAD.json
    jina-rag eval FOLDER/rare-words
    jina-rag add FOLDER/codes --index FOLDER/index --model minilm
    jina-rag eval FOLDER/codes.csv --index FOLDER/index

The rare words are in one paragraph alone of a file in the form of SQuAD, such as XQuAD's English part. The codes are in
a table, one in each row, and in prose, one in each sentence; they are asked for alone, in quotes and in questions.
"""

import csv
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

from jina_rag.evaluation import load_dataset

RARE_WORDS_PER_PARAGRAPH = 5
N_CODES, N_ASKED = 3000, 300
SHAPES = ("P-{:05}", "K{:05}", "INV-2024-{:05}", "AB71-{:05}X", "ERR_DISK_{:05}")
QUESTIONS = (
    "{}",
    "What is the width of {}?",
    'price of "{}"',
    "Can you tell me in which store the part {} was and what its price is?",
)


def write_rare_words(folder: Path, squad: Path, rng: random.Random) -> None:
    """A BEIR folder: the paragraphs, and for each some words that no other paragraph has."""
    texts = load_dataset(squad).texts or {}
    counts = Counter(word for text in texts.values() for word in set(re.findall(r"\w+", text)))
    expected: dict[str, str] = {}
    for name, text in texts.items():
        rare = sorted(word for word in set(re.findall(r"\w{4,}", text)) if counts[word] == 1)
        expected |= dict.fromkeys(rng.sample(rare, min(RARE_WORDS_PER_PARAGRAPH, len(rare))), name)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "corpus.jsonl", [json.dumps({"_id": name, "text": text}) for name, text in texts.items()])
    _write_lines(folder / "queries.jsonl", [json.dumps({"_id": word, "text": word}) for word in expected])
    _write_lines(folder / "qrels" / "test.tsv", [f"{word}\t{name}\t1" for word, name in expected.items()])


def write_codes(folder: Path, rng: random.Random) -> None:
    """A table and prose of codes, and questions about them."""
    codes = [SHAPES[number % len(SHAPES)].format(number) for number in range(N_CODES)]
    in_table, in_prose = codes[: N_CODES // 2], codes[N_CODES // 2 :]
    documents = folder / "codes"
    documents.mkdir(parents=True, exist_ok=True)
    rows = [[code, rng.choice(["oak", "glass"]), f"{rng.randrange(900)} mm", "£9", "Oslo"] for code in in_table]
    _write_csv(documents / "table.csv", [["Part", "Material", "Width", "Price", "Store"], *rows])
    sentences = [
        f"In {rng.choice(['March', 'May', 'July'])} the part {code} was {rng.choice(['replaced', 'sold', 'lost'])} in "
        f"{rng.choice(['Oslo', 'Cork', 'Graz'])}, and its {rng.choice(['width', 'price'])} was found to be wrong."
        for code in in_prose
    ]
    paragraphs = [" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
    (documents / "prose.txt").write_text("\n\n".join(paragraphs))
    asked = [("table.csv", code) for code in rng.sample(in_table, N_ASKED)]
    asked += [("prose.txt", code) for code in rng.sample(in_prose, N_ASKED)]
    questions = [[question.format(code), file, code] for question in QUESTIONS for file, code in asked]
    _write_csv(folder / "codes.csv", [["question", "file", "phrase"], *questions])


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    folder, squad = map(Path, sys.argv[1:3])
    write_rare_words(folder / "rare-words", squad, random.Random(1))
    write_codes(folder, random.Random(7))
