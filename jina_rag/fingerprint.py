"""What an index must remember about the vectors in it, so that it is never searched with others.

Two models can give vectors of the same width that mean nothing to each other, and so can one model with another
prompt or another quantisation. Width alone is therefore no proof; a fingerprint holds all that changes a vector.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from jina_rag.errors import FingerprintMismatchError


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Everything that a vector depends on, besides the text.

    Attributes:
        model: Name of the model's row.
        quantization: How its weights were stored; empty where the engine doesn't say.
        weights: The engine's identity, usually the SHA-256 of the file.
        dimensions: Width of the vectors, after cutting.
        query_prompt: What went before each query.
        document_prompt: What went before each document.
        pooling: Which token's state became the vector.
    """

    model: str
    quantization: str
    weights: str
    dimensions: int
    query_prompt: str
    document_prompt: str
    pooling: str

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ whenever a field does: for cache keys and namespaces."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Fingerprint":
        """The fingerprint that `to_json` wrote.

        Raises:
            FingerprintMismatchError: the text is not one, so nothing is known about the vectors beside it.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise FingerprintMismatchError(
                f"The stored fingerprint cannot be read ({error}). Rebuild the index from its documents."
            ) from error

    def check(self, stored: "Fingerprint", *, where: str, remedy: str) -> None:
        """Refuse to go on unless the index was built exactly so.

        Args:
            stored: What the index remembers.
            where: Names the index in the message.
            remedy: What to do about it, one sentence.

        Raises:
            FingerprintMismatchError: a field differs; the message names each that does, then `remedy`.
        """
        differences = [
            f"{field.name} {getattr(stored, field.name)!r} there and {getattr(self, field.name)!r} here"
            for field in fields(self)
            if getattr(stored, field.name) != getattr(self, field.name)
        ]
        if differences:
            raise FingerprintMismatchError(
                f"{where} holds vectors that can't be compared with this model's: {'; '.join(differences)}. {remedy}"
            )
