import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jina_rag.rag.citations import (
    AnswerPart,
    CitationMark,
    CitationStream,
    Text,
    find_citations,
    find_cited_spans,
    find_claims,
    find_unknown_numbers,
    is_supported,
    without_marks,
)
from jina_rag.rag.words import content_stems, terms, words
from tests.rag.conftest import passages

PASSAGE = (
    "The tower has 142 steps – and no lift. “Allow forty minutes,” says the guide. The ferry does not sail when the "
    "swell is higher than 2.5 metres. The return fare is £12 for adults and £6 for children. In the main-\nland office "
    "a bicycle costs £3, and there is room for six of them. Nobody touches the handrail."
)


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


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("The tower has 142 steps – and no lift.", True),
        ("the  TOWER has\n142 steps - and no lift", True),
        ("There are 142 steps in the tower and no lift.", True),
        ("The tower has １４２ steps", True),  # full-width digits
        ("The tower has 143 steps and no lift.", False),
        ("The tower has 42 steps.", False),
        ("The tower has 142 steps and a lift.", False),
        ("The tower has no 142 steps.", False),
        ("Dogs are welcome on the island.", False),
        ('The guide says: "allow forty minutes".', True),
        ("The guide says: 'allow 40 minutes'.", True),
        ('The guide says: "allow ninety minutes".', False),
        ('The guide says "allow ninety minutes', False),  # the answer was stopped here
        ('Dogs are forbidden: "allow forty minutes".', False),
        ('The guide says "the tower has 142 steps and minutes".', False),
        ('"The tower has 142 steps and the ferry does not sail."', False),  # stitched from two places
        ('"The tower has … no lift"', False),
        ("The ferry sails when the swell is higher than 2.5 metres.", False),
        ("The ferry does not sail when the swell is higher than 5 metres.", False),
        ("The ferry doesn't sail when the swell is higher than 2.5 metres.", True),
        ("A bicycle costs £3 in the mainland office.", True),  # hyphenated at the end of a line
        ("A bicycle costs $3 in the mainland office.", False),
        ("The fare is £12 for adults.", True),
        ("The fare is £6 for adults.", False),  # the number of the children
        ("Six bicycles have room.", False),  # of what there are six says another sentence's "them"
        ("Somebody touches the handrail.", False),
        ("The tower has 142 steps: allow forty minutes.", True),  # in order, in two neighbouring sentences
        ("Allow 142 minutes and forty steps.", False),
        ("", False),
        ("…", False),
    ],
)
def test_a_claim_is_supported_by_words_that_stand_together(claim: str, supported: bool) -> None:
    assert is_supported(claim, PASSAGE) is supported


@pytest.mark.parametrize(
    ("passage", "claim"),
    [
        ("No dogs are allowed on the ferry.", "Dogs are allowed on the ferry."),
        ("No dogs are allowed on the ferry.", 'It says: "dogs are allowed on the ferry".'),
        ("Storm petrels have not been proved to breed there.", '"been proved to breed there"'),
        ("Nobody under the age of ten may climb the tower.", "Under the age of ten may climb the tower."),
        ("Das Museum öffnet am Montag nicht.", "Das Museum öffnet am Montag."),
        ("Keine Hunde dürfen auf die Fähre.", "Hunde dürfen auf die Fähre."),
        ("The key can't be copied by visitors.", '"be copied by visitors"'),
    ],
)
def test_what_a_passage_denies_is_not_verified(passage: str, claim: str) -> None:
    assert not is_supported(claim, passage)
    assert is_supported(passage, passage)


def test_a_negation_of_something_else_does_no_harm() -> None:
    assert is_supported("Dogs are allowed on the ferry.", "There is no lift. Dogs are allowed on the ferry.")
    assert is_supported("Dogs are allowed on the ferry.", "They never do. Dogs are allowed on the ferry.")
    assert is_supported("Dogs are allowed.", "Dogs are allowed. No cats are.")


