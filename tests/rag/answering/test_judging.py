"""The settings that name judges."""

from pathlib import Path

import pytest

from jina_rag.bundled import bundled_chat_model
from jina_rag.errors import GenerationError, UnknownModelError
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.judging import make_judge
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from jina_rag.rag.citations.chat_judge import ChatJudge
from jina_rag.rag.citations.reranker_judge import RerankerJudge
from tests.backends import tiny_reranker


def test_settings_name_judges(tmp_path: Path) -> None:
    answers = ChatGenerator(OpenAIChatModel("http://localhost:1/v1", "phi"))
    assert make_judge(None, answers) is make_judge("none", answers) is make_judge("llm", None) is None
    own = make_judge("llm", answers)
    assert own is not None
    assert own.name == answers.name
    served = make_judge("http://localhost:2/v1#judge", answers)
    assert isinstance(served, ChatJudge)
    assert served.name == "judge at http://localhost:2/v1"
    assert isinstance(make_judge(str(bundled_chat_model()), None), ChatJudge)
    reranker = tiny_reranker.write(tmp_path / "Reranker.GGUF")
    assert isinstance(make_judge(str(reranker), None), RerankerJudge)
    with pytest.raises(UnknownModelError, match="no quantisation"):  # a row's name, whether or not its file is here
        make_judge("qwen3-reranker-0.6b:q2_k", None)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    for wrong in ("auto", "gpt", "", str(tmp_path / "none.gguf"), str(tmp_path / "broken.gguf")):
        with pytest.raises(GenerationError):
            make_judge(wrong, answers)
