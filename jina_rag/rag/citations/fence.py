"""Passages as a language model sees them: cleaned, between tags, never an instruction."""

import re
import secrets

from jina_rag.rag.text.cleaning import remove_invisible

TAG = f"passage-{secrets.token_hex(4)}"
"""What the tags around a passage are called: random, so that no document can foresee and close them, and one for all of
this process, so that prompts which begin alike are read once."""

_TAG_LIKE = re.compile(r"[<＜﹤](?=[/|!?\w＿])|(?<=[\w/|\"'])[>＞﹥]")
_MARK_LIKE = re.compile(r"([\[［【])(?=/?[A-Z_]+[\]］】]|[\^\d][\d\s,;–†:L-]*[\]］】])([^\]］】]*)[\]］】]")


def fenced(text: str) -> str:
    """A text between the tags, once `as_data` has cleaned what documents say in it."""
    return f"<{TAG}>\n{text}\n</{TAG}>"


def as_data(text: str) -> str:
    """A document's text as a language model may see it: nothing invisible, no tags, no marks that would cite.

    Brackets that a template, a fence or a citation could be made of are put in other, similar signs.
    """
    text = _MARK_LIKE.sub(r"(\2)", remove_invisible(text))
    return _TAG_LIKE.sub(lambda sign: "‹" if sign[0] in "<＜﹤" else "›", text)
