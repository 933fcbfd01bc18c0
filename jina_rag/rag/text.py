"""Text from strangers, made safe to show and to pass on."""

import unicodedata


def remove_invisible(text: str) -> str:
    """`text` without what a reader doesn't see and a machine obeys: control codes, direction marks, tag characters.

    Line feeds and tabs stay, and so do the joiners that some scripts and emoji are written with.
    """
    return "".join(
        character
        for character in text
        if character in "\n\t\u200c\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
