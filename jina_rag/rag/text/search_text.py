"""The words of a text as people search for them: in one piece, without markup, line ends and invisible characters."""

import re
import unicodedata

_LETTER = r"[^\W\d_]"
_SLICE = re.compile(r".{1,1000}(?!\S)|.{1,1000}", re.DOTALL)
"""To normalize a long run of combining marks takes time by its square."""

_SOFT_HYPHEN = re.compile("\u00ad(?:[ \t]*\n[ \t]*)?")
_INVISIBLE = re.compile(
    "[\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
    "|(?<=[A-Za-z\u00c0-\u024f])[\u200c\u200d]"  # other scripts than Latin are written with these joiners
)
# Patterns begin with their rare sign and then look at the letter before it: so most of a text is passed over quickly.
_DIVIDED = re.compile(rf"-(?<={_LETTER}-)[ \t]*\n[ \t]*(?={_LETTER})")
_EMPHASIS = re.compile(
    rf"(?<![\w*])(\*{{1,3}})({_LETTER}+)\1(?={_LETTER})|(?<={_LETTER})(\*{{1,3}})({_LETTER}+)\3(?!\*)"
)
"""Of Markdown, where it begins or ends within a word: **N**orthern, f*oo*bar. Elsewhere it doesn't cut words."""

_HTML_SCRIPT = re.compile(r"<(su[bp])>([^<>\n]{1,40})</\1>", re.IGNORECASE)
_RAISED = re.compile("[\u00b2\u00b3\u00b9\u2070\u2074-\u207e]+")
_LOWERED = re.compile("[\u2080-\u208e]+")
_MIXED_FRACTION = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e])")
_SUBSCRIPT = re.compile(rf"_(?<={_LETTER}_)(?=\d)")
_RAISED_LETTERS = re.compile(rf"\^(?<=\w\^)(?={_LETTER}{{2,}})")
"""21^st, which is no power."""


def search_text(text: str) -> str:
    """`text` with every word in one piece, and spelled alike wherever it comes from.

    Hyphens at ends of lines, soft hyphens, invisible characters and emphasis within words are gone; width and ligatures
    are made alike (Unicode's NFKC). A power stays one: 10² and 10<sup>2</sup> become 10^2, H₂O and H_2O become H2O.
    """
    text = _DIVIDED.sub("", text)
    if "*" in text:
        text = _EMPHASIS.sub(r"\2\4", text)
    text = _HTML_SCRIPT.sub(lambda script: ("_" if script[1].lower() == "sub" else "^") + script[2], text)
    if not text.isascii():
        text = _INVISIBLE.sub("", _SOFT_HYPHEN.sub("", text))
        text = _RAISED.sub(lambda digits: _power(unicodedata.normalize("NFKC", digits[0])), text)
        text = _MIXED_FRACTION.sub(" ", _LOWERED.sub(r"_\g<0>", text))
        text = _SLICE.sub(lambda piece: unicodedata.normalize("NFKC", piece[0]), text).replace("\u2044", "/")
    return _RAISED_LETTERS.sub("", _SUBSCRIPT.sub("", text))


def _power(digits: str) -> str:
    return f"^{digits}" if digits.isdigit() else f"^({digits})"
