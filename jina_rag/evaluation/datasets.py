"""Questions with the passages that answer them: BEIR folders, SQuAD files, and a user's own CSV or JSON Lines."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jina_rag.errors import EvaluationError

_MAX_LINE = 10_000_000
"""Characters of a line; longer ones are no text of a corpus."""

_MAX_OWN_BYTES = 100_000_000
"""Of a file that is read as a whole: a SQuAD file, or a user's own questions."""

COLUMNS = ("question", "file", "page", "phrase", "relevance", "language")
"""Of a user's own file; only `question` must be there, and further ones are left alone."""

_FIRST_LINE = f"The first line of a .csv file must name the columns, of these: {','.join(COLUMNS)}"


@dataclass(frozen=True)
class ExpectedPassage:
    """Where the answer to a question is.

    Attributes:
        file: The document: its `source`, or the end of it, such as "guide.pdf" or "2024/guide.pdf".
        page: Its page; None for any.
        phrase: What the passage says, white space aside; empty for any passage of the page or document.
        relevance: How well it answers, for nDCG; 0 marks a passage that only seems to.
    """

    file: str
    page: int | None = None
    phrase: str = ""
    relevance: int = 1


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        id: Its name in runs.
        text: The question.
        expected: The passages that answer it, each counted once; none if the documents don't.
        language: As the file says.
    """

    id: str
    text: str
    expected: tuple[ExpectedPassage, ...] = ()
    language: str = ""

    @property
    def is_answerable(self) -> bool:
        """Whether a passage answers it."""
        return any(passage.relevance > 0 for passage in self.expected)


@dataclass(frozen=True)
class Dataset:
    """Questions, and the texts to search if they come with them.

    Attributes:
        name: Of the file or folder.
        questions: In the order of the file.
        texts: What to search, by name; None where an index has the documents.
    """

    name: str
    questions: tuple[Question, ...]
    texts: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of all questions and texts: runs with another one are not comparable."""
        content = hashlib.sha256(repr(self.questions).encode())
        for name, text in (self.texts or {}).items():
            content.update(f"{name}\0{text}\0".encode())
        return content.hexdigest()[:16]


