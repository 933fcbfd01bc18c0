"""Follow-up questions: recognised, put into words that can be searched for, given the evidence of the turn before."""

import re
from collections.abc import Sequence

from jina_rag.rag.answering.types import Turn
from jina_rag.rag.citations.marks import without_marks
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.text.tokens import NAME, WEAK_STEMS, content_stems

_BEGINS_LIKE_A_FOLLOW_UP = re.compile(
    r"\s*(?:and|but|or|so|then|also|what about|how about|und|aber|oder|et|mais|y|pero|o|e)\b[\s,]|"
    r"\s*(?:yes|no|ok|okay|sure|please|go on|continue|more|ja|nein|oui|non|sí)\b",
    re.IGNORECASE,
)
_PRONOUNS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|those|these|one|ones|same|former|latter|"
    r"er|ihn|ihm|ihr|sie|dessen|deren|dort|damals|il|elle|ils|elles|leur|leurs|celui|celle|él|ella|ellos|ellas|allí)\b"
    r"|\b(?:this|that)(?=\s*(?:[?.!,]|$|(?:is|was|does|did|has|had|will|can|cost|mean|happen)\b))"
    r"|\b(?:is|was|does|did|about|of|like|after|before|for|with) (?:this|that)(?=\s*[?.!,]|$|\s+\w+\s*\?)"
    r"|(?<!is )(?<!are )(?<!was )(?<!were )\bthere(?=\s*[?.!,]|\s*$)"
    r"|(?:それ|これ|あれ|そこ|彼|彼女|その)",
    re.IGNORECASE,
)
_EMPTY_IT = re.compile(
    r"\b(?:is|was|it's) it (?:allowed|possible|necessary|permitted|forbidden|safe|true|raining|dark|cold)\b"
    r"|\bdoes it take to\b|\bis it that\b|\bwhat time is it\b",
    re.IGNORECASE,
)
_OWN_ANTECEDENT = re.compile(r"\b(?:its|their|his|her)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b(?:he|him|his|she|her|hers|they|them|their)\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|must|may|might|ist|sind|war|waren|"
    r"hat|haben|wird|kann|est|sont|était|ont|es|son|está|están|hay|tiene)\b",
    re.IGNORECASE,
)
_HANDED_DOWN = re.compile(r"\(([^()]*)\)$")
_MAX_ADDED_WORDS = 6
_SHORT = 1  # a question with so few words that say something leaves the rest unsaid


def is_follow_up(question: str) -> bool:
    """Whether a question can't be understood alone: it points back, goes on with "and", or leaves its subject out."""
    if _BEGINS_LIKE_A_FOLLOW_UP.match(question):
        return True
    plain = _EMPTY_IT.sub("", question)
    pronoun = _PRONOUNS.search(plain)
    if pronoun and not (_OWN_ANTECEDENT.fullmatch(pronoun[0]) and content_stems(plain[: pronoun.start()])):
        return True
    return len(content_stems(plain)) <= _SHORT and not NAME.search(question) and not _VERB.search(question)


def rewrite_follow_up(question: str, history: Sequence[Turn]) -> str | None:
    """A follow-up with the words that it leaves out, in parentheses behind it; None for a question of its own.

    The words are those of the question before it and, where it points to a person, the names in the answer.
    """
    if not history or not is_follow_up(question):
        return None
    last = history[-1]
    subject = _added_words(question, last)
    return f"{question.strip()} ({', '.join(subject)})" if subject else None


def keep_evidence(
    question: str, passages: Sequence[SearchResult], history: Sequence[Turn], limit: int
) -> list[SearchResult]:
    """The passages that were found for a follow-up, and those that the turn before cites.

    The old ones come last, or first if the follow-up says nothing by itself, as "yes" doesn't.
    """
    kept = list(history[-1].evidence[:limit]) if history else []
    ids = {result.chunk.id for result in kept}
    if not content_stems(_BEGINS_LIKE_A_FOLLOW_UP.sub(" ", question)):
        return [*kept, *(result for result in passages if result.chunk.id not in ids)]
    found = {result.chunk.id for result in passages}
    return [*passages, *(result for result in kept if result.chunk.id not in found)]


def _added_words(question: str, last: Turn) -> list[str]:
    """The subject of the last question, which may have been handed down to it, and names of the answer."""
    asked = set(content_stems(question))
    known = NAME.findall(without_marks(last.answer)) if _PERSON.search(question) else []
    handed_down = _HANDED_DOWN.search(last.question)
    before = re.findall(r"[\w'’-]+", handed_down[1] if handed_down else last.question)
    subject = [word for word in before if set(content_stems(word)) - WEAK_STEMS]
    return [word for word in dict.fromkeys([*subject, *known[:2]]) if set(content_stems(word)) - asked][
        :_MAX_ADDED_WORDS
    ]
