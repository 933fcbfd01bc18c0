"""Whether a passage says what a claim says, as far as words can tell."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice, pairwise

from jina_rag.rag.text.sentences import split_sentences
from jina_rag.rag.text.tokens import (
    FUNCTION_WORDS,
    WEAK_STEMS,
    Term,
    content_stems,
    has_japanese_negation,
    has_kana,
    is_negation,
    is_number,
    terms,
    unwrapped,
    words,
)

_MAX_BARE = 5  # words
_ALMOST = 0.99  # all words stand there and mean another thing
_QUOTES = re.compile(
    r"[“„«「『\"]([^“”„«»「」『』\"]*)[”“»」』\"]?|(?<!\w)[‘']((?:[^‘’'\n]|(?<=\w)[’'](?=\w))+)[’'](?!\w)"
)
_REPORTING = frozenset(
    content_stems(
        "say says said state states stated explain explains mention mentions note notes according passage passages "
        "document documents text source sources page answer"
    )
)
"""Words with which an answer speaks of its sources and not of what they say."""

_VERBS_OF_FOUR_LANGUAGES = """
is are was were be been has have had does did can could will would shall should must may might
ist sind war waren hat haben hatte wird werden wurde kann darf
est sont était étaient ont peut
son fue era eran está tiene hay puede
"""
_VERBS = frozenset(_VERBS_OF_FOUR_LANGUAGES.split())
"""Words that say one thing of another, as in "Mars is red"."""

_DENY_WHAT_STANDS_BEFORE = frozenset(("not", "never", "nowhere", "nicht", "nie", "niemals", "pas", "jamais", "nunca"))


@dataclass(frozen=True)
class Support:
    """How far a passage says what a claim says.

    Attributes:
        share: Of the claim's words, those that stand together in the passage, from 0 to 1; 1 only if it says so.
        verbatim: Whether the claim stands there word for word.
        missing: The other words, as stems. None are missing if the words are there and mean another thing.
    """

    share: float
    verbatim: bool = False
    missing: tuple[str, ...] = ()


def is_supported(claim: str, passage: str, heading: str = "", question: str = "") -> bool:
    """Whether a passage says what a claim says: whether the share of `find_support` is 1."""
    return find_support(claim, passage, heading, question).share == 1.0


def find_support(claim: str, passage: str, heading: str = "", question: str = "") -> Support:
    """How far a passage says what a claim says.

    It does if the claim stands in the passage word for word. Otherwise all that it puts in quotes must stand there
    without a gap, and the other words that say something must stand together: within one sentence, or in the same order
    within two neighbours. Endings don't matter. A negation must be where it is in the passage, a number beside one of
    the words that it is beside there. Case, width, white space, hyphenation, dashes and other marks don't matter.

    A name or a number alone stands in many places. So a claim of a few words that says nothing of anything must stand
    in one sentence together with all words of the question that say something: "Ansel Brody" answers "Who steers the
    ferry?" only where somebody steers it. A whole sentence of the passage may be so short.

    Args:
        claim: A sentence or a part of one.
        passage: What it is said to come from.
        heading: The passage's title and headings. Words may come from there, numbers and quotations may not.
        question: What the claim answers; without it, a bare claim need only stand in the passage.
    """
    if question and is_bare(claim):
        return _best(_support_as_answer(claim, question, sentence, heading) for sentence in _sentences(passage))
    claimed, there = words(claim), words(passage)
    if not claimed:
        return Support(0.0)
    if _stands_in(claimed, there):
        return Support(1.0, verbatim=True)
    quotes = [words(double or single) for double, single in _QUOTES.findall(claim)]
    together = _support_of_terms(claim, passage, heading)
    if not all(_stands_in(quote, there) for quote in quotes if quote):
        return Support(min(together.share, _ALMOST), missing=together.missing)
    return together


def is_bare(claim: str) -> bool:
    """Whether a claim is only a name, a number or the like: few words, and none that says one of them of another."""
    claimed = words(claim)
    return len(claimed) <= _MAX_BARE and not any(
        word in _VERBS and _says_something(claimed[:place]) and _says_something(claimed[place + 1 :])
        for place, word in enumerate(claimed)
    )


def _says_something(said: Sequence[str]) -> bool:
    return bool(terms(" ".join(said)))


def _best(found: Iterable[Support]) -> Support:
    return max(found, key=lambda support: support.share)


def _support_as_answer(claim: str, question: str, sentence: str, heading: str) -> Support:
    """The support of a bare claim by one sentence, which must also say what the question says.

    Words that only ask need not stand there, but must not be denied.
    """
    alone = find_support(claim, sentence, heading)
    if words(claim) == words(sentence):
        return alone
    there, above = terms(sentence), set(content_stems(heading))
    may_be_missing = WEAK_STEMS.difference(term.stem for term in there)
    asked = [term for term in terms(question) if term.stem not in may_be_missing]
    wanted = list(dict.fromkeys([*terms(claim), *asked]))
    together = _spoken(wanted, there, above) if wanted else Support(0.0)
    return Support(min(alone.share, together.share), alone.verbatim, together.missing)


def _stands_in(wanted: Sequence[str], there: Sequence[str]) -> bool:
    """Whether words follow each other in a text without a gap; where one word ends and the next begins is forgiven.

    Not if the text denies them: "no dogs are allowed" does not say that dogs are.
    """
    needle, _ = _joined(wanted)
    text, bounds = _joined(there)
    place = text.find(needle)
    while place >= 0:
        first, last = bounds.get(place), bounds.get(place + len(needle))
        if first is not None and last is not None and not _is_denied(there, first, last):
            return True
        place = text.find(needle, place + 1)
    return False


def _joined(tokens: Sequence[str]) -> tuple[str, dict[int, int]]:
    """The words in one string, numbers set apart, and which word begins where in it."""
    pieces, bounds, end = [], {0: 0}, 0
    for place, token in enumerate(tokens, start=1):
        piece = f"\0{token}\0" if is_number(token) else token.replace("'", "")
        pieces.append(piece)
        end += len(piece)
        bounds[end] = place
    return "".join(pieces), bounds


def _is_denied(there: Sequence[str], first: int, last: int) -> bool:
    """Whether a negation stands behind these words of a text, or before them with nothing between that it denies."""
    before = dropwhile(FUNCTION_WORDS.__contains__, reversed(there[:first]))
    return any(map(is_negation, islice(before, 1))) or not _DENY_WHAT_STANDS_BEFORE.isdisjoint(there[last : last + 1])


def _support_of_terms(claim: str, passage: str, heading: str) -> Support:
    claimed = [term for term in terms(claim) if term.stem not in _REPORTING]
    if not claimed:
        return Support(0.0)
    sentences = _sentences(passage)
    above = {stem for stem in content_stems(heading) if not is_number(stem)}
    best = _best(_support_in(sentence, claim, claimed, above) for sentence in sentences)
    if best.share == 1.0 or len(sentences) < 2 or has_kana(claim):
        return best  # which of two Japanese sentences denies something can't be told
    pairs = (f"{one}\n{two}" for one, two in pairwise(sentences))
    return _best([best, *(_support_in(pair, claim, claimed, above, ordered=True) for pair in pairs)])


def _sentences(passage: str) -> list[str]:
    return split_sentences(unwrapped(passage)) or [passage]


def _support_in(window: str, claim: str, claimed: Sequence[Term], above: set[str], *, ordered: bool = False) -> Support:
    """The support of a claim by some sentences of the passage, in which its words may also mean another thing."""
    there = terms(window)
    spoken = _spoken(claimed, there, above)
    told = [term for term in claimed if term in there]
    if spoken.share == 1.0 and (
        not told
        or (ordered and not _is_subsequence(told, there))
        or not _numbers_agree(told, there, on_both_sides=ordered)
        or has_japanese_negation(claim) != has_japanese_negation(window)
    ):
        return Support(_ALMOST)
    return spoken


def _spoken(wanted: Sequence[Term], there: Sequence[Term], above: set[str]) -> Support:
    """Which of the terms stand in a text, as often as they do, or in the headings above it."""
    left, missing = Counter(there), []
    for term in wanted:
        if left[term]:
            left[term] -= 1
        elif term.negated or term.stem not in above:
            missing.append(term.stem)
    return Support(1 - len(missing) / max(len(wanted), 1), missing=tuple(missing))


def _is_subsequence(wanted: Sequence[Term], there: Sequence[Term]) -> bool:
    rest = iter(there)
    return all(term in rest for term in wanted)


def _numbers_agree(claimed: Sequence[Term], there: Sequence[Term], *, on_both_sides: bool) -> bool:
    """Whether each number of a claim stands beside the same word as in the passage, or between the same two."""
    enough = all if on_both_sides else any
    for place, term in enumerate(claimed):
        if not term.is_number or len(claimed) == 1:
            continue
        before, after = claimed[max(place - 1, 0) : place], claimed[place + 1 : place + 2]
        if not any(
            enough(
                neighbour == found
                for neighbour, found in ((before, there[max(at - 1, 0) : at]), (after, there[at + 1 : at + 2]))
                if neighbour
            )
            for at, other in enumerate(there)
            if other == term
        ):
            return False
    return True
