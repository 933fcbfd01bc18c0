import pytest

from jina_rag.rag.citations import find_citations, find_unknown_numbers, is_supported
from tests.rag.conftest import passages

PASSAGE = "The tower has 142 steps – and no lift. “Allow forty minutes,” says the guide."


@pytest.mark.parametrize(
    ("sentence", "supported"),
    [
        ("The tower has 142 steps – and no lift.", True),
        ("the  TOWER has\n142 steps - and no lift", True),
        ("There are 142 steps in the tower and no lift.", False),
        ("The tower has 142 steps and has no lift.", True),
        ("The tower has 143 steps and no lift.", False),
        ("Dogs are welcome on the island.", False),
        ('The guide says: "allow forty minutes".', True),
        ('The guide says: "allow ninety minutes".', False),
        ("The tower has １４２ steps", True),  # full-width digits
        ("", False),
    ],
)
def test_a_sentence_is_supported_by_words_that_are_there(sentence: str, supported: bool) -> None:
    assert is_supported(sentence, PASSAGE) is supported


def test_scripts_without_blanks_are_compared_by_character() -> None:
    passage = "鐘の重さは31キログラムで、霧の日に三回鳴らします。"
    assert is_supported("鐘の重さは31キログラムです。", passage)
    assert not is_supported("博物館は月曜日に休みです。", passage)


def test_citations_come_once_each_in_the_order_of_the_answer() -> None:
    found = passages("Mars is red.", "Venus is hot.", "Ice is cold.")
    citations = find_citations("Venus is hot. [2] Mars is red [1]. Venus is hot [2, 1].", found)
    assert [(citation.number, citation.result, citation.verified) for citation in citations] == [
        (2, found[1], True),
        (1, found[0], False),  # the last sentence cites it for what it does not say
    ]


@pytest.mark.parametrize(
    "answer",
    ["Mars is red. [1] Venus is hot. [2]", "Mars is red [1]. Venus is hot [2].", "Mars is red.[1]\nVenus is hot.[2]"],
)
def test_a_number_belongs_to_the_sentence_before_it(answer: str) -> None:
    citations = find_citations(answer, passages("Mars is red.", "Venus is hot."))
    assert [(citation.number, citation.verified) for citation in citations] == [(1, True), (2, True)]


def test_numbers_without_a_passage_are_told_apart() -> None:
    answer = "Mars is red [1][7]. It is far [0]. See [12, 1]."
    assert [citation.number for citation in find_citations(answer, passages("Mars is red."))] == [1]
    assert find_unknown_numbers(answer, passages("Mars is red.")) == [0, 7, 12]


def test_other_brackets_are_no_citations() -> None:
    assert find_citations("An array a[i] of [1990s] things [see below].", passages("An array")) == []
    assert find_citations("", passages("Mars is red.")) == []


def test_a_number_without_a_sentence_is_not_verified() -> None:
    (citation,) = find_citations("[1]", passages("Mars is red."))
    assert not citation.verified
