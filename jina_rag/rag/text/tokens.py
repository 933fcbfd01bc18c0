"""Words as answers and passages are compared by: numbers kept, negations heard, endings and typography forgiven."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace

_DASHES = re.compile(r"[‐‑‒–—―−]")
_APOSTROPHES = re.compile(r"[’‘ʼ′`´]")
_WRAPPED_WORD = re.compile(r"(?<=[^\W\d_])(?:\u00ad[ \t]*\n?|-[ \t]*\n)[ \t]*(?=[^\W\d_])")
_MONEY = re.compile(r"([£$€¥])\s*(-?\d+(?:[.,:]\d+)*)")

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
"""The characters of scripts without blanks between words, as a class of a regular expression: each is a word here."""

_TOKEN = re.compile(
    rf"[{UNSPACED}]"
    r"|[^\W\d_]+\d[^\W_]*"  # E7, V3: a name, and strict as a number is
    r"|(?<![\w.,:-])-\d+(?:[.,:]\d+)*|\d+(?:[.,:]\d+)*"
    r"|[^\W\d_]+(?:'[^\W\d_]+)*|[£$€¥%‰]"
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_COMMON_BEGINNING = 5  # letters
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SPELLINGS = {
    **{"£": "pound", "$": "dollar", "€": "euro", "¥": "yen", "%": "percent", "‰": "permille"},
    **{word: str(number) for number, word in enumerate(_UNITS.split())},
    **{word: str(number) for number, word in zip(range(20, 100, 10), _TENS.split(), strict=True)},
}

_CURRENCIES = frozenset(("pound", "dollar", "euro", "yen", "percent", "permill"))  # as `stem` leaves them

NAME = re.compile(r"(?<![.!?\]]\s)(?<!^)\b[A-ZÄÖÜ][\w'’-]+(?:\s+[A-ZÄÖÜ][\w'’-]+)*")
"""A name: capitalised words in a row that don't begin a sentence."""

_NEGATIONS = """
no not never none neither nor nobody nothing nowhere without cannot
nicht kein keine keinen keinem keiner keines nie niemals ohne nichts niemand
ne pas jamais sans aucun aucune ni rien
nunca sin ningún ninguna ninguno tampoco nada nadie
"""
NEGATIONS = frozenset(_NEGATIONS.split())
"""Words that turn what follows into its opposite, in English, German, French and Spanish."""

_JAPANESE_NEGATIONS = re.compile(r"ません|ない|なか|ず(?=[、。にと])")

_FUNCTION_WORDS = """
a an the this that these those of in on at to for from by with as into onto about than then there here
and or but so if when while where which who whom whose what why how is are was were be been being am do does did
done has have had having may might can could will would shall should must it its he she they them his her their
we us our you your i me my also just any some very too much many such own please called located named
der die das den dem des ein eine einen einem einer eines und oder aber ist sind wird werden wurde im am
zum zur vom von zu mit für auf an bei nach aus um es er sie wir ihr ich sich auch wie was wer wo wann warum
welche welcher welches
le la les l un une des du de d et ou mais est sont était à au aux en dans par pour avec sur ce cette ces il elle
ils elles on se s qui que qu quoi quel quelle quels quelles où quand comment pourquoi combien
el los las una unos unas y o pero es son era del al con por para su sus lo se qué quién cuál cuándo dónde cómo
cuánto cuántos cuánta cuántas
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words of the same languages that say nothing by themselves."""

_WEAK_WORDS = """
long far often many much name kind time mean happen number cost pay paid price fee charge
come came go goes going went get got take took give gave given make made use used keep kept put need want find
bring brought against between during within through before after under over up down out off around across along
behind near yes no ok okay sure more
"""


@dataclass(frozen=True)
class Term:
    """A word that says something.

    Attributes:
        stem: The word without what grammar adds to it; a number as digits.
        negated: Whether "not" or the like stands before it.
        is_number: Whether it is a number.
    """

    stem: str
    negated: bool = False
    is_number: bool = False


def words(text: str) -> list[str]:
    """The words, numbers and signs of money of a text, in order and in one spelling.

    Case, width, dashes, ligatures, hyphens at ends of lines and commas in thousands don't matter, and numbers in words
    are digits.
    """
    text = unwrapped(unicodedata.normalize("NFKC", text))
    text = _APOSTROPHES.sub("'", _DASHES.sub("-", text)).casefold()
    text = _MONEY.sub(r"\2 \1", _THOUSANDS.sub("", text))
    return [_SPELLINGS.get(token, token) for token in _TOKEN.findall(text)]


def unwrapped(text: str) -> str:
    """`text` with words that were divided at the end of a line in one piece."""
    return _WRAPPED_WORD.sub("", text)


def terms(text: str) -> list[Term]:
    """What a text says, word by word: function words left out, each negation passed to the word after it.

    A number and its currency are one term.
    """
    found: list[Term] = []
    negated = False
    for word in words(text):
        if is_negation(word):
            negated = True
        elif found and found[-1].is_number and stem(word) in _CURRENCIES:
            found[-1] = replace(found[-1], stem=f"{found[-1].stem} {stem(word)}")
        elif is_number(word) or not (word in FUNCTION_WORDS or "\u3040" <= word <= "\u309f"):
            found.append(Term(stem(word), negated, is_number(word)))
            negated = False
    if negated and found:
        found[-1] = replace(found[-1], negated=True)
    return found


def content_stems(text: str) -> list[str]:
    """The stems of the words that say something, each once, in order."""
    return list(dict.fromkeys(term.stem for term in terms(text)))


def stem(word: str) -> str:
    """A word without an English ending. Not a linguist's stem: only good for comparing two words cut the same way."""
    if is_number(word):
        return word
    word = word.removesuffix("'s").replace("'", "")
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "i"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not (ending == "s" and word.endswith("ss")):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]  # stopped, stop
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def is_among(word: str, stems: Collection[str]) -> bool:
    """Whether a stem is among others, or shares a long beginning with one: "larg" and "larger"."""
    if word in stems:
        return True
    start = word[:_COMMON_BEGINNING]
    return len(start) >= _COMMON_BEGINNING - 1 and any(
        other.startswith(start) and abs(len(other) - len(word)) < _COMMON_BEGINNING - 1 for other in stems
    )


def is_negation(word: str) -> bool:
    """Whether a word of `words` turns what follows into its opposite."""
    return word in NEGATIONS or word.endswith("n't")


def is_number(word: str) -> bool:
    """Whether a word of `words` is a number, or a name that ends with one."""
    return word[-1:].isdigit()


def has_kana(text: str) -> bool:
    """Whether a text holds Japanese."""
    return any("\u3040" <= character <= "\u30ff" for character in text)


def has_japanese_negation(text: str) -> bool:
    """Whether a Japanese text denies something; its negations are endings and not words."""
    return bool(_JAPANESE_NEGATIONS.search(text))


WEAK_STEMS = frozenset(content_stems(_WEAK_WORDS))
"""Words that only ask or connect, as stems. Answers put them in other words, so they tell little about a subject."""
