"""A model's tokens: texts in, numbers out, as the model's own tokenizer has them."""

import ctypes
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal
from unicodedata import normalize as unicode_normalize

import numpy as np

from jina_rag.backends.base import Token, TokenArray, encode_utf8
from jina_rag.backends.llama_cpp.library import Native, library, pointer
from jina_rag.errors import InputTooLongError, InvalidTextError, ModelLoadError

SPLIT_BYTES = 4096
"""A text up to this size is tokenised in one call. In longer ones special tokens are counted: llama.cpp takes time in
the square of their number, a minute for 100,000."""

SPLIT_TOKENS = 256
"""So many special tokens of a long text go into one call."""

MIN_BYTES_PER_TOKEN_LIMIT = 64
"""A text of so many bytes for each token that the model reads is worth a look at how long its tokens can be."""

_SPACES = b" \t\n\v\f\r"  # of C's isspace()


class Vocabulary:
    """The tokenizer of a loaded model. Safe to call from many threads."""

    def __init__(self, model: Native, path: Path, pre_tokenizer: str, closing_token: str | None = None) -> None:
        """Take a model.

        Args:
            model: A loaded model.
            path: Its file, for messages.
            pre_tokenizer: How the file says that texts are cut before they become tokens.
            closing_token: The special token after each text, "" for none; None leaves that to the file.

        Raises:
            ModelLoadError: the file has no token that its tokenizer puts around texts, the closing token is not in the
                vocabulary, or the file puts another one after texts.
        """
        self._library = library()
        self._model = model  # must outlive the vocabulary
        self._vocabulary = self._library.llama_model_get_vocab(model.pointer)
        self._normal_form = _normal_form(pre_tokenizer)
        self._check_added_tokens(path)
        self.prefix, self.suffix = self._affixes()
        """The special tokens that the tokenizer puts before a text, and after it."""
        self._appended = np.empty(0, np.int32)  # what the file leaves out of the suffix
        if closing_token is not None:
            self._check_closing_token(closing_token, path)

    def tokenize(
        self, texts: Sequence[str], *, refuse_above: int | None = None, allow_empty: bool = False
    ) -> list[TokenArray]:
        """The tokens of each text, special ones added and recognised as the model's own tokenizer does.

        Args:
            texts: Any number of them.
            refuse_above: Refuse a text without tokenising it, where its size alone says that it has more tokens.
            allow_empty: Take texts that have no token at all.

        Raises:
            InvalidTextError: a text cannot be written as UTF-8, or has no token.
            InputTooLongError: a text has more than `refuse_above` tokens for certain.
        """
        encoded = encode_utf8([self._normal(text) for text in texts])
        if refuse_above is not None:
            for index, text in enumerate(encoded):
                if (least := self._least_tokens(text, refuse_above)) > refuse_above:
                    raise InputTooLongError(index, least, refuse_above, at_least=True)
        tokens = [self._tokenize(text) for text in encoded]
        if not allow_empty and (empty := next((i for i, ids in enumerate(tokens) if not len(ids)), None)) is not None:
            raise InvalidTextError(empty, "is empty, and this model adds nothing to it. Leave it out.")
        return tokens

    def tokenize_raw(self, text: str) -> TokenArray:
        """The tokens of a text alone: none is added, and what spells a special one is letters like any other."""
        return self._tokenize(self._bytes(text), add_special=False, parse_special=False)

    def tokenize_special(self, text: str) -> TokenArray:
        """The tokens of a text alone, special ones recognised by their spelling, as a template has them."""
        return self._tokenize(self._bytes(text), add_special=False)

    def escape_special(self, text: str) -> str:
        """`text` with a blank in every spelling of a special token, so that a template may hold it."""
        while spelled := self._spelled_special(text):
            changed = text
            for piece in spelled:
                spelling = piece.decode(errors="replace")
                changed = changed.replace(spelling, f"{spelling[0]} {spelling[1:]}")
            if changed == text:  # a spelling in other bytes than the text's: nothing to put apart
                break
            text = changed
        return text

    def _spelled_special(self, text: str) -> set[bytes]:
        tokens: list[int] = np.unique(self.tokenize_special(text)).tolist()
        return {self._piece(token) for token in tokens if self._is_special(token)}

    def pair(self, first: str, second: str) -> TokenArray:
        """Two texts in one, as the tokenizer puts them together, with the special tokens around them."""
        functions, separators = self._library, []
        if functions.llama_vocab_get_add_eos(self._vocabulary):
            separators.append(functions.llama_vocab_eos(self._vocabulary))
        if functions.llama_vocab_get_add_sep(self._vocabulary):
            separators.append(functions.llama_vocab_sep(self._vocabulary))
        between = np.array(separators, np.int32)
        return np.concatenate([self.prefix, self.tokenize_raw(first), between, self.tokenize_raw(second), self.suffix])

    def show(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[Token]]:
        """The tokens of each text, with what they stand for and where."""
        tokens = self.tokenize(texts, allow_empty=True)
        if not add_special_tokens:
            tokens = [ids[len(self.prefix) : len(ids) - len(self.suffix)] for ids in tokens]
        return [self._shown(text, ids.tolist()) for text, ids in zip(texts, tokens, strict=True)]

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

    def _tokenize(self, text: bytes, *, add_special: bool = True, parse_special: bool = True) -> TokenArray:
        if len(text) > SPLIT_BYTES and len(parts := list(self._parts(text, parse_special=parse_special))) > 1:
            tokens = [self._call(part, add_special=False, parse_special=parse_special) for part in parts]
            return np.concatenate([self.prefix, *tokens, self.suffix] if add_special else tokens)
        tokens_of_text = self._call(text, add_special=add_special, parse_special=parse_special)
        return np.append(tokens_of_text, self._appended) if add_special and len(self._appended) else tokens_of_text

    def _call(self, text: bytes, *, add_special: bool, parse_special: bool = True) -> TokenArray:
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
                return buffer[:n_tokens].copy()  # the buffer is several times as large
            capacity = -n_tokens

    def _parts(self, text: bytes, *, parse_special: bool) -> Iterator[bytes]:
        """A text in parts of few special tokens, cut where one ends, so that the parts' tokens are the text's."""
        spellings = self._special_spellings if parse_special else self._user_spellings
        start = n_tokens = 0
        for match in spellings.pattern.finditer(text) if spellings.pattern else ():
            n_tokens += 1
            if n_tokens >= SPLIT_TOKENS and (end := spellings.safe_cut(text, match)):
                yield text[start:end]
                start, n_tokens = end, 0
        yield text[start:]

    def _check_added_tokens(self, path: Path) -> None:
        """Refuse a file without the tokens that its tokenizer adds: at the first text llama.cpp would end the process.

        Source: the assertions of `llama_vocab::impl::tokenize` in llama.cpp's src/llama-vocab.cpp.
        """
        of, vocabulary = self._library, self._vocabulary
        kind = of.llama_vocab_type(vocabulary)
        is_word_piece = kind == of.LLAMA_VOCAB_TYPE_WPM
        needed = {
            "first": (is_word_piece or of.llama_vocab_get_add_bos(vocabulary), of.llama_vocab_bos),
            "separating": (is_word_piece, of.llama_vocab_sep),
            "last": (not is_word_piece and of.llama_vocab_get_add_eos(vocabulary), of.llama_vocab_eos),
        }
        missing = [name for name, (is_needed, token) in needed.items() if is_needed and token(vocabulary) < 0]
        if kind == of.LLAMA_VOCAB_TYPE_NONE:
            raise ModelLoadError(f"{path} has no tokenizer. Take a file that has one.")
        if missing:
            raise ModelLoadError(
                f"{path} does not say which token its tokenizer puts around texts ({', '.join(missing)}). Take a file "
                "that does: convert the model again with llama.cpp's own script."
            )

    def _affixes(self) -> tuple[TokenArray, TokenArray]:
        """What the tokenizer puts around a text: what an empty text and a letter end with alike comes after it."""
        empty, letter = (self._call(text, add_special=True) for text in (b"", b"a"))
        n_after = 0
        while n_after < len(empty) and empty[-1 - n_after] == letter[-1 - n_after]:
            n_after += 1
        return empty[: len(empty) - n_after], empty[len(empty) - n_after :]

    def _check_closing_token(self, closing_token: str, path: Path) -> None:
        """Make sure that texts end with the token that the model was trained with: files may leave it out."""
        wanted = self._call(closing_token.encode(), add_special=False)
        if len(wanted) > 1 or not all(map(self._is_special, wanted.tolist())):
            raise ModelLoadError(
                f"{path} has no token {closing_token!r}, which the model was trained to read at the end of each text. "
                "Take a file of that model, or name the model whose file this is."
            )
        if not len(self.suffix):
            self.suffix = self._appended = wanted
        elif not np.array_equal(self.suffix, wanted):
            found = b"".join(map(self._piece, self.suffix.tolist())).decode(errors="replace")
            raise ModelLoadError(
                f"{path} puts {found!r} after each text, and the model was trained with {closing_token or 'nothing'!r} "
                "there: the vectors would be others. Take a file of that model, or name the model whose file this is."
            )

    def _least_tokens(self, text: bytes, max_tokens: int) -> int:
        """How many tokens a text has at least, by its size; 0 where that says nothing, or need not be known."""
        if len(text) <= max_tokens * MIN_BYTES_PER_TOKEN_LIMIT or not self._longest_token:
            return 0
        return len(text) // self._longest_token

    @cached_property
    def _longest_token(self) -> int:
        """The most bytes that a token covers; 0 where a token may cover any number, as an unknown word does."""
        functions, vocabulary = self._library, self._vocabulary
        is_byte_level = functions.llama_vocab_type(vocabulary) == functions.LLAMA_VOCAB_TYPE_BPE
        if not is_byte_level or self._special_spellings.any_strips:
            return 0
        tokens = range(functions.llama_vocab_n_tokens(vocabulary))
        # Written with a letter or more for each byte.
        return max(len(functions.llama_vocab_get_text(vocabulary, token)) for token in tokens)

    @cached_property
    def _special_spellings(self) -> "_Spellings":
        functions = self._library
        return self._spellings(
            functions.LLAMA_TOKEN_ATTR_CONTROL
            | functions.LLAMA_TOKEN_ATTR_USER_DEFINED
            | functions.LLAMA_TOKEN_ATTR_UNKNOWN
        )

    @cached_property
    def _user_spellings(self) -> "_Spellings":
        return self._spellings(self._library.LLAMA_TOKEN_ATTR_USER_DEFINED)

    def _spellings(self, attributes: int) -> "_Spellings":
        functions, vocabulary = self._library, self._vocabulary
        found: dict[bytes, int] = {}
        for token in range(functions.llama_vocab_n_tokens(vocabulary)):
            attribute = functions.llama_vocab_get_attr(vocabulary, token)
            if attribute & attributes and (spelling := functions.llama_vocab_get_text(vocabulary, token)):
                found[spelling] = attribute
        strips = functions.LLAMA_TOKEN_ATTR_LSTRIP | functions.LLAMA_TOKEN_ATTR_RSTRIP
        right = {spelling for spelling, attribute in found.items() if attribute & functions.LLAMA_TOKEN_ATTR_RSTRIP}
        return _Spellings(found, right, any_strips=any(attribute & strips for attribute in found.values()))


