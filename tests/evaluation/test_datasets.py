import json
from pathlib import Path

import pytest

from jina_rag.errors import EvaluationError
from jina_rag.evaluation import ExpectedPassage, Question, load_dataset

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "Mars is red.",
                    "qas": [
                        {"id": "a", "question": "Which is red?", "answers": [{"text": "Mars", "answer_start": 0}]},
                        {"id": "b", "question": "Which is blue?", "answers": [], "is_impossible": True},
                    ],
                }
            ]
        }
    ]
}


def test_squad(tmp_path: Path) -> None:
    path = tmp_path / "planets.json"
    path.write_text(json.dumps(SQUAD))
    dataset = load_dataset(path)
    assert (dataset.name, dataset.texts) == ("planets", {"paragraph 1": "Mars is red."})
    assert dataset.questions == (
        Question("a", "Which is red?", (ExpectedPassage("paragraph 1", phrase="Mars"),)),
        Question("b", "Which is blue?"),
    )
    assert [question.is_answerable for question in dataset.questions] == [True, False]


def write_beir(folder: Path, **files: str) -> Path:
    contents = {
        "corpus.jsonl": '{"_id": "d1", "title": "Mars", "text": "It is red."}\n{"_id": "d2", "text": "It is hot."}\n',
        "queries.jsonl": '{"_id": "q1", "text": "red planet"}\n{"_id": "q2", "text": "of another split"}\n',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n",
    } | {name.replace("_", "."): text for name, text in files.items()}
    (folder / "qrels").mkdir(parents=True)
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


def test_beir(tmp_path: Path) -> None:
    dataset = load_dataset(write_beir(tmp_path / "planets"))
    assert dataset.texts == {"d1": "Mars It is red.", "d2": "It is hot."}
    expected = ExpectedPassage("d1", relevance=2), ExpectedPassage("d2", relevance=0)
    assert dataset.questions == (Question("q1", "red planet", expected),)


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("csv", ";"), ("csv", "\t"), ("jsonl", "")])
def test_own_questions(tmp_path: Path, ending: str, separator: str) -> None:
    rows = [
        {"question": "When is it open?", "file": "guide.pdf", "page": "2", "phrase": "from 10:00", "relevance": "2"},
        {"question": "When is it open?", "file": "faq.md", "page": "", "phrase": "", "relevance": ""},
        {"question": "Who won?", "file": "", "page": "", "phrase": "", "relevance": ""},
    ]
    path = tmp_path / f"own.{ending}"
    if ending == "csv":
        path.write_text("\ufeff" + "\n".join(separator.join(row) for row in (rows[0], *(row.values() for row in rows))))
    else:
        path.write_text("\n\n".join(map(json.dumps, rows)))
    dataset = load_dataset(path)
    assert dataset.texts is None
    expected = ExpectedPassage("guide.pdf", 2, "from 10:00", 2), ExpectedPassage("faq.md")
    assert dataset.questions == (Question("1", "When is it open?", expected), Question("2", "Who won?"))
    assert dataset.digest == load_dataset(path).digest
    path.write_text(path.read_text().replace("faq", "fac"))
    assert dataset.digest != load_dataset(path).digest


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.csv", None, "There is no file"),
        ("own.csv", "question,file\n,a.md\n", "line 2: question is missing"),
        ("own.csv", "file\na.md\n", "no column question"),
        ("own.csv", "question,file,page\nWhen?,a.md,two\n", "line 2: page must be a whole number, not 'two'"),
        ("own.csv", "question\n", "has no question"),
        ("own.jsonl", '{"question": "a"}\n{"question"\n', "line 2: it is no JSON"),
        ("own.jsonl", "[1]\n", "line 1: it is no JSON object"),
        ("own.jsonl", '{"question": {"a": 1}}\n', "question must be a text"),
        ("own.json", '{"data": [{"paragraphs": 3}]}', "not in the form of SQuAD"),
        ("own.json", "[" * 100_000, "not in the form of SQuAD"),
        ("own.jsonl", "[" * 100_000, "line 1: it is no JSON"),
        ("own.csv", b"question\n\xff\n", "not UTF-8"),
        ("own.parquet", "", "neither a folder nor"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: str | bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(EvaluationError, match=problem):
        load_dataset(tmp_path / name)


def test_a_folder_that_is_not_beirs(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no BEIR folder"):
        load_dataset(tmp_path)
    folder = write_beir(tmp_path / "beir", corpus_jsonl='{"_id": "d1"}\n')
    with pytest.raises(EvaluationError, match=r"corpus.jsonl, line 1: text is missing"):
        load_dataset(folder)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "a"}\n')
    (folder / "qrels" / "test.tsv").write_text("q1 d1 1\n")
    with pytest.raises(EvaluationError, match=r"has no question|tabs"):
        load_dataset(folder)
