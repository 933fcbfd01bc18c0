"""Bytes to text: UTF-8 wherever it holds, then what the file declares, then a guess, which is always noted."""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.types import SourceFile, line_feeds

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARATION = re.compile(
    rb"""<\?xml[^>]{1,200}?\bencoding\s*=\s*["']([-\w.:]+)|<meta\b[^>]{1,200}?\bcharset\s*=\s*["']?([-\w.:]+)"""
    rb"""|\A@charset\s+"([-\w.:]+)|\A(?:.*\n)?.*\bcoding[:=][ \t]*([-\w.]+)""",
    re.IGNORECASE,
)
"""As in XML, HTML, CSS, and Python or Emacs (in one of the first two lines)."""
_DECLARED_WITHIN = 1024  # bytes, as HTML has it
_DECLARABLE = re.compile("cp|iso|koi8|mac|gb|big5|euc|shift_jis|hz|johab|kz|ptcp|tis")
"""Python's names of encodings that extend ASCII. It knows others, which decompress or obey escapes."""

_CANDIDATES = """
cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 iso8859-2 iso8859-5 iso8859-7 iso8859-15 koi8-r
koi8-u cp437 cp850 cp866 mac_roman cp932 shift_jis euc-jp iso-2022-jp gb18030 big5 cp949 utf-16-le utf-16-be utf-32-le
utf-32-be
"""
"""What text files were written in before UTF-8. More candidates than these are found by mistake in short texts."""
_SAMPLE_BYTES = 2**14
_OTHER_LINES = re.compile(rb"(?<![^\r\n])[\x00-\x09\x0b\x0c\x0e-\x7f]*+[\x80-\xff][^\r\n]*+")
"""Lines with a byte beyond ASCII."""
_NO_CHARACTER = re.compile("[\x80-\x84\x86-\x9f¤]")
"""Control codes that no text has, and the placeholder that ISO 8859-15 has the euro sign for."""
_ALPHABETS = frozenset(("ARABIC", "CYRILLIC", "GREEK", "HEBREW", "LATIN", "THAI"))

_NULLS = re.compile(b"\0+")
_CONTROLS = bytes((*range(0x08), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))
_MAX_CONTROLS = 0.05
"""Of a text's bytes; of random bytes a tenth are control characters."""


def decode(file: SourceFile, declared: str | None = None) -> str:
    """The text of a file, its lines ended by a line feed, with a note on what was guessed, replaced or left out.

    A byte order mark decides; else UTF-8, if more sequences of several bytes are valid than bytes are invalid; else the
    encoding that the file declares; else chardet's models of letter pairs, among the encodings that mix the fewest
    alphabets and symbols within words.

    Args:
        file: The file; notes are added to it.
        declared: The encoding that the file is said to have elsewhere.

    Raises:
        DocumentError: it is no text.
        MissingDependencyError: chardet is not installed, and is needed.
    """
    texts = (decode_as(file) for decode_as in (_marked, _utf8, partial(_declared, name=declared), _guessed))
    text = next(text for text in texts if text is not None).removeprefix("\ufeff")
    return _without_nulls(file, line_feeds(text))


def _marked(file: SourceFile) -> str | None:
    encoding = next((encoding for mark, encoding in _MARKS if file.data.startswith(mark)), None)
    return _replacing(file, encoding) if encoding else None


def _utf8(file: SourceFile) -> str | None:
    if _has_many_nulls(file.data) or (b"\x1b$" in file.data and file.data.isascii()):
        return None  # UTF-16 and ISO 2022, which can be valid UTF-8 as well
    try:
        return file.data.decode()
    except UnicodeDecodeError:
        text = file.data.decode("utf-8", "replace")
    n_invalid = text.count("\ufffd") - file.data.count("\ufffd".encode())
    n_valid = len(text) - len(text.encode("ascii", "ignore")) - n_invalid
    return _replacing(file, "utf-8") if n_valid > n_invalid else None


def _declared(file: SourceFile, name: str | None) -> str | None:
    if name is None:
        found = _DECLARATION.search(file.data[:_DECLARED_WITHIN])
        name = found[found.lastindex or 0].decode("ascii", "replace") if found else ""
    try:
        encoding = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    if encoding in ("ascii", "iso8859-1"):
        encoding = "cp1252"  # as browsers have it
    return _replacing(file, encoding) if _DECLARABLE.match(encoding) else None


