"""What readers of office documents leave out, counted by its kind, and the sentences that say so."""

from collections import Counter
from typing import Literal

from jina_rag.rag.documents.types import SourceFile

Loss = Literal["deletion", "hidden", "macros", "picture", "media", "object", "ink", "symbol", "format", "field", "part"]

_SENTENCES: dict[Loss, tuple[str, str]] = {
    "deletion": ("1 tracked deletion was left out.", "{:,} tracked deletions were left out."),
    "hidden": ("1 stretch of hidden text was left out.", "{:,} stretches of hidden text were left out."),
    "macros": ("Its macros were neither run nor read.",) * 2,
    "picture": (
        "1 picture without a description was left out.",
        "{:,} pictures without a description were left out.",
    ),
    "media": ("1 sound or film was left out.", "{:,} sounds and films were left out."),
    "object": ("1 embedded object was left out.", "{:,} embedded objects were left out."),
    "ink": ("1 handwritten drawing was left out.", "{:,} handwritten drawings were left out."),
    "symbol": (
        "1 character of a symbol font has no meaning in text and was written as �.",
        "{:,} characters of a symbol font have no meaning in text and were written as �.",
    ),
    "format": (
        "1 automatic number of an uncommon format was written in digits.",
        "{:,} automatic numbers of an uncommon format were written in digits.",
    ),
    "field": ("1 form field was left out.", "{:,} form fields were left out."),
    "part": (
        "1 part that the file refers to is missing in it.",
        "{:,} parts that the file refers to are missing in it.",
    ),
}


class Losses(Counter[Loss]):
    """How many things of each kind were left out or changed."""

    def write_notes(self, file: SourceFile) -> None:
        """Add a sentence for each kind to the notes of the file."""
        file.notes.extend(_SENTENCES[kind][number > 1].format(number) for kind, number in self.items() if number)
