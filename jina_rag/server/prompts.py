"""Which prompt goes before a text: chosen by the request, by the model's name in it, or by the server's default."""

from typing import Literal, TypeAlias

from jina_rag.models import Prompts
from jina_rag.server.errors import RequestError
from jina_rag.server.settings import DefaultPrompt

PromptName: TypeAlias = Literal["query", "document", "none"]

PROMPT_NAMES: tuple[PromptName, ...] = ("query", "document", "none")

SpelledPrompt: TypeAlias = Literal[
    "query", "document", "none",
    "search", "search_query", "retrieval.query",
    "passage", "ingest", "search_document", "retrieval.passage",
    "raw",
]  # fmt: skip
"""Those, and what other APIs call them: Elastic, Cohere, Jina, and NVIDIA's NIM."""

_OTHER_NAMES: dict[SpelledPrompt, PromptName] = {
    "search": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "passage": "document",
    "ingest": "document",
    "search_document": "document",
    "retrieval.passage": "document",
    "raw": "none",
}


def choose_prompt(fields: dict[str, SpelledPrompt | None], suffix: PromptName | None) -> PromptName | None:
    """The prompt that a request names, in a field or else in the model's name; None if it names none.

    Args:
        fields: What the body's fields for it say, by their names.
        suffix: What the model's name ended in.

    Raises:
        RequestError: two fields disagree.
    """
    named = {name: _meaning(spelled) for name, spelled in fields.items() if spelled is not None}
    if len(set(named.values())) > 1:
        raise RequestError("validation", f"{' and '.join(f'`{name}`' for name in named)} disagree. Send one of them.")
    return next(iter(named.values()), suffix)


def apply_prompt(text: str, chosen: PromptName | None, default: DefaultPrompt, prompts: Prompts) -> tuple[str, str]:
    """A text as the model is to read it, and the name of the prompt that went before it."""
    name = chosen or default
    if name == "auto":
        name = "none" if _carries_prompt(text, prompts) else "document"
    return (text if name == "none" else prompts[name] + text), name


def _meaning(spelled: SpelledPrompt) -> PromptName:
    return spelled if spelled in ("query", "document", "none") else _OTHER_NAMES[spelled]


def _carries_prompt(text: str, prompts: Prompts) -> bool:
    return any(prompt and text.startswith(prompt) for prompt in (prompts.query, prompts.document))
