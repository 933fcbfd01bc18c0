"""What thinking models write before their answers is not shown, and is not an answer."""

from collections.abc import Generator
from typing import Any

import pytest

from jina_rag.backends.reasoning import without_reasoning
from jina_rag.errors import GenerationError


def streamed(*pieces: str) -> Generator[str]:
    yield from pieces


def shown(*pieces: str) -> str:
    return "".join(without_reasoning(streamed(*pieces), "Qwen"))


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("<think>\nIs it red?</think>\n\nIt is red [1].", "It is red [1]."),
        ("\n<think></think>It is red [1].", "It is red [1]."),
        ("It is <think>red</think> [1].", "It is <think>red</think> [1]."),  # a quotation, say
        ("</think> It is red [1].", "</think> It is red [1]."),
        ("<thin ice", "<thin ice"),
        ("<th", "<th"),
        ("7", "7"),
        ("", ""),
    ],
)
def test_reasoning_is_hidden_wherever_the_stream_is_cut(written: str, answer: str) -> None:
    assert shown(written) == answer
    assert shown(*written) == answer
    for cut in range(1, len(written)):
        assert shown(written[:cut], "", written[cut:]) == answer


@pytest.mark.parametrize(
    "written", ["<think>Is it red", "<think>Is it red?</think>", "<think>Is it?</think>\n", "<think>"]
)
def test_reasoning_alone_is_no_answer(written: str) -> None:
    with pytest.raises(GenerationError, match="Qwen wrote nothing but its reasoning"):
        shown(*written)


def test_one_who_leaves_while_the_model_reasons_stops_it() -> None:
    closed = []

    def endless() -> Generator[str]:
        try:
            yield "<think>"
            while True:
                yield "hm "
        finally:
            closed.append(True)

    pieces: Any = without_reasoning(endless(), "Qwen")
    assert [next(pieces) for _ in range(100)] == [""] * 100
    pieces.close()
    assert closed