def _guessed(file: SourceFile) -> str:
    best = min(_candidates(file), key=lambda candidate: (candidate.n_odd, -candidate.confidence), default=None)
    if best is None:
        raise _no_text(file)
    text = _replacing(file, best.encoding)
    n_guessed = len(text) - len(text.encode("ascii", "ignore"))
    file.notes.append(
        f"The encoding was guessed: read as {best.encoding}, which decides {n_guessed:,} of the characters. "
        "Save the file as UTF-8 if they are wrong."
    )
    return text


def _replacing(file: SourceFile, encoding: str) -> str:
    """The text in an encoding, with a note if there are replacement characters that the file hasn't itself."""
    text = file.data.decode(encoding, "replace")
    n_replaced = text.count("\ufffd") - (file.data.count("\ufffd".encode()) if encoding == "utf-8" else 0)
    if n_replaced:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        file.notes.append(
            f"{n_replaced:,} {'place is' if n_replaced == 1 else 'places are'} not valid {encoding} and became \ufffd, "
            f"the first in line {line:,}."
        )
    return text


def _without_nulls(file: SourceFile, text: str) -> str:
    """The text with each run of null characters replaced; a file that is cut off by a crash may have millions."""
    place = text.find("\0")
    n_nulls = 0
    if place >= 0:
        text, n_nulls = re.subn("\0+", "\0", text)
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) - len(encoded.translate(None, _CONTROLS)) > _MAX_CONTROLS * len(encoded):
        raise _no_text(file)
    if n_nulls:
        file.notes.append(
            f"Null characters in {n_nulls:,} {'place' if n_nulls == 1 else 'places'} became \ufffd, "
            f"the first in line {text.count(chr(10), 0, place) + 1:,}."
        )
    return text.replace("\0", "\ufffd")


def _no_text(file: SourceFile) -> DocumentError:
    return DocumentError(
        f"{file.path} is not a text file, or in no known encoding. Save it as UTF-8, give it the ending of what it is, "
        "or leave it out."
    )


class _Candidate(NamedTuple):
    encoding: str
    n_odd: int
    confidence: float


def _candidates(file: SourceFile) -> Iterator[_Candidate]:
    """The encodings that a sample of the bytes is valid in."""
    try:
        from chardet import detect_all
    except ImportError as error:
        raise MissingDependencyError.for_extra("chardet", "rag") from error

    sample = _sample(file.data)
    for found in detect_all(
        sample,
        ignore_threshold=True,
        compat_names=False,
        include_encodings=_CANDIDATES.split(),
        no_match_encoding="cp1252",
    ):
        if found["encoding"] is None:
            continue
        try:  # the end of the sample may be half a character
            text = codecs.getincrementaldecoder(found["encoding"])().decode(sample)
        except UnicodeDecodeError:
            continue
        n_odd = len(_NO_CHARACTER.findall(text)) + sum(map(_is_odd, text, text[1:]))
        # Models of languages know nothing of signs such as £ and °: without letters the commonest encoding is as good.
        is_likely = found["encoding"] == "cp1252" and not any(letter.isalpha() and letter > "\x7f" for letter in text)
        yield _Candidate(found["encoding"], n_odd, 1.0 if is_likely else found["confidence"])


def _sample(data: bytes) -> bytes:
    """Some of the lines that are not ASCII, which say more than the beginning."""
    if data.isascii() or _has_many_nulls(data):
        return data[:_SAMPLE_BYTES]
    sample = b""
    for line in _OTHER_LINES.finditer(data):
        sample += line[0][:_SAMPLE_BYTES].replace(b"\0", b"") + b"\n"
        if len(sample) >= _SAMPLE_BYTES:
            break
    return sample


def _has_many_nulls(data: bytes) -> bool:
    return b"\0" in data and len(_NULLS.findall(data)) > _MAX_CONTROLS * len(data)


def _is_odd(first: str, second: str) -> bool:
    """Whether these two are hardly side by side: letters of two alphabets, a capital or a symbol within a word."""
    if first.isascii() and second.isascii():
        return False
    kinds = unicodedata.category(first), unicodedata.category(second)
    if _is_symbol(first, kinds[0]):
        return kinds[1][0] == "L"
    if _is_symbol(second, kinds[1]):
        return kinds[0] == "Ll"
    alphabets = {unicodedata.name(character, "").partition(" ")[0] for character in (first, second)}
    return kinds == ("Ll", "Lu") or len(alphabets & _ALPHABETS) == 2


def _is_symbol(character: str, kind: str) -> bool:
    return (kind[0] == "S" or kind == "No") and not character.isascii()
