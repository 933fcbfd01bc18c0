"""Text from strangers, made safe to show and to pass on."""

import re
import unicodedata

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks by their category, and nothing on the page
_SMUGGLED = re.compile(
    "(?<=[\u200c\u200d])[\u200c\u200d]+"
    "|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+"
    "|(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]+"
)
"""Joiners and variation selectors where no script has them: several in a row, or of Chinese characters elsewhere."""


_LIVE_MARKDOWN = re.compile(r"[\\<]|\](?=[(\[:])|`(?=``)|~(?=~~)")
"""Backslashes, what begins a tag, what makes a link, an image or a link's definition, and what begins a code block."""


def inert_markdown(text: str) -> str:
    """`text` as a block of Markdown without what a viewer would load, run or link to; emphasis, lists and code stay."""
    return _LIVE_MARKDOWN.sub(r"\\\g<0>", remove_invisible(text))


def remove_invisible(text: str) -> str:
    """`text` without what a reader doesn't see and a machine obeys: control codes, direction marks, tag characters.

    Line feeds and tabs stay, and so do the joiners and variation selectors that some scripts and emoji are written
    with; not those that only hide a message.
    """
    if text.isascii() and text.isprintable():
        return text
    seen = "".join(
        character
        for character in text
        if character in "\n\t\u200c\u200d"
        or (character not in _BLANK and unicodedata.category(character) not in ("Cc", "Cf", "Cs"))
    )
    return _SMUGGLED.sub("", seen)
