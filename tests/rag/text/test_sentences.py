import pytest

from jina_rag.rag.text.cleaning import remove_invisible
from jina_rag.rag.text.sentences import sentence_spans, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Finch wrote it. It costs 3.5 pounds!", ["Dr. Finch wrote it.", "It costs 3.5 pounds!"]),
        ("Cast by the brothers in\n1887. It weighs a ton.", ["Cast by the brothers in 1887.", "It weighs a ton."]),
        ("A line that\n  goes on. Another.", ["A line that goes on.", "Another."]),
        ("# Title\n\nText here.\n\nSet\n===\n\n---", ["Text here."]),
        ("- 2 kg of fish\n- salt\n1. Boil it.", ["2 kg of fish", "salt", "Boil it."]),
        ("1. Boil it\n2. Serve", ["Boil it", "Serve"]),
        ("8. Cleaning the lens\n\nWash it.\n\n9. Gear\n\nGrease it.", ["Wash it.", "Grease it."]),
        ("> Quoted words.", ["Quoted words."]),
        ("| Day | Hours |\n| --- | :-: |\n| Monday | ten |", ["| Monday | ten |"]),
        ("VHF RADIO\n\nChannel 12 is ours", ["Channel 12 is ours"]),
        ("鐘の重さは31キロです。霧の日に鳴らします。", ["鐘の重さは31キロです。", "霧の日に鳴らします。"]),
        ("هل هو مفتوح؟ نعم، كل يوم.", ["هل هو مفتوح؟", "نعم، كل يوم."]),
        ("", []),
        (" \n***\n… !", []),
    ],
    ids=[
        "abbreviation",
        "wrapped year",
        "wrapped",
        "headings",
        "list",
        "numbered list",
        "numbered headings",
        "quote",
        "table",
        "label",
        "japanese",
        "arabic",
        "empty",
        "marks",
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_labels_can_be_kept() -> None:
    assert split_sentences("It is late. Mars is red", keep_labels=True) == ["It is late.", "Mars is red"]


def test_sentences_are_found_where_they_stand() -> None:
    text = "# Head\n\nIt is\n  late. It is late.\n\n- (a) one [x]\n- two\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    stands = [text[start:end] for start, end in sentence_spans(text)]
    assert stands == ["It is\n  late.", "It is late.", "(a) one [x]", "two", "| 1 | 2 |"]
    assert sentence_spans("") == []


def test_what_nobody_sees_is_removed() -> None:
    hidden = "a\x1b[31mb\u202ec\u200bd\ufeffe\U000e0041f\x00g\ud800h"
    assert remove_invisible(hidden) == "a[31mbcdefgh"
    kept = "line\n\tnext 👩\u200d🚀 می\u200cخواهم é 中"
    assert remove_invisible(kept) == kept
    smuggled = "a\ufe01\ufe02\ufe03b\u200d\u200c\u200dc\U000e0141\U000e0142d\u3164\u115f中\U000e0100\U000e0101"
    assert remove_invisible(smuggled) == "a\ufe01b\u200dcd中\U000e0100"
    kept = "❤\ufe0f\u200d🔥 葛\U000e0100 1\ufe0f\u20e3"
    assert remove_invisible(kept) == kept
