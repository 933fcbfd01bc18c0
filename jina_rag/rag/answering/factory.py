"""`make_generator`: the generator that a setting names."""

import os
from pathlib import Path

from jina_rag.errors import GenerationError
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from jina_rag.rag.answering.types import Generator


def make_generator(setting: str | None) -> Generator | None:
    """The generator that a setting names, None for none. A language model is loaded or asked when it first answers.

    Args:
        setting: None or "none"; "smollm2", the small model from an installed package; the path of a chat model,
            ending in .gguf; or the address of an OpenAI-compatible server, with a model's name after a # if it has
            many. The server's key is taken from the environment variable OPENAI_API_KEY.

    Raises:
        GenerationError: the setting is none of these, or there is no such file.
        MissingDependencyError: the package with the small model is not installed.
    """
    from jina_rag.backends.llama_cpp.chat import LlamaCppChatModel
    from jina_rag.bundled import bundled_chat_model

    if setting is None or setting == "none":
        return None
    if setting == "smollm2":
        return ChatGenerator(LlamaCppChatModel(bundled_chat_model()))
    if setting.startswith(("http://", "https://")):
        base_url, _, model = setting.partition("#")
        api_key = os.environ.get("OPENAI_API_KEY") or "none"
        return ChatGenerator(OpenAIChatModel(base_url.rstrip("/"), model or None, api_key))
    if setting.lower().endswith(".gguf"):
        return ChatGenerator(LlamaCppChatModel(Path(setting).expanduser()))
    raise GenerationError(
        f"{setting!r} names no way to answer. Use none, smollm2, the path of a .gguf file, or the address of an "
        "OpenAI-compatible server, such as http://localhost:11434/v1#model."
    )