class _Spellings:
    """The spellings of special tokens, and where a text may be cut between them."""

    def __init__(self, spellings: Collection[bytes], right: set[bytes], *, any_strips: bool) -> None:
        longest_first = sorted(spellings, key=len, reverse=True)  # the order in which llama.cpp looks for them
        self.pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self.any_strips = any_strips
        self._right_stripping = right
        self._longest = len(longest_first[0]) if longest_first else 0

    def safe_cut(self, text: bytes, match: re.Match[bytes]) -> int:
        """The end of a match if the text may be cut there, else 0: no other spelling overlaps the match or the cut."""
        assert self.pattern is not None
        end = match.end()
        while match[0] in self._right_stripping and text[end : end + 1] and text[end] in _SPACES:
            end += 1  # blanks after it belong to it
        for start in range(max(0, match.start() - self._longest + 1), end):
            other = self.pattern.match(text, start) if start != match.start() else None
            if other and (other.end() > end or (start < match.end() and other.end() > match.start())):
                return 0
        return end


def _normal_form(pre_tokenizer: str) -> Literal["NFC"] | None:
    # Qwen's own tokenizer composes characters first (tokenizer.json: "normalizer": NFC) and llama.cpp's does not.
    return "NFC" if pre_tokenizer == "qwen2" else None
