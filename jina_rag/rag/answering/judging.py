"""`make_judge`: the judge that a setting names."""

import os
from pathlib import Path

from jina_rag.backends.base import ChatModel
from jina_rag.errors import GenerationError, ModelLoadError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.model_files import downloaded_file
from jina_rag.models import DownloadableModel
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from jina_rag.rag.answering.types import Generator
from jina_rag.rag.citations.chat_judge import ChatJudge
from jina_rag.rag.citations.judges import Judge
from jina_rag.rag.citations.reranker_judge import RerankerJudge
from jina_rag.rag_models import find_row, list_chat_models, list_rerankers

NONE = "none"
ANSWER_MODEL = "llm"

REQUESTS_AT_ONCE = 4
"""So many claims are sent to a server before the first of them is judged."""


def make_judge(setting: str | None, generator: Generator | None) -> Judge | None:
    """The judge that a setting names. It is loaded or asked only when it first judges.

    Args:
        setting: None or "none"; "llm", the answer model; a chat model, or a cross-encoder that says whether a passage
            states a claim, by its name (`jina_rag.rag_models`) or its path, ending in .gguf; or the address of a chat
            model, as for `make_generator`.
        generator: What writes the answers; None, or one without a language model, has no answer model.

    Raises:
        GenerationError: the setting is none of these, there is no such file, or it is damaged.
        ModelNotFoundError: the model has not been downloaded.
        UnknownModelError: it has no such quantisation.
    """
    if setting is None or setting == NONE:
        return None
    if setting == ANSWER_MODEL:
        return _chat_judge(generator.model) if isinstance(generator, ChatGenerator) else None
    if setting.startswith(("http://", "https://")):
        base_url, _, name = setting.partition("#")
        api_key = os.environ.get("OPENAI_API_KEY") or "none"
        return _chat_judge(OpenAIChatModel(base_url.rstrip("/"), name or None, api_key))
    rows: list[DownloadableModel] = [*list_chat_models(), *list_rerankers()]
    if found := find_row(setting, rows):
        return _judge_in_this_process(downloaded_file(*found))
    if setting.lower().endswith(".gguf"):
        return _judge_in_this_process(Path(setting).expanduser())
    raise GenerationError(
        f"{setting!r} names no judge. Use none, llm (the answer model), a model that `jina-rag models` lists, the path "
        "of a .gguf file, or the address of an OpenAI-compatible server, such as http://localhost:11434/v1#model."
    )


def _chat_judge(model: ChatModel) -> ChatJudge:
    return ChatJudge(model, n_parallel=REQUESTS_AT_ONCE if isinstance(model, OpenAIChatModel) else 1)


def _judge_in_this_process(path: Path) -> Judge:
    from jina_rag.backends.llama_cpp.chat import LlamaCppChatModel
    from jina_rag.backends.llama_cpp.entailment import LlamaCppEntailment

    try:
        header = read_gguf_header(path)
    except (ModelLoadError, OSError) as error:
        raise GenerationError(f"{path} can't judge: {error}") from error
    if _has_head(header):
        return RerankerJudge(LlamaCppEntailment(path))
    return ChatJudge(LlamaCppChatModel(path))


def _has_head(header: GgufHeader) -> bool:
    return any(name.startswith("cls.") for name in header.tensors)
