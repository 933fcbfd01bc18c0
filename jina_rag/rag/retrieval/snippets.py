"""Snippets: the sentences of a long passage that are shown where there is room for a few lines."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum

from jina_rag.rag.text.sentences import Sentence, find_sentences
from jina_rag.rag.text.tokens import UNSPACED

_WORD = re.compile(rf"[{UNSPACED}]|\w+")


@dataclass(frozen=True)
class Snippet:
    """Whole sentences of a passage on one line, with "…" where some are left out.

    Attributes:
        before: What comes before the sentence that the snippet is about, the white space behind it included.
        sentence: The sentence that it is about.
        after: What comes after it.
    """

    before: str
    sentence: str
    after: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.before}{self.sentence}{self.after}"


def make_snippet(text: str, query: str, length: int, *, highlight: tuple[int, int] | None = None) -> Snippet:
    """The sentences of a passage around the one that a query is about, none of them cut.

    Rows of tables come as their cells, each behind the name of its column.

    Args:
        text: The passage.
        query: A question, some words, or what an answer says. Its words choose the sentence, the more the fewer
            sentences have them.
        length: The most characters, marks of omission included. Only a sentence that is longer exceeds it.
        highlight: Where the sentence is that the snippet is about, (start, end) in the passage, if that is known.

    Raises:
        MissingDependencyError: the package sentencex is not installed.
    """
    sentences = find_sentences(text)
    shown = [sentence for sentence in sentences if sentence.kind != "header"] or sentences
    if not shown:
        return Snippet("", " ".join(text.split()), "")
    start = highlight[0] if highlight else shown[_best(shown, query)].start
    focus = max((place for place, sentence in enumerate(shown) if sentence.start <= start), default=0)
    first, last = focus, focus + 1
    while last < len(shown) and len(_snippet(shown, first, focus, last + 1).text) <= length:
        last += 1
    while last > focus + 1 and shown[last - 1].kind == "heading":
        last -= 1  # what it stands above isn't shown
    while first and len(_snippet(shown, first - 1, focus, last).text) <= length:
        first -= 1
    return _snippet(shown, first, focus, last)


def _best(sentences: Sequence[Sentence], query: str) -> int:
    """The place of the sentence that has the most of a query's words, each weighed by one over how many have it."""
    wanted = set(_WORD.findall(query.casefold()))
    matches = [wanted.intersection(_WORD.findall(sentence.text.casefold())) for sentence in sentences]
    counts = Counter(word for found in matches for word in found)
    weights = [fsum(1 / counts[word] for word in found) for found in matches]
    return weights.index(max(weights))


def _snippet(sentences: Sequence[Sentence], first: int, focus: int, last: int) -> Snippet:
    texts = [sentence.text for sentence in sentences]
    before = "".join(text + _space_behind(text) for text in texts[first:focus])
    after = "".join(_space_behind(one) + two for one, two in pairwise(texts[focus:last]))
    return Snippet(f"… {before}" if first else before, texts[focus], after if last == len(sentences) else f"{after} …")


def _space_behind(text: str) -> str:
    """A dot between what has no mark at its end, such as a heading, and what comes next."""
    return " " if unicodedata.category(text[-1])[0] == "P" else " · "