def test_headings_lend_words_but_no_numbers_and_no_quotations() -> None:
    assert is_supported("Visitors found 142 steps in the tower.", PASSAGE, "Visitors found > Tower 143")
    assert not is_supported("Visitors found 143 steps in the tower.", PASSAGE, "Visitors found > Tower 143")
    assert not is_supported('"Visitors found"', PASSAGE, "Visitors found > Tower 143")
    assert not is_supported("Visitors found.", PASSAGE, "Visitors found > Tower 143")


@pytest.mark.parametrize(
    ("question", "claim", "supported"),
    [
        ("Who rowed out in the Patience?", "Edith Marrable", True),
        ("Who was the skipper of the Good Intent?", "Edith Marrable", False),
        ("Who was the skipper of the Good Intent?", "Edith Marrable and her brother.", False),
        ("Which boat did Edith Marrable row out in?", "The Patience", True),  # "boat" stands above
        ("Which ship did Edith Marrable row out in?", "The Patience", False),
        ("How many men were rescued?", "Nine", True),
        ("How many women were rescued?", "Nine", False),
        ("How many men were rescued?", "ten", False),
        ("What was the offer that the board turned down?", "£18,400", False),
        ("What was the offer that the board accepted?", "£18,400", True),
        ("What was the offer that the board accepted?", "18,400 dollars", False),
        ("Which boats sail?", "None sails on Sunday.", True),  # a whole sentence says something by itself
        ("Which pets may not come to the harbour?", "Dogs", True),
        ("Which pets may come to the harbour?", "Dogs", False),
        ("May dogs come to the harbour?", "No", False),  # strict: "no" must stand there
        ("Which pets may come?", "Dogs", False),
        ("Which?", "Edith Marrable", True),
        ("Who was it?", "", False),
        ("How many men were on board?", "Edith Marrable and her brother rowed out with nine men.", False),
    ],
)
def test_a_bare_answer_must_stand_with_what_was_asked(question: str, claim: str, supported: bool) -> None:
    passage = (
        "Edith Marrable and her brother rowed out in the Patience. Nine men of the Good Intent were rescued. "
        "The board accepted the offer of £18,400. Dogs may not come to the harbour. None sails on Sunday. …"
    )
    assert is_supported(claim, passage, "Boats and pets", question) is supported


def test_what_is_said_twice_must_stand_there_twice() -> None:
    passage = "Edith Marrable and her brother rowed out."
    assert is_supported("Her brother and Edith Marrable rowed out.", passage)
    assert not is_supported("Edith Marrable's brother was named Edith Marrable.", passage)


def test_names_with_numbers_are_exact() -> None:
    passage = "Code E2: the lens does not turn. Code E3: the lamp changer is stuck. Hand in form V3."
    assert is_supported("With code E3 the lamp changer is stuck.", passage)
    assert not is_supported("With code E2 the lamp changer is stuck.", passage)
    assert not is_supported('"Hand in form V"', passage)


def test_typography_does_not_matter() -> None:
    passage = "The ﬁrst light-\nhouse keeper’s oﬃce “costs” 1,260 pounds — ‘every year’, at 210 °C."
    assert is_supported("“The first lighthouse keeper's office \"costs\" 1260 pounds - 'every year'”", passage)
    assert not is_supported("The first lighthouse keeper's office costs 126 pounds", passage)


def test_scripts_without_blanks_are_compared_by_character() -> None:
    passage = "鐘の重さは31キログラムで、霧の日に三回鳴らします。博物館に電話はない。"
    assert is_supported("鐘の重さは31キログラムです。", passage)
    assert not is_supported("鐘の重さは32キログラムです。", passage)
    assert not is_supported("鐘の重さは31キログラムではない。", passage)
    assert not is_supported("博物館は月曜日に休みです。", passage)


QUOTATION = "Four counters walked the island on 9, 10 and 11 June; storm petrels had never been proved to breed there."
SPANS = [match.span() for match in re.finditer(r"\w+", QUOTATION)]


