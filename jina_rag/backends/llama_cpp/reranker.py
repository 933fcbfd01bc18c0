"""A reranking model in a GGUF file: how well a passage answers a question."""

from collections.abc import Sequence

from jina_rag.backends.base import ProgressCallback
from jina_rag.backends.llama_cpp.cross_encoder import CrossEncoder, TokenPair, fill_template
from jina_rag.backends.llama_cpp.model import LoadedModel
from jina_rag.errors import BackendError, ModelLoadError
from jina_rag.vectors import FloatArray

MAX_QUERY_SHARE = 0.5
"""A question that takes more than this share of what the model reads is refused: too little of a passage would fit."""

_SOFTMAX = ("qwen3", "qwen3vl")  # architectures over whose labels llama.cpp itself takes the softmax


class LlamaCppReranker(CrossEncoder):
    """Scores pairs of question and passage."""

    def score(self, query: str, texts: Sequence[str]) -> FloatArray:
        """Score texts, those that are too long by their beginning, which the log says.

        Raises:
            InvalidTextError: the query or a text cannot be written as UTF-8.
            ModelLoadError: the file is damaged, or no reranking model.
            BackendError: the query takes more than half of what the model reads, or llama.cpp failed.
        """
        return self.score_pairs(self.tokenize(query, texts))

    def tokenize(self, query: str, texts: Sequence[str]) -> list[TokenPair]:
        """The query with each text, as the model reads them, and what is too long for it.

        Raises:
            InvalidTextError: the query or a text cannot be written as UTF-8.
            ModelLoadError: the file is damaged, or no reranking model.
            BackendError: the query takes more than half of what the model reads.
        """
        model = self._model()
        n_query_tokens = len(_pair(model, query, "").tokens)
        if n_query_tokens > MAX_QUERY_SHARE * model.max_tokens:
            raise BackendError(
                f"The question takes {n_query_tokens:,} of the {model.max_tokens:,} tokens that {self.name} reads, so "
                "little of a passage would fit. Ask a shorter question, or leave the reranker out."
            )
        return [_pair(model, query, text) for text in texts]

    def score_pairs(self, pairs: Sequence[TokenPair], on_progress: ProgressCallback | None = None) -> FloatArray:
        """Score what `tokenize` gave, of shape (n,); texts that are too long are cut at their end.

        Args:
            pairs: Of any queries.
            on_progress: Called after each batch with its number of pairs, and with 0 within a long one; what it raises
                ends the call.

        Raises:
            BackendError: llama.cpp failed.
        """
        return self._rows(pairs, on_progress)[:, 0].copy()  # of a model that says "yes" or "no", how likely "yes" is

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest pair that the model reads."""
        return self._model().max_tokens

    @property
    def gives_probabilities(self) -> bool:
        """Whether scores lie between 0 and 1; else they are logits, which a sigmoid makes probabilities of."""
        return self._model().header.architecture in _SOFTMAX

    def _check_labels(self, model: LoadedModel) -> None:
        """Refuse a model that sorts texts into classes."""
        labels = model.labels
        if len(labels) > 1 and labels[0].lower() != "yes":
            raise ModelLoadError(
                f"{self.path} tells {', '.join(labels[:5])} apart and does not score pairs. Name a reranking model."
            )


def _pair(model: LoadedModel, query: str, text: str) -> TokenPair:
    if model.rerank_template:
        return fill_template(model, model.rerank_template, query, text)
    return TokenPair(model.vocabulary.pair(query, text), len(model.vocabulary.suffix))
