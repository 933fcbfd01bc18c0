"""Sentences, rows and headings, and where they are; what nobody sees."""

import pytest

from jina_rag.rag.text.cleaning import remove_invisible
from jina_rag.rag.text.sentences import find_sentences, sentence_spans


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        pytest.param("Dr. Finch wrote it. It costs 3.5!", ["Dr. Finch wrote it.", "It costs 3.5!"], id="abbreviation"),
        pytest.param("Cast in\n1887. It weighs a ton.", ["Cast in 1887.", "It weighs a ton."], id="wrapped year"),
        pytest.param("A line that\n  goes on. Another.", ["A line that goes on.", "Another."], id="wrapped"),
        pytest.param("# Title\n\nText here.\n\nSet\n===\n\n---", ["# Title", "Text here.", "# Set"], id="headings"),
        pytest.param("- 2 kg of\n  fish\n- salt\n1. Boil it.", ["2 kg of fish", "salt", "Boil it."], id="lists"),
        pytest.param(
            "3.2. Wages\n\nThey rise.\n\n4. Breaks are short.\n\nYes.\n\n1. a\n2. b\n\nDone.",
            ["# Wages", "They rise.", "Breaks are short.", "Yes.", "a", "b", "Done."],
            id="numbered",
        ),
        pytest.param("> Quoted words.", ["Quoted words."], id="quote"),
        pytest.param("VHF RADIO\n\nChannel 12 is ours.", ["# VHF RADIO", "Channel 12 is ours."], id="label"),
        pytest.param("channel 12 is ours\n\nask bob", ["channel 12 is ours", "ask bob"], id="no full stops"),
        pytest.param(
            "| Day | Hours |\n| --- | :-: |\n| Monday | ten \\| two |\n| Tuesday |\n\n| a | b |",
            ["# Day; Hours", "Day: Monday; Hours: ten | two", "Day: Tuesday", "a; b"],
            id="table",
        ),
        pytest.param("a | b\n--- | ---\n1 | 2\n3 | 4", ["# a; b", "a: 1; b: 2", "a: 3; b: 4"], id="bare table"),
        pytest.param("鐘は31キロです。霧の日に鳴る。", ["鐘は31キロです。", "霧の日に鳴る。"], id="japanese"),
        pytest.param("هل هو مفتوح؟ نعم، كل يوم.", ["هل هو مفتوح؟", "نعم، كل يوم."], id="arabic"),
        pytest.param(" \n***\n… !", [], id="marks"),
        pytest.param(
            f"{' ' * 100_000}x.\n|{' ' * 100_000}|\n{'|-' * 50_000}|x", ["x.", "; ".join("-" * 50_000) + "; x"]
        ),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    found = find_sentences(text)
    assert [("# " if each.kind in ("heading", "header") else "") + each.text for each in found] == sentences


def test_sentences_are_found_where_they_are() -> None:
    text = "# Head\n\nIt is\n  late. It is late.\n\n- (a) one [x]\n- two\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    spans = [text[start:end] for start, end in sentence_spans(text)]
    assert spans == ["Head", "It is\n  late.", "It is late.", "(a) one [x]", "two", "| a | b |", "| 1 | 2 |"]


def test_what_nobody_sees_is_removed() -> None:
    hidden = "a\x1b[31mb\u202ec\u200bd\ufeffe\U000e0041f\x00g\ud800h"
    assert remove_invisible(hidden) == "a[31mbcdefgh"
    kept = "line\n\tnext 👩\u200d🚀 می\u200cخواهم é 中"
    assert remove_invisible(kept) == kept
    smuggled = "a\ufe01\ufe02\ufe03b\u200d\u200c\u200dc\U000e0141\U000e0142d\u3164\u115f中\U000e0100\U000e0101"
    assert remove_invisible(smuggled) == "a\ufe01b\u200dcd中\U000e0100"
    kept = "❤\ufe0f\u200d🔥 葛\U000e0100 1\ufe0f\u20e3"
    assert remove_invisible(kept) == kept