@given(st.sampled_from(SPANS), st.from_regex(r"[a-z]{1,12}|[0-9]{1,4}", fullmatch=True), st.booleans())
def test_a_quotation_with_another_word_or_number_is_never_verified(
    span: tuple[int, int], other: str, quoted: bool
) -> None:
    start, end = span
    assume(words(other) != words(QUOTATION[start:end]))
    assume(quoted or _says_something(other))
    altered = QUOTATION[:start] + other + QUOTATION[end:]
    assert not is_supported(f'"{altered}"' if quoted else altered, f"Intro. {QUOTATION} It was cold.")


def _says_something(other: str) -> bool:
    """In a claim without quotes, function words and endings may differ, and words may be left out."""
    return bool(terms(other)) and {term.stem for term in terms(other)}.isdisjoint(content_stems(QUOTATION))


@given(st.integers(0, len(SPANS) - 2), st.integers(0, len(SPANS) - 1))
def test_a_quotation_with_a_gap_is_never_verified(first: int, last: int) -> None:
    assume(first < last)
    stitched = QUOTATION[: SPANS[first][1]] + " " + QUOTATION[SPANS[last][0] :]
    assume(last > first + 1)
    assert not is_supported(f'It says "{stitched}"', QUOTATION)
    around = QUOTATION[SPANS[max(first - 2, 0)][0] : SPANS[first][0]] + QUOTATION[SPANS[last][1] :][: len(" never")]
    assume("never" not in around)  # "been proved to breed there" is the opposite of what it says
    assert is_supported(f'"{QUOTATION[SPANS[first][0] : SPANS[last][1]]}"', QUOTATION)


@given(st.data())
def test_every_digit_counts(data: st.DataObject) -> None:
    text = "The offer of Pell and Dunmore for £18,400 was accepted on 14 March 2025 by 7 votes to 1."
    place = data.draw(st.sampled_from([at for at, sign in enumerate(text) if sign.isdigit()]))
    digit = data.draw(st.sampled_from("0123456789"))
    assume(digit != text[place])
    assert is_supported(text, text)
    assert not is_supported(text[:place] + digit + text[place + 1 :], text)


def test_citations_come_once_each_in_the_order_of_the_answer() -> None:
    found = passages("Mars is red.", "Venus is hot.", "Ice is cold.")
    citations = find_citations("Venus is hot. [2] Mars is red [1]. Venus is hot [2, 1].", found)
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
    assert [(claim.text, claim.numbers) for claim in find_claims(answer, [])] == claims


def test_a_claim_says_how_far_it_is_supported() -> None:
    found = passages("Mars is red because of iron rust.", "Venus is hot.")
    verbatim, reworded, false, uncited = find_claims(
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
    (claim,) = find_claims("Two [1, 2].", found, "How many moons does Mars have?")
    assert claim.supporting == (1,)
    assert [found[0].chunk.text[start:end] for start, end in find_cited_spans([claim], 1, found[0].chunk)] == [
        "Mars has two moons."
    ]
    assert not find_citations("Two [1].", found, "How many moons does Saturn have?")[0].verified


def test_numbers_without_a_passage_are_told_apart() -> None:
    answer = "Mars is red [1][7]. It is far [0]. See [12, 1]."
    assert [citation.number for citation in find_citations(answer, passages("Mars is red."))] == [1]
    assert find_unknown_numbers(answer, passages("Mars is red.")) == [0, 7, 12]


def test_other_brackets_are_no_citations() -> None:
    assert find_citations("An array a[i] of [1990s] things [see below].", passages("An array")) == []
    assert find_citations("", passages("Mars is red.")) == []


def test_a_number_without_a_claim_is_not_verified() -> None:
    (citation,) = find_citations("[1]", passages("Mars is red."))
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
    spans = find_cited_spans(find_claims(answer, found), 1, chunk)
    assert [chunk.text[start:end] for start, end in spans] == cited


def test_cited_sentences_that_overlap_are_one() -> None:
    found = passages("Mars is red. Venus is hot. Saturn has rings.")
    claims = find_claims(
        "Mars is red. Venus is hot. [1] Venus is hot and Saturn has rings. [1] Venus is hot. [1]", found
    )
    spans = find_cited_spans(claims, 1, found[0].chunk)
    assert [found[0].chunk.text[start:end] for start, end in spans] == ["Venus is hot. Saturn has rings."]
