"""Counting tokens on this machine, for services that don't count."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jina_rag.errors import MissingDependencyError, ModelLoadError


class LocalTokenizer:
    """A `tokenizer.json` as Hugging Face's library writes it; read at the first need."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included.

        Raises:
            ModelLoadError: there is no such file, or it is no tokenizer.
            MissingDependencyError: the package tokenizers is not installed.
        """
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - the library's
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingDependencyError(
                "This needs the package tokenizers. Install it with: pip install tokenizers"
            ) from error
        path = self._path / "tokenizer.json" if self._path.is_dir() else self._path
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelLoadError(
                f"{path} is not a tokenizer ({error}). Take the tokenizer.json of the model's repository."
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
