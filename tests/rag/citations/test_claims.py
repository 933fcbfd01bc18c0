from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag.citations.claims import (
    Citation,
    Claim,
    ClaimChecker,
    Verdict,
    find_citations,
    find_cited_spans,
    find_claim_spans,
    find_unknown_numbers,
)
from jina_rag.rag.citations.judges import JudgedPair
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, CitationStream, Text, split_marks, without_marks
from jina_rag.rag.retrieval.search import SearchResult
from tests.rag.conftest import FixedJudge, passages


def _stream(pieces: Iterable[str], n_passages: int | None = None) -> list[AnswerPart]:
    stream = CitationStream(n_passages)
    parts = [part for piece in pieces for part in stream.feed(piece)] + stream.close()
    return _merged(parts)


def _merged(parts: Sequence[AnswerPart]) -> list[AnswerPart]:
    merged: list[AnswerPart] = []
    for part in parts:
        if isinstance(part, Text) and merged and isinstance(merged[-1], Text):
            part = Text(merged.pop().text + part.text)
        merged.append(part)
    return merged


def _claims(answer: str, found: Sequence[SearchResult] = ()) -> list[Claim]:
    return ClaimChecker(found).claims(answer)


def _judged(answer: str, found: Sequence[SearchResult], judge: FixedJudge, question: str = "") -> list[Claim]:
    checker = ClaimChecker(found, question)
    for _ in checker.judge(answer, judge):
        pass
    return checker.claims(answer)


def _citations(answer: str, found: Sequence[SearchResult]) -> list[Citation]:
    return find_citations(_claims(answer, found), found)


def _marks(text: str) -> list[tuple[int, ...]]:
    return [part.numbers for part in _stream([text]) if isinstance(part, CitationMark)]


@pytest.mark.parametrize(
    ("answer", "marks"),
    [
        ("Mars is red [1].", [(1,)]),
        ("red [1, 2] and [3;4]", [(1, 2), (3, 4)]),
        ("red [1][2] [12]", [(1,), (2,), (12,)]),
        ("red [1-3], [2–3]", [(1, 2, 3), (2, 3)]),
        ("red [1, 3-4, 1]", [(1, 3, 4)]),
        ("赤い【1】、［２］", [(1,), (2,)]),
        ("red 【3†L10-L12】", [(3,)]),
        ("red [^1] [ 2 ]", [(1,), (2,)]),
        ("[[1]]", [(1,)]),
        ("[3-1] [1-999] [1990s] [a] [] [1.] [1,] [-1] [see 1]", []),
        ("`a[1]` and ``b`[2]`` then [3]", [(3,)]),
        ("```\nx[1]\n```\n[2]", [(2,)]),
        ("~~~\nx[1]\n```\n[2]\n~~~\n[3]", [(3,)]),
        ("one ` alone [1]\nnext line [2]", [(2,)]),
        ("about ~5 [1]", [(1,)]),
        (r"\[1\] and \\[2]", [(2,)]),
        ("[1](https://a.test) [2] (see)", [(2,)]),
        ("never closed [1", []),
        ("never closed [1, 2\n\n[3]", [(3,)]),
        ("[" + " " * 80 + "1]", []),
    ],
)
def test_marks(answer: str, marks: list[tuple[int, ...]]) -> None:
    assert _marks(answer) == marks


ANSWER = (
    "Mars is red [1]. See [1, 2][3] and [2-3],【1】[^4] `a[1]` [x](y) [1](z) \\[2] unclosed [7 and\n"
    "```py\nb[2]\n```\n~5 [12] ``c`[1]`` end [2"
)


@pytest.mark.parametrize("place", range(len(ANSWER) + 1))
def test_every_split_of_a_stream_gives_the_same(place: int) -> None:
    assert _stream([ANSWER[:place], ANSWER[place:]], 3) == _stream([ANSWER], 3)


def test_a_stream_of_single_characters_gives_the_same() -> None:
    parts = _stream(ANSWER, 3)
    assert parts == _stream([ANSWER], 3)
    assert "".join(part.text for part in parts) == ANSWER
    marks = [part for part in parts if isinstance(part, CitationMark)]
    assert [mark.unknown for mark in marks if mark.unknown] == [(4,), (12,)]


