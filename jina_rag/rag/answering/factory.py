"""`make_generator`: the generator that a setting names, and what "auto" stands for."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jina_rag.errors import GenerationError
from jina_rag.model_files import downloaded_file, is_on_this_machine
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.chat_servers import DISCOVER_VARIABLE, discover, discovery_is_off
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from jina_rag.rag.answering.types import Generator
from jina_rag.rag_models import find_row, list_chat_models

if TYPE_CHECKING:
    from jina_rag.backends.llama_cpp.chat import LlamaCppChatModel

AUTO = "auto"
NONE = "none"
SMOLLM2 = "smollm2"

_logger = logging.getLogger("jina_rag")


class LlmChoice(NamedTuple):
    """What "auto" stands for on this machine now, as a setting, and why."""

    setting: str
    reason: str


def choose_llm() -> LlmChoice:
    """A chat model that a server on this machine has, else one that has been downloaded, else none.

    Raises:
        ModelNotFoundError: the hub's cache can't be read.
    """
    for server in discover():
        return LlmChoice(server.settings[0], f"{server.program} runs on this machine")
    for row in list_chat_models():
        if is_on_this_machine(row):
            return LlmChoice(row.name, "it has been downloaded")
    unserved = f"{DISCOVER_VARIABLE} is 0" if discovery_is_off() else "no server with a chat model runs on this machine"
    return LlmChoice(NONE, f"{unserved}, and none is downloaded: see `jina-rag models`")


def make_generator(setting: str | None, api_key: str | None = None) -> Generator | None:
    """The generator that a setting names, None for none. A language model is loaded or asked when it first answers.

    Args:
        setting: None or "auto", which `choose_llm` decides and the log reports; "none"; "smollm2", the small model from
            an installed package; the name of a downloaded chat model (`jina_rag.rag_models`); the path of one, ending
            in .gguf; or the address of an OpenAI-compatible server, with a model's name after a # if it has many.
        api_key: The key of the server at an address; None takes the environment variable OPENAI_API_KEY. A server that
            "auto" found gets none.

    Raises:
        GenerationError: the setting is none of these, or there is no such file.
        ModelNotFoundError: the model has not been downloaded.
        UnknownModelError: it has no such quantisation.
        MissingDependencyError: the package with the small model is not installed.
    """
    api_key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
    if setting is None or setting == AUTO:
        setting, reason = choose_llm()
        api_key = "none"
        _logger.info("Answer model: %s (%s).", setting, reason)
    if setting == NONE:
        return None
    if setting.startswith(("http://", "https://")):
        base_url, _, model = setting.partition("#")
        return ChatGenerator(OpenAIChatModel(base_url.rstrip("/"), model or None, api_key))
    return ChatGenerator(_model_in_this_process(setting))


def _model_in_this_process(setting: str) -> "LlamaCppChatModel":
    from jina_rag.backends.llama_cpp.chat import LlamaCppChatModel
    from jina_rag.bundled import bundled_chat_model

    if setting == SMOLLM2:
        return LlamaCppChatModel(bundled_chat_model())
    if found := find_row(setting, list_chat_models()):
        return LlamaCppChatModel(downloaded_file(*found))
    if setting.lower().endswith(".gguf"):
        return LlamaCppChatModel(Path(setting).expanduser())
    names = ", ".join(row.name for row in list_chat_models())
    raise GenerationError(
        f"{setting!r} names no way to answer. Use auto, none, smollm2, a downloaded model ({names}), the path of a "
        ".gguf file, or the address of an OpenAI-compatible server, such as http://localhost:11434/v1#model."
    )
