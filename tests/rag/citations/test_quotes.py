"""What counts as quoted, and what as missing: string comparison alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag.citations.missing import find_missing
from jina_rag.rag.citations.quotes import QuotableText
from tests.answers.pairs import has_missing, is_quoted, read_pairs
from tests.rag.citations.test_attribution import attributed
from tests.rag.conftest import passages

PASSAGE = """\
# Ferry

The “Ostrel ferry” leaves the main-
land at 9:30 – every day; bicycles travel free. It costs £12.50 & takes forty
minutes. Is the café open? Don't touch the rope!

Tickets are refunded only if the company cancels. It takes these: dogs; small cats; one horse.

- Members enter free of charge
1. Wash your hands.
- fish and chips are served

| Day | Boats |
| --- | --- |
| Monday | ten boats |

鐘の重さは31キログラムです。霧の日に鳴らします。

Space is 10² metres wide and −5 degrees cold. H₂O, the of\u00adfi\u200bce and **N**orthwest.
Its name is Ostrel"""


@pytest.mark.parametrize(
    ("claim", "quoted"),
    [
        (
            "the “ostrel FERRY” leaves the mainland at 9:30 - every day",
            "The “Ostrel ferry” leaves the main-\nland at 9:30 – every day;",
        ),
        ("Bicycles travel free", "bicycles travel free."),
        ("**It costs £１２.50 & takes forty minutes**", "It costs £12.50 & takes forty\nminutes."),
        ("Is the café open? Don’t touch the rope.", "Is the café open? Don't touch the rope!"),
        ("Members enter free of charge.", "Members enter free of charge"),
        ("Monday | ten boats", "| Monday | ten boats |"),
        ("鐘の重さは３１キログラムです", "鐘の重さは31キログラムです。"),
        ("H2O, the oﬃce and Northwest.", "H₂O, the of\u00adfi\u200bce and **N**orthwest."),
        ("Space is 10^2 metres wide and -5 degrees cold.", "Space is 10² metres wide and −5 degrees cold."),
        ("Space is 10² metres wide and -5 degrees cold.", "Space is 10² metres wide and −5 degrees cold."),
    ],
)
def test_whole_sentences_lines_and_clauses_are_quoted(claim: str, quoted: str) -> None:
    span = QuotableText(PASSAGE).find(claim)
    assert span
    assert PASSAGE[slice(*span)] == quoted


@pytest.mark.parametrize(
    "claim",
    [
        "Tickets are refunded.",  # cut out of a sentence
        "Only if the company cancels.",
        "It costs £12.50",
        "It costs £1250 & takes forty minutes.",
        "It takes forty minutes.",
        "The café is open.",
        "Is the café open.",  # asked, not said
        "One horse.",
        "small cats; one horse",  # which may be what is forbidden
        "fish and chips are served",  # may go on from the item above
        "Space is 102 metres wide and −5 degrees cold.",
        "Space is 10² metres wide and 5 degrees cold.",
        "Its name is Ostrel",  # may go on behind the end of the passage
        "Dont touch the rope!",
        "鐘の重さは32キログラムです。",
        "Wash your",
        "Wash hands. your",
        "",
    ],
)
def test_pieces_of_sentences_are_not_quoted(claim: str) -> None:
    assert QuotableText(PASSAGE).find(claim) is None


def test_a_word_or_two_say_nothing_alone() -> None:
    assert QuotableText("Are dogs allowed? Yes. £22. Not here.").find("Yes.") is None
    assert QuotableText("Are dogs allowed? Yes. £22. Not here.").find("Not here.") is None


def test_what_ends_a_sentence_in_english_only_ends_none() -> None:
    passage = QuotableText("Bis zum 9. November ist der Eintritt frei. El Sr. López no puede entrar.")
    assert passage.find("November ist der Eintritt frei.") is None
    assert passage.find("López no puede entrar.") is None
    assert passage.find("Bis zum 9. November ist der Eintritt frei.")
    assert passage.find("El Sr. López no puede entrar.")


def test_what_goes_on_from_another_page_is_not_whole() -> None:
    assert QuotableText("tickets are refunded. Dogs are welcome here.").find("Tickets are refunded.") is None
    assert QuotableText("Dogs are welcome here").find("Dogs are welcome here.") is None


@given(st.integers(0, 10), st.integers(0, 10))
def test_only_neighbouring_sentences_are_quoted(first: int, last: int) -> None:
    """Whatever two words of a text a quotation begins and ends with: it must be where sentences do."""
    words = ["Mars", "is", "red.", "Venus", "is", "very", "hot.", "Ice", "is", "quite", "cold."]
    claim = " ".join(words[first : last + 1])
    is_whole = first in (0, 3, 7) and last in (2, 6, 10) and first <= last
    assert (QuotableText(" ".join(words)).find(claim) is not None) == is_whole


@pytest.mark.parametrize(
    ("claim", "missing"),
    [
        ("It was cast in 1887 and weighs 12,500 kg.", ()),
        ("It was cast in 1887 and weighs 12.500 kg at 8:05.", ()),
        ("It was cast in 1888 and weighs 2,500 kg at 08:06.", ("1888", "2,500", "08:06")),
        ("٣٢ 鐘の重さは32キログラムです。", ("32",)),
        ('The sign says "do not ring" and “Ring it twice”.', ("Ring it twice",)),
    ],
)
def test_what_no_passage_has_is_named(claim: str, missing: tuple[str, ...]) -> None:
    passages = ["The bell was cast in 1887.", "It weighs 12 500 kg. The sign says: Do not ring! 8.05, by Mary Tarn."]
    assert find_missing(claim, passages) == missing


ADVERSARIAL = ("swapped", "negation", "qualifier", "number", "condition", "entity", "unstated")


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_false_claims_are_never_quoted_nor_get_a_mark(kind: str) -> None:
    false = [pair for pair in read_pairs() if pair.kind == kind]
    assert len(false) > 20
    for pair in false:
        assert not is_quoted(pair), pair
        for written in (f"{pair.claim} [1]", f"{pair.claim.rstrip('.')} [1].", pair.claim):
            assert attributed(written, found=passages("Other.", pair.passage)) == written


def test_true_claims_of_the_development_half() -> None:
    pairs = read_pairs("development")
    quoted = [pair for pair in pairs if is_quoted(pair)]
    assert all(pair.supported for pair in quoted)
    verbatim = {pair.claim for pair in pairs if pair.kind == "verbatim"}
    assert verbatim - {pair.claim for pair in quoted} == {"In der Nacht zum 9."}  # November
    assert not [pair for pair in pairs if pair.kind in ("verbatim", "summary") and has_missing(pair)]


@given(st.data())
def test_a_changed_digit_is_never_quoted(data: st.DataObject) -> None:
    pair = data.draw(st.sampled_from([pair for pair in read_pairs("development") if pair.kind == "verbatim"]))
    place = data.draw(st.integers(0, len(pair.claim) - 1))
    digit = data.draw(st.sampled_from("0123456789"))
    altered = pair.claim[:place] + digit + pair.claim[place + 1 :]
    assert is_quoted(pair._replace(claim=altered)) == (altered == pair.claim) or not pair.claim[place].isalnum()
