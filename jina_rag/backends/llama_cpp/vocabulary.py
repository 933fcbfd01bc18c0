"""A model's tokens: texts in, numbers out, as the model's own tokenizer has them."""

import ctypes
from collections.abc import Sequence
from typing import Literal
from unicodedata import normalize as unicode_normalize

import numpy as np

from jina_rag.backends.base import Token, encode_utf8
from jina_rag.backends.llama_cpp.library import Native, library, pointer
from jina_rag.errors import InvalidTextError


class Vocabulary:
    """The tokenizer of a loaded model. Safe to call from many threads."""

    def __init__(self, model: Native, pre_tokenizer: str) -> None:
        """Take a model, and how its file says that texts are cut before they become tokens."""
        self._library = library()
        self._model = model  # must outlive the vocabulary
        self._vocabulary = self._library.llama_model_get_vocab(model.pointer)
        self._normal_form = _normal_form(pre_tokenizer)
        self.n_suffix_tokens = self._count_suffix_tokens()
        self._affixes = self._tokenize(b"")

    def tokenize(self, texts: Sequence[str], *, allow_empty: bool = False) -> list[list[int]]:
        """The tokens of each text, special ones added and recognised as the model's own tokenizer does."""
        tokens = [self._tokenize(text) for text in encode_utf8([self._normal(text) for text in texts])]
        if not allow_empty and [] in tokens:
            empty = tokens.index([])
            raise InvalidTextError(empty, "is empty, and this model adds nothing to it. Leave it out.")
        return tokens

    def tokenize_raw(self, text: str) -> list[int]:
        """The tokens of a text alone: none is added, and what spells a special one is letters like any other."""
        return self._tokenize(self._bytes(text), add_special=False, parse_special=False)

    def tokenize_special(self, text: str) -> list[int]:
        """The tokens of a text alone, special ones recognised by their spelling, as a template has them."""
        return self._tokenize(self._bytes(text), add_special=False)

    def escape_special(self, text: str) -> str:
        """`text` with a blank in every spelling of a special token, so that a template may hold it."""
        while spelled := {self._piece(token) for token in self.tokenize_special(text) if self._is_special(token)}:
            changed = text
            for piece in spelled:
                spelling = piece.decode(errors="replace")
                changed = changed.replace(spelling, f"{spelling[0]} {spelling[1:]}")
            if changed == text:  # a spelling in other bytes than the text's: nothing to put apart
                break
            text = changed
        return text

    def pair(self, first: str, second: str) -> list[int]:
        """Two texts in one, as the tokenizer puts them together, but for the special tokens that close it."""
        functions, separators = self._library, []
        if functions.llama_vocab_get_add_eos(self._vocabulary):
            separators.append(functions.llama_vocab_eos(self._vocabulary))
        if functions.llama_vocab_get_add_sep(self._vocabulary):
            separators.append(functions.llama_vocab_sep(self._vocabulary))
        prefix = self._affixes[: len(self._affixes) - self.n_suffix_tokens]
        return [*prefix, *self.tokenize_raw(first), *separators, *self.tokenize_raw(second)]

    @property
    def suffix(self) -> list[int]:
        """The special tokens that the tokenizer puts after a text."""
        return self._affixes[len(self._affixes) - self.n_suffix_tokens :]

    def show(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[Token]]:
        """The tokens of each text, with what they stand for and where."""
        tokens = self.tokenize(texts, allow_empty=True)
        if not add_special_tokens:
            n_prefix_tokens = len(self._tokenize(b"")) - self.n_suffix_tokens
            tokens = [ids[n_prefix_tokens : len(ids) - self.n_suffix_tokens] for ids in tokens]
        return [self._shown(text, ids) for text, ids in zip(texts, tokens, strict=True)]

    def _shown(self, text: str, ids: list[int]) -> list[Token]:
        special = [self._is_special(token) for token in ids]
        pieces = [self._piece(token) for token in ids]
        # Byte-level pieces add up to the text, unless it names special tokens; other vocabularies alter it.
        own = b"".join(piece for piece, is_special in zip(pieces, special, strict=True) if not is_special)
        known = own == text.encode()
        begins_character = (np.frombuffer(own, np.uint8) & 0xC0) != 0x80  # the other bytes go on with one
        characters = np.concatenate([[0], np.cumsum(begins_character)]).tolist()
        shown, end = [], 0
        for token, piece, is_special in zip(ids, pieces, special, strict=True):
            start, end = end, end if is_special else end + len(piece)
            span: tuple[int | None, int | None] = (None, None)
            if known and not is_special:
                span = (characters[start] - (not begins_character[start]), characters[end])
            shown.append(Token(token, piece.decode(errors="replace"), is_special, *span))
        return shown

    def _bytes(self, text: str) -> bytes:
        (encoded,) = encode_utf8([self._normal(text)])
        return encoded

    def _normal(self, text: str) -> str:
        return unicode_normalize(self._normal_form, text) if self._normal_form else text

    def _is_special(self, token: int) -> bool:
        return bool(self._library.llama_vocab_is_control(self._vocabulary, token))

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        n_bytes = self._library.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, True)
        return buffer.raw[: max(n_bytes, 0)]

    def _tokenize(self, text: bytes, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        capacity = len(text) + 8  # a token covers a byte at least, special ones aside
        while True:
            buffer = np.empty(capacity, np.int32)
            n_tokens: int = self._library.llama_tokenize(
                self._vocabulary,
                text,
                len(text),
                pointer(buffer, ctypes.c_int32),
                capacity,
                add_special,
                parse_special,
            )
            if n_tokens >= 0:
                tokens: list[int] = buffer[:n_tokens].tolist()
                return tokens
            capacity = -n_tokens

    def _count_suffix_tokens(self) -> int:
        """How many special tokens the tokenizer puts after a text: what an empty text and a letter end with alike."""
        empty, letter = self._tokenize(b""), self._tokenize(b"a")
        n_suffix_tokens = 0
        while n_suffix_tokens < len(empty) and empty[-1 - n_suffix_tokens] == letter[-1 - n_suffix_tokens]:
            n_suffix_tokens += 1
        return n_suffix_tokens


def _normal_form(pre_tokenizer: str) -> Literal["NFC"] | None:
    # Qwen's own tokenizer composes characters first (tokenizer.json: "normalizer": NFC) and llama.cpp's does not.
    return "NFC" if pre_tokenizer == "qwen2" else None
