"""Whether a passage says what a claim says."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jina_rag.rag.citations.support import is_supported
from jina_rag.rag.text.tokens import content_stems, terms, words

PASSAGE = (
    "The tower has 142 steps – and no lift. “Allow forty minutes,” says the guide. The ferry does not sail when the "
    "swell is higher than 2.5 metres. The return fare is £12 for adults and £6 for children. In the main-\nland office "
    "a bicycle costs £3, and there is room for six of them. Nobody touches the handrail."
)


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
        ("What colour is the offer?", "The offer was £18,400.", True),  # says something by itself
        ("Who rowed out in the Patience?", "It was Edith Marrable.", True),
        ("Who was the skipper of the Good Intent?", "It was Edith Marrable.", False),
        ("How many women were rescued?", "There were nine.", False),
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
