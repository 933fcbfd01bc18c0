"""Cross-encoders in GGUF files, through llama.cpp's rank pooling: two texts read together, and a head on top.

The pair is put together as the model was trained: by the template named "rerank" in its file (Qwen3-Reranker), else as
the tokenizer joins two texts, `<s> question </s></s> passage </s>` (bge, Jina) or `[CLS] question [SEP] passage [SEP]`.

Source: llama.cpp `tools/server/server-common.cpp` (format_prompt_rerank) and `src/llama-graph.cpp` (build_pooling).
Here it differs from there in three ways: a passage that spells special tokens can't steer the template, a WordPiece
pair keeps the closing [SEP] that its model was trained with, and files that have no head to score with are refused.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jina_rag.backends.base import ProgressCallback, TokenArray, truncate_tokens
from jina_rag.backends.llama_cpp.model import LoadedModel, load_model
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.gguf_file import GgufHeader
from jina_rag.vectors import FloatArray

_HEADLESS = "jina-bert-v2"  # its one scoring layer is called `cls`, where others have `cls` below `cls.output`

_logger = logging.getLogger("jina_rag")


@dataclass(frozen=True)
class TokenPair:
    """Two texts as tokens, the last `n_suffix_tokens` of which stand behind the one that may be cut."""

    tokens: TokenArray
    n_suffix_tokens: int


class CrossEncoder(ABC):
    """A GGUF file, loaded at the first need and shared with every cross-encoder of the same file."""

    def __init__(self, path: Path, *, options: LlamaCppOptions | None = None) -> None:
        """Name a file; it is not loaded yet.

        Args:
            path: A cross-encoder, ending in .gguf.
            options: How to run it.

        Raises:
            ModelNotFoundError: there is no such file.
        """
        if not path.is_file():
            raise ModelNotFoundError(f"There is no reranking model {path}. Check the path.")
        self.path = path
        self.options = options or LlamaCppOptions()
        self._loaded: LoadedModel | None = None

    @property
    def name(self) -> str:
        """The file's name, without its ending."""
        return self.path.stem

    def close(self) -> None:
        """Let go of the model; its memory is given back once nothing else holds it."""
        self._loaded = None

    @abstractmethod
    def _check_labels(self, model: LoadedModel) -> None:
        """Raise `ModelLoadError` if the head says something else than what is asked for."""

    def _model(self) -> LoadedModel:
        if self._loaded is None or self._loaded.pid != os.getpid():
            loaded = load_model(self.path, "rank", self.options)
            _check_head(self.path, loaded.header)
            self._check_labels(loaded)
            _warn_of_segments(self.name, loaded.header)
            self._loaded = loaded
        return self._loaded

    def _rows(self, pairs: Sequence[TokenPair], on_progress: ProgressCallback | None = None) -> FloatArray:
        """What the head says of each pair, shape (n, labels); texts that are too long are cut at their end."""
        model = self._model()
        limit = model.max_tokens
        if n_cut := sum(len(pair.tokens) > limit for pair in pairs):
            _logger.info("%s read only the beginning of %d of %d passages.", self.name, n_cut, len(pairs))
        tokens = [
            truncate_tokens(pair.tokens, max_tokens=limit, n_suffix_tokens=pair.n_suffix_tokens) for pair in pairs
        ]
        return model.pooled_rows(tokens, on_progress)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}


def fill_template(model: LoadedModel, template: str, query: str, text: str) -> TokenPair:
    """A query and a text in the places that a template has for them; the text may be cut."""
    vocabulary = model.vocabulary
    parts = template.partition("{document}")  # first: the question may spell that too
    before, _, after = (part.replace("{query}", vocabulary.escape_special(query)) for part in parts)
    # In one piece, because a blank before the passage belongs to its first word.
    tokens = vocabulary.tokenize_special(before + vocabulary.escape_special(text) + after)
    return TokenPair(tokens, len(vocabulary.tokenize_special(after)))


def _check_head(path: Path, header: GgufHeader) -> None:
    """Refuse a model without a layer that scores: llama.cpp would give a number of its vector for a score."""
    heads = {"cls.output.weight"} | ({"cls.weight"} if header.architecture == _HEADLESS else set())
    if not heads & header.tensors.keys():
        raise ModelLoadError(
            f"{path} is no reranking model: it has no layer that scores pairs. Name one, such as a GGUF of "
            "bge-reranker-v2-m3, jina-reranker or Qwen3-Reranker."
        )


def _warn_of_segments(name: str, header: GgufHeader) -> None:
    """Say that llama.cpp takes both texts of a pair for the first; only tokenizers of BERT's kind number them."""
    field = header.metadata.get
    if field("tokenizer.ggml.model") == "bert" and field("tokenizer.ggml.token_type_count", 2) != 1:
        _logger.warning(
            "%s was trained to be told where the question ends and the passage begins, which llama.cpp does not do: "
            "its scores are not its authors'. Rerankers of the bge, Jina and Qwen families have no such trouble.",
            name,
        )
