"""What an index must remember about the vectors in it, so that it is never searched with others.

Two models can give vectors of the same width that mean nothing to each other, and so can one model with another
prompt or another quantisation. Width alone is therefore no proof; a fingerprint holds all that changes a vector.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields

from jina_rag.errors import FingerprintMismatchError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Everything that a vector depends on, besides the text.

    Where `weights` is the SHA-256 of a file, it says which model this is, and `model` and `quantization` only how that
    was called. An engine that knows no checksum is distinguished from others by all three.

    Attributes:
        model: Name of the model's row.
        quantization: How its weights are stored; empty where the engine doesn't say.
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
        """Sixteen hexadecimal digits that differ whenever the vectors may: for cache keys and namespaces."""
        names = {} if _SHA256.fullmatch(self.weights) else {"model": self.model, "quantization": self.quantization}
        deciding = {
            "weights": self.weights,
            "dimensions": self.dimensions,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
            "pooling": self.pooling,
        }
        return hashlib.sha256(json.dumps(deciding | names, sort_keys=True).encode()).hexdigest()[:16]

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
            fingerprint = cls(**json.loads(text))
            for field in fields(cls):
                if type(getattr(fingerprint, field.name)) is not field.type:
                    raise TypeError(f"{field.name} is {getattr(fingerprint, field.name)!r}")
        except (TypeError, ValueError, RecursionError) as error:
            raise FingerprintMismatchError(
                f"The stored fingerprint cannot be read ({error}). Rebuild the index from its documents."
            ) from error
        return fingerprint

    def check(self, stored: "Fingerprint", *, where: str, remedy: str) -> None:
        """Refuse to go on unless the index holds the same model's vectors, by `digest`.

        Args:
            stored: What the index remembers.
            where: Names the index in the message.
            remedy: What to do about it, one sentence.

        Raises:
            FingerprintMismatchError: a field differs; the message names each that does, then `remedy`.
        """
        if self.digest == stored.digest:
            return
        differences = [
            f"{field.name} {getattr(stored, field.name)!r} there and {getattr(self, field.name)!r} here"
            for field in fields(self)
            if getattr(stored, field.name) != getattr(self, field.name)
        ]
        raise FingerprintMismatchError(
            f"{where} holds vectors that can't be compared with this model's: {'; '.join(differences)}. {remedy}"
        )
