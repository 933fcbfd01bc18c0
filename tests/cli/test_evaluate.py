import json
from pathlib import Path

import pytest

from tests.cli.conftest import LLM, Run, say

QUESTIONS = "question,file,page,phrase\nWhy is Mars red?,mars.md,,iron rust\nrings of ice,saturn.txt,,\nWho won?,,,\n"


def test_own_questions_in_one_command(index: Run, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    result = index("eval", "questions.csv", "--report", "report.html")
    lines = result.stdout.splitlines()
    assert lines[0] == "questions: 2 questions, fake"
    assert lines[1].split()[:3] == ["SEARCH", "nDCG@10", "recall@1"]
    assert [line.split()[0] for line in lines[2:5]] == ["dense", "lexical", "hybrid"]
    assert "of 2 questions" in (tmp_path / "report.html").read_text()
    run = json.loads(index("eval", "questions.csv", "--json").stdout)
    assert set(run["methods"][0]["measures"]["MRR@10"]) == {"mean", "low", "high"}
    (tmp_path / "run.json").write_text(json.dumps(run))
    compared = index("eval", "questions.csv", "--against", "run.json").stdout
    assert compared.splitlines()[-1].split() == [
        "hybrid",
        "MAP@10",
        "+0.0000",
        "+0.0000",
        "to",
        "+0.0000",
        "0",
        "/",
        "0",
        "1.0000",
    ]


def test_a_dataset_with_texts_needs_no_index(run: Run, tmp_path: Path) -> None:
    answers = [{"text": "iron", "answer_start": 0}]
    paragraph = {"context": "iron makes Mars red", "qas": [{"question": "Why red?", "answers": answers}]}
    (tmp_path / "squad.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    evaluated = json.loads(run("eval", "squad.json", "--json").stdout)
    assert evaluated["n_texts"] == 1
    assert evaluated["methods"][0]["measures"]["recall@1"]["mean"] == 1


def test_answers_are_measured_where_a_language_model_is_named(
    index: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    say(monkeypatch, "Saturn has rings made of ice. [1]")
    result = index("eval", "questions.csv", *LLM, "--judge", "none", "--json")
    answers = json.loads(result.stdout)["answers"]
    assert answers["scores"]["2"]["citation_recall"] == 1
    assert answers["measures"]["declined, of questions that they don't"]["mean"] == 0


def test_questions_are_written_by_a_language_model_or_not_at_all(index: Run, tmp_path: Path) -> None:
    assert "No language model is connected" in index("eval", "own.csv", "--make-questions", "3").stderr
    assert not (tmp_path / "own.csv").exists()
    assert index("eval", "own.json", "--make-questions", "3").exit_code == 2


def test_mistakes_are_explained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    assert "No index at" in run("eval", "questions.csv").stderr
    assert "There is no file or folder none.csv" in run("eval", "none.csv").stderr