@given(st.text("[]【】`~\\(\n ,-12a†^", max_size=60), st.data())
def test_any_text_in_any_pieces(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    parts = _stream(pieces, 2)
    assert parts == _stream([text], 2)
    assert "".join(part.text for part in parts) == text


def test_text_is_not_held_back_longer_than_needed() -> None:
    stream = CitationStream()
    assert stream.feed("Mars is ") == [Text("Mars is ")]
    assert stream.feed("red [") == [Text("red ")]
    assert stream.feed("see") == [Text("[see")]
    assert stream.feed(" [1") == [Text(" ")]
    assert stream.feed("]") == []  # a link's address may follow
    assert stream.feed(".") == [CitationMark("[1]", (1,)), Text(".")]


def test_citations_come_once_each_in_the_order_of_the_answer() -> None:
    found = passages("Mars is red.", "Venus is hot.", "Ice is cold.")
    citations = _citations("Venus is hot. [2] Mars is red [1]. Venus is hot [2, 1].", found)
    assert [(citation.number, citation.result, citation.verdict) for citation in citations] == [
        (2, found[1], "quoted"),
        (1, found[0], "unchecked"),  # the last sentence cites it for what it does not say
    ]


@pytest.mark.parametrize(
    ("answer", "claims"),
    [
        ("Mars is red. [1] Venus is hot. [2]", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("Mars is red [1]. Venus is hot [2].", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("Mars is red.[1]\nVenus is hot.[2]", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("Mars is red.[1]Venus is hot.[2]", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("- Mars is red [1]\n- Venus is hot [2]", [("Mars is red", (1,)), ("Venus is hot", (2,))]),
        ("Mars is red [1] and Venus is hot [2].", [("Mars is red", (1,)), ("and Venus is hot.", (2,))]),
        ("According to [1], Mars is red.", [("According to, Mars is red.", (1,))]),
        ("[1] says that Mars is red [2].", [("says that Mars is red.", (1, 2))]),
        ("Mars is red [1] and made of cheese. Ice.", [("Mars is red and made of cheese.", (1,)), ("Ice.", ())]),
        ("Mars is red [1] – [2].", [("Mars is red –.", (1, 2))]),
        ("It is late. Mars is red [1][2] [3].", [("It is late.", ()), ("Mars is red.", (1, 2, 3))]),
        ("Mars is red [1], [2] and [3]. Good.", [("Mars is red.", (1, 2, 3)), ("Good.", ())]),
        ("Mars is red.\n\n[1]", [("Mars is red.", (1,))]),
        ("Mars is red", [("Mars is red", ())]),
        ("[1]", [("", (1,))]),
        ("", []),
    ],
)
def test_a_number_belongs_to_the_claim_before_it(answer: str, claims: list[tuple[str, tuple[int, ...]]]) -> None:
    assert [(claim.text, claim.numbers) for claim in _claims(answer)] == claims


@pytest.mark.parametrize(
    ("line", "claims"),
    [
        ("## Mars is made of cheese", ["Mars is made of cheese"]),
        ("Mars is made of cheese:", ["Mars is made of cheese:"]),
        ("**Mars is made of cheese**", ["**Mars is made of cheese**"]),
        ("| Mars is made of cheese | Yes |\n|---|---|", ["| Mars is made of cheese | Yes |"]),
        ("| Planet |\n| --- |\n| Cheese |", ["| Planet |", "| Cheese |"]),
        ("Mars is made of cheese\n===", ["Mars is made of cheese"]),
        ("> Cheese", ["Cheese"]),
        ("1. Cheese", ["Cheese"]),
        ("* Cheese", ["Cheese"]),
        ("Cheese", ["Cheese"]),
        ("---\n***", []),
    ],
)
def test_every_visible_line_is_a_claim(line: str, claims: list[str]) -> None:
    """An invented sentence passes in no disguise."""
    found = _claims(f"Mars is red. [1]\n\n{line}\n\nMars is red. [1]", passages("Mars is red."))
    assert [claim.verdict for claim in found] == ["quoted", *("unchecked" for _ in claims), "quoted"]
    assert [claim.text for claim in found[1:-1]] == claims


LINES = [
    "# ",
    "- ",
    "1. ",
    "> ",
    "| a ",
    "|",
    "---",
    "===",
    "[1]",
    "[2, 3]",
    " ",
    "\n",
    "Mars is red.",
    "foo:",
    "`c[1]`",
    "~~~",
]


def _letters(text: str) -> list[str]:
    return [character for character in text if character.isalpha()]


@given(st.lists(st.sampled_from(LINES), max_size=9).map("".join))
def test_no_letter_and_no_mark_of_an_answer_is_left_out(answer: str) -> None:
    parts = split_marks(answer)
    claims = _claims(answer)
    letters = [
        [c for text in texts for c in text if c.isalpha()]
        for texts in (
            [part.text for part in parts if isinstance(part, Text)],
            [claim.text for claim in claims],
        )
    ]
    assert letters[0] == letters[1]
    cited = {number for part in parts if isinstance(part, CitationMark) for number in part.numbers}
    assert cited == {number for claim in claims for number in claim.numbers}
    places = [_letters(without_marks(answer[start:end])) for start, end in find_claim_spans(answer)]
    assert places == [_letters(claim.text) for claim in claims]


@pytest.mark.parametrize(
    ("claim", "verdict", "sources", "missing", "probability"),
    [
        ("Mars is red because of rust. [1, 2]", "quoted", (1,), (), None),
        ("Rust makes Mars red. [2, 1]", "supported", (1,), (), 0.9),
        ("Rust makes Mars red. [2]", "not found", (), (), 0.1),
        ("In 1912 rust made Mars red. [1]", "not found", (), ("1912",), None),
        ("Rust makes Mars red. [3]", "unchecked", (), (), None),
        ("Rust makes Mars red.", "unchecked", (), (), None),
        ("[1]", "unchecked", (), (), None),
    ],
)
def test_each_claim_has_one_verdict(
    claim: str, verdict: Verdict, sources: tuple[int, ...], missing: tuple[str, ...], probability: float | None
) -> None:
    found = passages("Mars is red because of rust.", "Venus is very hot.")
    (checked,) = _judged(claim, found, FixedJudge({"Mars is red because of rust": 0.9}))
    assert (checked.verdict, checked.sources, checked.missing, checked.probability) == (
        verdict,
        sources,
        missing,
        probability,
    )


def test_labels_that_only_count_are_no_numbers_of_a_claim() -> None:
    answer = (
        "**Step 1:** Open it. [1]\n**Step 2:** Shut it. [1]\nRoom 2: shut. [1]\nStep 7: Run. [1]\nStep 3) 3 go. [1]"
    )
    claims = ClaimChecker(passages("Open and shut it, then run.")).claims(answer)
    assert [claim.missing for claim in claims] == [(), (), ("2",), ("7",), ("3",)]


def test_a_judge_reads_once_what_is_cited_and_not_quoted() -> None:
    found = passages("Mars is red because of rust.", "Venus is hot.")
    judge = FixedJudge({"rust": 0.5})
    answer = "Rust! [1] Mars is red because of rust. [1] Venus is a planet. [2, 9] Who knows? Rust! [1] In 1900. [2]"
    verdicts = [claim.verdict for claim in _judged(answer, found, judge, "Why?")]
    assert verdicts == ["supported", "quoted", "not found", "unchecked", "supported", "not found"]
    assert judge.asked == [
        JudgedPair("Rust!", "Title 1\n\nMars is red because of rust.", "Why?"),
        JudgedPair("Venus is a planet.", "Title 2\n\nVenus is hot.", "Why?"),
    ]


def test_without_a_judge_nothing_is_supported() -> None:
    (claim,) = _claims("Rust makes Mars red. [1]", passages("Mars is red because of rust."))
    assert (claim.verdict, claim.probability) == ("unchecked", None)


@pytest.mark.parametrize(
    ("verdicts", "weakest"),
    [
        (["quoted", "quoted"], "quoted"),
        (["quoted", "supported"], "supported"),
        (["supported", "unchecked"], "unchecked"),
        (["unchecked", "not found", "quoted"], "not found"),
    ],
)
def test_a_citation_has_the_weakest_verdict(verdicts: list[Verdict], weakest: Verdict) -> None:
    claims = [Claim("Mars is red.", (1,), verdict) for verdict in verdicts]
    (citation,) = find_citations(claims, passages("Mars is red."))
    assert citation.verdict == weakest


def test_a_passage_counts_for_what_it_says_itself() -> None:
    found = passages("Mars is red.", "Venus is hot.")
    for verdict, of_the_other in (("quoted", "unchecked"), ("supported", "not found")):
        claim = Claim("Mars is red.", (1, 2), verdict, (1,))  # type: ignore[arg-type]
        assert [citation.verdict for citation in find_citations([claim], found)] == [verdict, of_the_other]


def test_numbers_without_a_passage_are_kept_apart() -> None:
    answer = "Mars is red [1][7]. It is far [0]. See [12, 1]."
    assert [citation.number for citation in _citations(answer, passages("Mars is red."))] == [1]
    assert find_unknown_numbers(_claims(answer, passages("Mars is red.")), 1) == [0, 7, 12]


def test_other_brackets_are_no_citations() -> None:
    assert _citations("An array a[i] of [1990s] things [see below].", passages("An array")) == []
    assert _citations("", passages("Mars is red.")) == []


def test_answers_can_be_had_without_their_marks() -> None:
    assert without_marks("Mars is red [1]. Venus [2, 3] is hot. [1]\nIce.") == "Mars is red. Venus is hot.\nIce."


PASSAGE = "The main-\nland office is open. The tower has 142 steps – and no lift. Nobody touches\nthe handrail! Bye."


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("The tower has 142 steps, and no lift [1].", ["The tower has 142 steps – and no lift."]),
        ("The mainland office is open. [1]", ["The main-\nland office is open."]),
        (
            "Nobody touches the handrail. [1] The mainland office is open. [1]",
            ["The main-\nland office is open.", "Nobody touches\nthe handrail!"],
        ),
        (
            "The tower has 142 steps and no lift. Nobody touches the handrail. [1]",
            ["Nobody touches\nthe handrail!"],  # the first sentence cites nothing
        ),
        ("The tower has 143 steps. [1]", []),
        ("The tower has steps. [1]", []),  # supported perhaps, and nobody knows where
        ("The tower has 142 steps and no lift. [2]", []),
        ("The tower has 142 steps and no lift.", []),
    ],
)
def test_what_an_answer_quotes_is_found_in_its_place(answer: str, cited: list[str]) -> None:
    found = passages(PASSAGE, "Another.")
    chunk = found[0].chunk
    spans = find_cited_spans(_claims(answer, found), 1, chunk)
    assert [chunk.text[start:end] for start, end in spans] == cited
