import json
from pathlib import Path

import pytest

from jina_rag.errors import GenerationError
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from tests.backends import tiny_reranker
from tests.backends.servers import running
from tests.backends.test_reranker_http import JinaReranker, relevance
from tests.cli.conftest import LLM, Run, say


def test_search_shows_passages_with_their_places(index: Run) -> None:
    result = index("search", "rings of ice", "-k", "1")
    assert result.stdout.startswith("[1] notes/saturn.txt  (similarity 0.")
    assert "    Saturn has rings made of ice.\n" in result.stdout
    found = json.loads(index("search", "rings of ice", "--json").stdout)
    assert [entry["chunk"]["title"] for entry in found] == ["saturn", "Mars"]
    assert found[0]["chunk"]["text"] == "Saturn has rings made of ice."
    assert found[0]["score"] > found[1]["score"]
    assert found[0]["dense"]["rank"] == found[0]["lexical"]["rank"] == 1


def test_search_explains_ranks_and_scores(index: Run, notes: Path) -> None:
    (notes / "venus.txt").write_text("Venus is hot.")  # among three, a word of one document weighs something
    index("sync")
    table = index("search", "rings of ice", "--explain").stdout.splitlines()[-4:]
    assert table[0].split() == ["SCORE", "DENSE", "RANK", "COSINE", "LEXICAL", "RANK", "BM25", "PASSAGE"]
    number, _score, rank, cosine, word_rank, bm25, place = table[1].split()
    assert (number, rank, word_rank, place) == ("[1]", "1", "1", "notes/saturn.txt")
    assert 0 < float(cosine) <= 1
    assert float(bm25) > 0
    assert len({line.index("notes/") for line in table[1:]}) == 1


def test_a_reranker_in_a_file_puts_passages_in_order(index: Run, tmp_path: Path) -> None:
    path = tiny_reranker.write(tmp_path / "reranker.gguf")
    found = json.loads(index("search", "planet", "--reranker", str(path), "--json").stdout)
    assert found[0]["score"] > found[1]["score"]
    assert sorted(entry["retrieval_score"] for entry in found) == sorted(
        entry["score"] for entry in json.loads(index("search", "planet", "--json").stdout)
    )
    header, first = index("search", "planet", "--reranker", str(path), "--explain").stdout.splitlines()[-3:-1]
    assert header.split()[:2] == ["RERANKED", "SCORE"]
    assert [float(number) for number in first.split()[1:3]] == pytest.approx(
        [found[0]["score"], found[0]["retrieval_score"]], abs=1e-3
    )


