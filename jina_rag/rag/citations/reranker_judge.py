"""`RerankerJudge`: a cross-encoder that says whether a passage states a claim."""

from collections.abc import Sequence
from typing import Protocol

from jina_rag.errors import BackendError, GenerationError, InvalidTextError, ModelLoadError
from jina_rag.rag.citations.judges import JudgedPair, JudgementCache
from jina_rag.rag.text.cleaning import remove_invisible

THRESHOLD = 0.5
"""Not measured: no such model was at hand. It is where a model finds yes more likely than no."""


class EntailmentModel(Protocol):
    """A model that says whether a text states a claim; `LlamaCppEntailment` is one."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The probability of each pair of a claim and a text.

        Raises:
            BackendError: the model failed, or a claim is too long for it.
            InvalidTextError: a text cannot be written as UTF-8.
            ModelLoadError: the file is damaged, or can't say it.
        """

    def close(self) -> None:
        """Give back the memory; the next call takes it again."""


class RerankerJudge:
    """Judges by a reranker with a head for yes and no, or a classifier with a label for entailment."""

    threshold = THRESHOLD

    def __init__(self, model: EntailmentModel) -> None:
        """Take the model."""
        self._model = model
        self._cache = JudgementCache()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    def judge(self, pairs: Sequence[JudgedPair]) -> list[float]:
        """The probability, for each pair, that its passage states its claim.

        Raises:
            GenerationError: the file is damaged or no judge, or the model failed.
        """
        try:
            return self._cache.judge(pairs, self._read)
        except (BackendError, InvalidTextError, ModelLoadError) as error:
            raise GenerationError(str(error)) from error

    def close(self) -> None:
        """Close the model; the next call opens it again."""
        self._model.close()

    def _read(self, pairs: Sequence[JudgedPair]) -> list[float]:
        return self._model.probabilities(
            [(remove_invisible(f"{one.question} {one.claim}".strip()), remove_invisible(one.passage)) for one in pairs]
        )
