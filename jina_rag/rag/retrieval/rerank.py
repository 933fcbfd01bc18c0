"""Rerankers: models that read a question and a passage together and say how well one answers the other."""

from pathlib import Path
from typing import Protocol

from jina_rag.model_files import downloaded_file
from jina_rag.rag_models import find_row, list_rerankers
from jina_rag.vectors import FloatArray


class Reranker(Protocol):
    """A reranking model. Safe to call from many threads; nothing is loaded or asked before the first call."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    def score(self, query: str, texts: list[str]) -> FloatArray:
        """How well each text answers the query: float32 of shape (n,), higher is better.

        Scores are the model's own, some of them logits and some probabilities: only good for ordering the texts of one
        call. A text that is too long to be read together with the query is cut at its end, or refused; never the query.

        Raises:
            InvalidTextError: the query or a text cannot be written as UTF-8.
            BackendError: the query is too long, or the model failed.
        """

    def close(self) -> None:
        """Give back memory and connections; the next call takes them again."""


def make_reranker(setting: str) -> Reranker:
    """The reranker that a setting names. It is loaded or asked only when it first scores.

    Args:
        setting: The name of a downloaded reranker (`jina_rag.rag_models`); the path of one, ending in .gguf; or the
            address of a server that has one, as `jina_rag.backends.remote.address` describes it:
            "http://localhost:8080", "tei+http://…", "jina?model=NAME".

    Raises:
        BackendError: the setting is none of these, or nothing there reranks.
        ModelNotFoundError: there is no such file, or the model has not been downloaded.
        UnknownModelError: the model has no such quantisation.
        MissingDependencyError: a package for it is not installed.
    """
    found = find_row(setting, list_rerankers())
    if found or setting.lower().endswith(".gguf"):
        from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker

        return LlamaCppReranker(downloaded_file(*found) if found else Path(setting).expanduser())
    from jina_rag.backends.remote.reranker import HttpReranker

    return HttpReranker(setting)
