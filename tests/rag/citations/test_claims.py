from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag.citations.claims import (
    Citation,
    Claim,
    ClaimChecker,
    find_citations,
    find_cited_spans,
    find_unknown_numbers,
)
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, CitationStream, Text, without_marks
from jina_rag.rag.retrieval.search import SearchResult
from tests.rag.citations.test_support import PASSAGE
from tests.rag.conftest import passages


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


def _claims(answer: str, found: Sequence[SearchResult], question: str = "") -> list[Claim]:
    return ClaimChecker(found, question).claims(answer)


def _citations(answer: str, found: Sequence[SearchResult], question: str = "") -> list[Citation]:
    return find_citations(_claims(answer, found, question), found)


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
    assert [(citation.number, citation.result, citation.verified) for citation in citations] == [
        (2, found[1], True),
        (1, found[0], False),  # the last sentence cites it for what it does not say
    ]


@pytest.mark.parametrize(
    ("answer", "claims"),
    [
        ("Mars is red. [1] Venus is hot. [2]", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("Mars is red [1]. Venus is hot [2].", [("Mars is red", (1,)), ("Venus is hot", (2,))]),
        ("Mars is red.[1]\nVenus is hot.[2]", [("Mars is red.", (1,)), ("Venus is hot.", (2,))]),
        ("- Mars is red [1]\n- Venus is hot [2]", [("Mars is red", (1,)), ("Venus is hot", (2,))]),
        ("Mars is red [1] and Venus is hot [2].", [("Mars is red", (1,)), ("and Venus is hot", (2,))]),
        ("According to [1], Mars is red.", [("According to, Mars is red.", (1,))]),
        ("Mars is red [1] and made of cheese. Ice.", [("Mars is red and made of cheese.", (1,)), ("Ice.", ())]),
        ("It is late. Mars is red [1][2] [3].", [("It is late.", ()), ("Mars is red", (1, 2, 3))]),
        ("Mars is red [1], [2] and [3]. Good.", [("Mars is red", (1, 2, 3)), ("Good.", ())]),
        ("Mars is red", [("Mars is red", ())]),
        ("[1]", [("", (1,))]),
        ("", []),
    ],
)
def test_a_number_belongs_to_the_claim_before_it(answer: str, claims: list[tuple[str, tuple[int, ...]]]) -> None:
    assert [(claim.text, claim.numbers) for claim in _claims(answer, [])] == claims


def test_a_claim_says_how_far_it_is_supported() -> None:
    found = passages("Mars is red because of iron rust.", "Venus is hot.")
    verbatim, reworded, false, uncited = _claims(
        "Mars is red because of iron rust [1, 2]. Red Mars is rusty iron [1]? Mars is blue because of iron [1]. Hello.",
        found,
    )
    assert (verbatim.verified, verbatim.verbatim, verbatim.supporting, verbatim.support) == (True, True, (1,), 1.0)
    assert (reworded.verified, reworded.verbatim) == (False, False)  # "rusty" is another word
    assert not false.verified
    assert 0.5 < false.support < 1
    assert not uncited.verified


def test_a_bare_claim_is_checked_together_with_its_question() -> None:
    found = passages("Mars has two moons. Two men walked on Venus.", "Two suns.")
    (claim,) = _claims("Two [1, 2].", found, "How many moons does Mars have?")
    assert claim.supporting == (1,)
    assert [found[0].chunk.text[start:end] for start, end in find_cited_spans([claim], 1, found[0].chunk)] == [
        "Mars has two moons."
    ]
    assert not _citations("Two [1].", found, "How many moons does Saturn have?")[0].verified


def test_what_is_missing_in_a_script_without_blanks_is_told_by_character() -> None:
    (claim,) = _claims("鐘の重さは32キログラムです。[1]", passages("鐘の重さは31キログラムです。"))
    assert claim.missing == ("32",)


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("“The great Ferry” sails from the pier at noon, on *Sunday*. [1]", ("great", "noon", "Sunday")),
        (
            "The lighthouse's ferry from the pier never sails [2, 1].",
            ("lighthouse's", "sails"),
        ),  # it does, says the passage
        ("The ferry sails daily from the old pier at nine. [1]", ()),
        ("The ferry sails from nine at old daily. [1]", ()),  # the words are there
        ("At nine [1]", ("Sunday",)),  # the question's too
        ("At noon the train stops at Crewe for the ferry. [1]", ()),  # too many
        ("The train leaves at noon.", ()),
        ("The train leaves at noon. [3]", ()),
    ],
)
def test_what_is_missing_from_a_passage_is_told_as_it_is_written(answer: str, missing: tuple[str, ...]) -> None:
    found = passages("The ferry sails daily from the old pier at nine.", "Mars is red.")
    (claim,) = _claims(answer, found, "When does the ferry sail on Sunday?")
    assert claim.missing == missing


def test_numbers_without_a_passage_are_told_apart() -> None:
    answer = "Mars is red [1][7]. It is far [0]. See [12, 1]."
    assert [citation.number for citation in _citations(answer, passages("Mars is red."))] == [1]
    assert find_unknown_numbers(_claims(answer, passages("Mars is red.")), 1) == [0, 7, 12]


def test_other_brackets_are_no_citations() -> None:
    assert _citations("An array a[i] of [1990s] things [see below].", passages("An array")) == []
    assert _citations("", passages("Mars is red.")) == []


def test_a_number_without_a_claim_is_not_verified() -> None:
    (citation,) = _citations("[1]", passages("Mars is red."))
    assert not citation.verified


def test_answers_can_be_had_without_their_marks() -> None:
    assert without_marks("Mars is red [1]. Venus [2, 3] is hot. [1]\nIce.") == "Mars is red. Venus is hot.\nIce."


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("“Allow forty minutes,” says the guide. [1]", ["“Allow forty minutes,” says the guide."]),
        ("An adult's return fare is £12. [1]", ["The return fare is £12 for adults and £6 for children."]),
        (
            "The tower has 142 steps [1], and nobody touches the handrail. [1]",
            ["The tower has 142 steps – and no lift.", "Nobody touches the handrail."],
        ),
        (
            "In the mainland office a bicycle costs £3. [1]",
            ["In the main-\nland office a bicycle costs £3, and there is room for six of them."],
        ),
        (
            "The tower has 142 steps and no lift, so allow forty minutes. [1]",
            ["The tower has 142 steps – and no lift. “Allow forty minutes,” says the guide."],
        ),
        ("The tower has 143 steps. [1]", []),
        ("The tower has 142 steps. [2]", []),
        ("The tower has 142 steps.", []),
    ],
)
def test_what_an_answer_cites_is_found_in_its_place(answer: str, cited: list[str]) -> None:
    found = passages(PASSAGE, "Another.")
    chunk = found[0].chunk
    spans = find_cited_spans(_claims(answer, found), 1, chunk)
    assert [chunk.text[start:end] for start, end in spans] == cited


def test_cited_sentences_that_overlap_are_one() -> None:
    found = passages("Mars is red. Venus is hot. Saturn has rings.")
    claims = _claims("Mars is red. Venus is hot. [1] Venus is hot and Saturn has rings. [1] Venus is hot. [1]", found)
    spans = find_cited_spans(claims, 1, found[0].chunk)
    assert [found[0].chunk.text[start:end] for start, end in spans] == ["Venus is hot. Saturn has rings."]
