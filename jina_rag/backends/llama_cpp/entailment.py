"""Whether a text states a claim, by a cross-encoder in a GGUF file: natural language inference.

Two kinds of files can say that: a reranker that answers "yes" or "no" to the instruction in its template
(Qwen3-Reranker), which is given another instruction here, and a classifier that has a label for entailment.
"""

import re
from collections.abc import Sequence

import numpy as np

from jina_rag.backends.llama_cpp.cross_encoder import CrossEncoder, TokenPair, fill_template
from jina_rag.backends.llama_cpp.model import LoadedModel
from jina_rag.errors import BackendError, ModelLoadError

INSTRUCTION = (
    "Given a claim as the query, judge whether the document states all of it: the same people and things in the same "
    "roles, the same numbers, dates, conditions and exceptions, and the same negations"
)
"""Takes the place of a reranker's own instruction."""

_INSTRUCTION_LINE = re.compile(r"(?<=<Instruct>: )[^\n]*")  # Qwen3-Reranker's template, by its authors


class LlamaCppEntailment(CrossEncoder):
    """The probability that a text states a claim."""

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The probability of each pair of a claim and a text, of which a long one is cut at its end.

        Raises:
            InvalidTextError: a claim or a text cannot be written as UTF-8.
            ModelLoadError: the file is damaged, or can't say whether a text states a claim.
            BackendError: a claim alone is longer than what the model reads, or llama.cpp failed.
        """
        if not pairs:
            return []
        model = self._model()
        if any(len(_pair(model, claim, "").tokens) >= model.max_tokens for claim, _ in pairs):
            raise BackendError(f"{self.name} reads {model.max_tokens:,} tokens at once, and a claim has more.")
        rows = self._rows([_pair(model, claim, text) for claim, text in pairs]).astype(np.float64)
        if not _has_yes_no_head(model):  # whose rows are probabilities already
            rows = np.exp(rows - rows.max(1, keepdims=True))
            rows /= rows.sum(1, keepdims=True)
        column = _column(model)
        return [float(row[column]) for row in rows]

    def _check_labels(self, model: LoadedModel) -> None:
        """Refuse a model that scores how well texts answer a question: that is not whether they state it."""
        if _column(model) is None:
            raise ModelLoadError(
                f"{self.path} can't say whether a passage states a claim. Name a reranker that answers yes or no, such "
                "as Qwen3-Reranker, a classifier with a label for entailment, or a chat model."
            )


def _has_yes_no_head(model: LoadedModel) -> bool:
    return bool(model.rerank_template) and model.dimensions == len(("yes", "no"))


def _column(model: LoadedModel) -> int | None:
    """Where in a row it stands that the text states the claim; None if nowhere."""
    if _has_yes_no_head(model):
        return 0
    labels = [label.lower() for label in model.labels]
    if len(labels) != model.dimensions:  # some have no name
        return None
    return next((place for place, label in enumerate(labels) if label.startswith("entail")), None)


def _pair(model: LoadedModel, claim: str, text: str) -> TokenPair:
    if _has_yes_no_head(model):
        template = _INSTRUCTION_LINE.sub(INSTRUCTION, model.rerank_template, count=1)
        return fill_template(model, template, claim, text)
    # The premise comes first, as in the sets that such models are trained on.
    vocabulary = model.vocabulary
    n_suffix_tokens = len(vocabulary.pair("", claim)) - len(vocabulary.prefix)
    return TokenPair(vocabulary.pair(text, claim), n_suffix_tokens)