def test_a_reranker_behind_an_address(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(JinaReranker()) as url:
        for command in ("search", "ask"):
            result = json.loads(index(command, "planet", "--reranker", url, "--json").stdout)
            found = result if command == "search" else result["passages"]
            for entry in found:
                assert entry["score"] == pytest.approx(relevance("planet", entry["chunk"]["text"]))
        monkeypatch.setenv("JINA_RAG_RERANKER", url)
        assert "RERANKED" in index("search", "planet", "--explain").stdout
        assert index("chat", stdin="planet\n").exit_code == 0
    failed = index("search", "planet", "--reranker", "nowhere.gguf")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "There is no reranking model nowhere.gguf" in failed.stderr


def test_search_by_words_finds_only_what_has_them(index: Run) -> None:
    found = json.loads(index("search", "rings", "--mode", "lexical", "--json").stdout)
    assert [(entry["chunk"]["title"], entry["dense"]) for entry in found] == [("saturn", None)]


@pytest.mark.parametrize(
    "filters",
    [
        ["--source", "*.txt"],
        ["--source", "notes/saturn.txt"],
        ["--source", "./notes/sat*"],
        ["--source", "../{here}/notes/saturn.txt"],
        ["--source", "{there}/link/saturn.txt"],
        ["--type", "txt"],
        ["--collection", "gas", "--since", "2000-01-01"],
    ],
)
def test_search_takes_filters(index: Run, notes: Path, filters: list[str]) -> None:
    index("rm", "notes/saturn.txt", "--yes")
    index("add", str(notes / "saturn.txt"), "--collection", "gas")
    (notes.parent / "link").symlink_to(notes)
    filters = [value.format(here=notes.parent.name, there=notes.parent) for value in filters]
    found = json.loads(index("search", "planet", "--json", *filters).stdout)
    assert [entry["chunk"]["title"] for entry in found] == ["saturn"]


def test_search_that_finds_nothing_says_what_to_try(index: Run) -> None:
    result = index("search", "rings", "--until", "2000-01-01")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "fewer filters" in result.stderr
    as_json = index("search", "rings", "--until", "2000-01-01", "--json")
    assert (as_json.exit_code, as_json.stdout) == (3, "[]\n")
    index("rm", "notes", "--yes")
    assert "The index is empty. Add documents with" in index("search", "rings").stderr


def test_a_condition_on_metadata_is_checked(index: Run) -> None:
    assert index("search", "rings", "--where", "author!=Ann").stdout
    wrong = index("search", "rings", "--where", "author")
    assert wrong.exit_code == 2
    assert "'author' is no condition on metadata" in wrong.stderr


def test_until_means_the_whole_day(index: Run) -> None:
    from datetime import date

    assert index("search", "rings", "--until", "9999-12-31", "--since", "0001-01-01").stdout
    assert index("search", "rings", "--until", date.today().isoformat(), "--since", date.today().isoformat()).stdout


def test_search_shows_what_stands_around(run: Run, tmp_path: Path) -> None:
    sections = "\n\n".join(f"## Part {number}\n\n{f'Sentence {number} about planets. ' * 40}" for number in range(5))
    (tmp_path / "long.md").write_text(sections)
    run("add", "long.md")
    lines = run("search", "Sentence 2", "-k", "1", "--context-window", "1").stdout.splitlines()
    inside = [place for place, line in enumerate(lines) if line.startswith("  > ")]
    assert inside[0] > 1
    assert inside[-1] < len(lines) - 1
    assert all(line.startswith("    ") for line in lines[1 : inside[0]])


def test_ask_answers_and_cites(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "Mars looks red ", "because of iron rust. [1]")
    result = index("ask", "Why does Mars look red?", *LLM)
    assert result.stdout.startswith(
        "Mars looks red because of iron rust. [1]\n\n"
        "1 claim: 1 quoted\n  quoted     Mars looks red because of iron rust. [1]\nNo judge: "
    )
    assert "\n\n[1] notes/mars.md, Mars  (quoted)\n    # Mars" in result.stdout
    assert result.stderr == ""
    answer = json.loads(index("ask", "Why does Mars look red?", "--json", *LLM).stdout)
    assert answer["answer"] == "Mars looks red because of iron rust. [1]"
    assert answer["answered"] is True
    assert [(citation["number"], citation["verdict"]) for citation in answer["citations"]] == [(1, "quoted")]
    assert len(answer["passages"]) == 2


def test_ask_says_when_the_documents_do_not_and_what_came_closest(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "The documents don't say.")
    result = index("ask", "Who won the football cup?", *LLM)
    assert result.exit_code == 3
    assert result.stdout.startswith("The documents don't say.\n\nThe passages that come closest:\n[1] notes/")
    assert result.stdout.count("(similarity ") == 2
    nothing = index("ask", "Who won the football cup?", "--until", "2000-01-01", *LLM)
    assert (nothing.exit_code, nothing.stdout) == (3, "The documents don't say.\n")
    assert "fewer filters" in nothing.stderr
    as_json = index("ask", "Who won the football cup?", "--json", *LLM)
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["answered"] is False


def test_ask_without_a_language_model_shows_the_passages_that_fit_best(index: Run) -> None:
    result = index("ask", "Why does Mars look red?")
    assert result.stdout.startswith("No language model is connected: these passages fit your question best.\nnotes/")
    assert "\n  > Mars looks red because of iron rust.\n" in result.stdout
    assert result.stderr.startswith("Answer model: none (JINA_RAG_DISCOVER is 0, and none is downloaded: see ")
    answer = json.loads(index("ask", "Why does Mars look red?", "--json").stdout)
    assert (answer["answer"], answer["claims"], answer["highlights"][0]["number"]) == ("", [], 1)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "Mars has been red since 1912 [1].",
            "  not found  Mars has been red since 1912. [1] (no cited passage has: 1912)",
        ),
        ("Cheese melts on hot red toast [1].", "  unchecked  Cheese melts on hot red toast. [1]\nNo judge"),
        ("Mars is red. [1] So is cheese.", "  unchecked  So is cheese. (cites no passage)"),
        ("Mars is made of cheese [9].", "[9] is no passage"),
        ("Mars is made of cheese.", "cites no passage: check it yourself"),
        ("Mars looks red because of iron rust [9].", "iron rust [1]."),  # which says so
    ],
)
def test_ask_warns_of_citations_that_do_not_hold(
    index: Run, monkeypatch: pytest.MonkeyPatch, answer: str, told: str
) -> None:
    say(monkeypatch, answer)
    assert told in index("ask", "Why is Mars red?", *LLM).stdout


def test_a_judge_is_named_and_its_check_can_be_stopped(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> float:
        raise KeyboardInterrupt

    say(monkeypatch, "Rust makes Mars red. [1]")
    with monkeypatch.context() as patch:
        patch.setattr(OpenAIChatModel, "yes_probability", lambda *_: 0.99)
        result = index("ask", "Why is Mars red?", *LLM, "--judge", "llm").stdout
    assert "1 claim: 1 supported\n  supported  Rust makes Mars red. [1]\nJudge: model at " in result
    assert ", which read 1 claim with the passages." in result
    monkeypatch.setattr(OpenAIChatModel, "yes_probability", stopped)
    result = index("ask", "Why is Mars red?", *LLM, "--judge", "llm").stdout
    assert "1 claim: 1 unchecked\n  unchecked  Rust makes Mars red. [1]\nJudge: model at " in result
    assert ", which read 0 claims with the passages." in result


def test_ask_stopped_in_the_middle_keeps_what_had_come(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "Mars looks red ", error=KeyboardInterrupt())
    result = index("ask", "Why is Mars red?", *LLM)
    assert result.exit_code == 130
    assert result.stdout.startswith("Mars looks red")
    assert result.stderr.endswith("Stopped.\n")


def test_control_codes_of_a_document_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("Mars \x1b[2J is \u202e red planet.")
    run("add", "evil.txt")
    for command in ("search", "ask"):
        stdout = run(command, "Mars is red planet").stdout
        assert "red planet" in stdout
        assert "\x1b[2J" not in stdout
        assert "\u202e" not in stdout


def test_an_error_in_the_middle_of_an_answer_is_told_too(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, error=GenerationError("The model is gone."))
    result = index("ask", "Why?", *LLM)
    assert result.exit_code == 1
    assert "Error: The model is gone." in result.stderr
    assert "question is empty" in index("ask", " ").stderr
    assert "names no way to answer" in index("ask", "Why?", "--llm", "gpt").stderr
    assert "names no judge" in index("ask", "Why?", "--judge", "gpt").stderr


def test_a_question_without_quotes_is_shown_with_them(index: Run) -> None:
    for command in ("ask", "search"):
        result = index(command, "Why", "is", "Mars", "red?", "-k", "3")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert f"Put it in quotes: jina-rag {command} 'Why is Mars red?'" in result.stderr