def load_dataset(path: Path | str) -> Dataset:
    """The questions of a file or folder, whose form is known by its name and content.

    A folder is BEIR's: corpus.jsonl, queries.jsonl and qrels/test.tsv (or the only file of qrels). A .json file is
    SQuAD 1.1 or 2.0, each of its paragraphs a text. A .csv or .jsonl file is a user's own, with the columns `COLUMNS`,
    which commas, semicolons or tabs separate; rows with the same question are passages of one question.

    Raises:
        EvaluationError: there is no such file, or it has another form; the message names the line.
    """
    path = Path(path)
    readers = {".json": _read_squad, ".csv": _read_csv, ".jsonl": _read_jsonl}
    try:
        if not path.exists():
            raise EvaluationError(f"There is no file or folder {path}. To make one, see: jina-rag eval --help")
        if path.is_dir():
            dataset = _read_beir(path)
        elif path.suffix.lower() in readers:
            if path.stat().st_size > _MAX_OWN_BYTES:
                raise EvaluationError(f"{path} has more than {_MAX_OWN_BYTES:,} bytes. Split it.")
            dataset = readers[path.suffix.lower()](path)
        else:
            raise EvaluationError(f"{path} is neither a folder nor a .csv, .jsonl or .json file.")
    except UnicodeError as error:
        raise EvaluationError(f"{path} is not UTF-8. Save it as UTF-8; Excel calls that CSV UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise EvaluationError(f"{path} can't be read ({error}).") from error
    if not dataset.questions:
        raise EvaluationError(f"{path} has no question. {_FIRST_LINE}")
    return dataset


def _read_beir(folder: Path) -> Dataset:
    qrels = sorted((folder / "qrels").glob("*.tsv"))
    chosen = next((file for file in qrels if file.stem == "test"), qrels[0] if len(qrels) == 1 else None)
    if chosen is None:
        raise EvaluationError(f"{folder} is no BEIR folder: it needs corpus.jsonl, queries.jsonl and qrels/test.tsv.")
    texts: dict[str, str] = {}
    for line, row in _json_lines(folder / "corpus.jsonl"):
        title = _text_of(row, "title", line, folder / "corpus.jsonl", default="")
        text = _text_of(row, "text", line, folder / "corpus.jsonl")
        texts[_text_of(row, "_id", line, folder / "corpus.jsonl")] = f"{title} {text}".strip()  # as BEIR and mteb do
    expected: dict[str, list[ExpectedPassage]] = {}
    for line, text in _lines(chosen):
        parts = text.split("\t")
        if line == 1 and not parts[-1].strip().lstrip("-").isdigit():
            continue  # the names of the columns
        if len(parts) != 3 or not parts[2].strip().lstrip("-").isdigit():
            raise EvaluationError(f"{chosen}, line {line}: it must be a query, a text and a whole number, with tabs.")
        expected.setdefault(parts[0], []).append(ExpectedPassage(parts[1], relevance=max(0, int(parts[2]))))
    questions = [
        Question(id_, _text_of(row, "text", line, folder / "queries.jsonl"), tuple(expected[id_]))
        for line, row in _json_lines(folder / "queries.jsonl")
        if (id_ := _text_of(row, "_id", line, folder / "queries.jsonl")) in expected
    ]
    return Dataset(folder.name, tuple(questions), texts)


def _read_squad(path: Path) -> Dataset:
    try:
        articles = json.loads(path.read_text("utf-8"))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        texts = {f"paragraph {number}": str(one["context"]) for number, one in enumerate(paragraphs, start=1)}
        questions = [
            Question(
                str(asked.get("id", f"{name}, question {place}")),
                str(asked["question"]),
                () if asked.get("is_impossible") else (ExpectedPassage(name, phrase=str(asked["answers"][0]["text"])),),
            )
            for name, paragraph in zip(texts, paragraphs, strict=True)
            for place, asked in enumerate(paragraph["qas"], start=1)
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise EvaluationError(
            f"{path} is not in the form of SQuAD ({type(error).__name__}: {error}). For questions of your own, write "
            f"a .csv file with the columns {','.join(COLUMNS)}"
        ) from error
    return Dataset(path.stem, tuple(questions), texts)


def _read_csv(path: Path) -> Dataset:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline(_MAX_LINE)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=max(",;\t", key=head.count))
        if reader.fieldnames and "question" not in reader.fieldnames:
            raise EvaluationError(
                f"{path} has no column question: its first line is {head.strip()[:100]!r}. {_FIRST_LINE}"
            )
        rows = [(reader.line_num, dict(row)) for row in reader]
    return _own(path, rows)


def _read_jsonl(path: Path) -> Dataset:
    return _own(path, _json_lines(path))


def _own(path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Dataset:
    expected: dict[str, list[ExpectedPassage]] = {}
    languages: dict[str, str] = {}
    for line, row in rows:
        text = _text_of(row, "question", line, path).strip()
        passages = expected.setdefault(text, [])
        languages.setdefault(text, str(row.get("language") or ""))
        if file := _text_of(row, "file", line, path, default="").strip():
            page, relevance = (_number_of(row, name, line, path) for name in ("page", "relevance"))
            phrase = _text_of(row, "phrase", line, path, default="")
            passages.append(ExpectedPassage(file, page, phrase, 1 if relevance is None else relevance))
    questions = [
        Question(str(number), text, tuple(passages), languages[text])
        for number, (text, passages) in enumerate(expected.items(), start=1)
    ]
    return Dataset(path.stem, tuple(questions))


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in _lines(path):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"{path}, line {line}: it is no JSON ({error}).") from error
        if not isinstance(row, dict):
            raise EvaluationError(f"{path}, line {line}: it is no JSON object.")
        yield line, row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig") as file:
        number = 0
        while text := file.readline(_MAX_LINE):
            number += 1
            if len(text) == _MAX_LINE:
                raise EvaluationError(f"{path}, line {number}: it has {_MAX_LINE:,} characters or more.")
            if text.strip():
                yield number, text.rstrip("\n")


def _text_of(row: Mapping[str, Any], name: str, line: int, path: Path, default: str | None = None) -> str:
    value = row.get(name)
    if value is None or value == "":
        if default is None:
            raise EvaluationError(f"{path}, line {line}: {name} is missing.")
        return default
    if not isinstance(value, str | int):
        raise EvaluationError(f"{path}, line {line}: {name} must be a text.")
    return str(value)


def _number_of(row: Mapping[str, Any], name: str, line: int, path: Path) -> int | None:
    value = _text_of(row, name, line, path, default="").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 7):
        raise EvaluationError(f"{path}, line {line}: {name} must be a whole number, not {value[:20]!r}.")
    return int(value)
