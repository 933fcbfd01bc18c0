"""`verify`: whether a model's file is the right one, and whether this machine's build computes what its authors do.

The file's header is compared with what is known of the model, and the example of the model's card is embedded and
compared with the published similarities.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from jina_rag.agreement import AGREEMENT, vectors_agree
from jina_rag.backends.remote.address import engine_of
from jina_rag.embedder import Embedder
from jina_rag.errors import JinaRagError, MissingDependencyError, UnknownBackendError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.locations import file_sha256
from jina_rag.models import BUNDLED_MODEL, ModelSpec, Pooling, Prompts

Outcome: TypeAlias = Literal["right", "wrong", "unknown"]

SECOND_ENGINE = "sentence-transformers"
"""What the vectors are compared with where it is installed."""

_QUERY = "Which planet is known as the Red Planet?"
_DOCUMENTS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)

_POOLING_TYPES: dict[object, str] = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}  # llama.cpp's numbers

_EXACT = 0.01
_TOLERANCES = {"Q6": 0.015, "Q5": 0.02, "Q4": 0.03, "IQ4": 0.03, "Q3": 0.04, "Q2": 0.08, "IQ2": 0.08, "IQ1": 0.2}
"""How far a similarity may be from the published one, by the first letters of the quantisation; F16, Q8_0 and the like
have `_EXACT`. Files of all-MiniLM-L6-v2 are off by 0.001 (F16), 0.004 (Q8_0), 0.005 (Q6_K), 0.008 (Q5_K_M), 0.017
(Q4_0), 0.016 (Q3_K_M) and 0.023 (Q2_K) at most; for smaller types it is a guess."""

_SAME_WEIGHTS = ("F32", "F16", "BF16")
_LEAST_OF_BATCHES = 0.999
"""Quantised weights have the activations quantised by batch: cosines of 0.9993 and more in Q4_K_M."""


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """What is known of a model beside its row.

    Attributes:
        similarities: Of the example's question with each of its four passages, as published.
        prompts: What the model was trained to read before a text.
        architecture: llama.cpp's name for the network.
        pooling: What the header should say.
        adds_closing_token: Whether the header should say that texts end with a special token; None if unknown, or if
            the tokenizer's kind decides it.
        rope_base: Base of the rotary position embedding; None for a model without one.
        vocabulary_size: Tokens.
        vocabulary_sha256: Of the vocabulary as it is in the file, each token behind its length; None if unknown.
        source: Where the similarities come from.
    """

    similarities: tuple[float, ...]
    prompts: Prompts
    architecture: str
    pooling: Pooling
    adds_closing_token: bool | None = None
    rope_base: float | None = None
    vocabulary_size: int
    vocabulary_sha256: str | None = None
    source: str


_JINA_PROMPTS = Prompts(query="Query: ", document="Document: ")
_JINA_SOURCE = "the model's card and sentence-transformers' tests, bfloat16"

REFERENCES: Mapping[str, ModelReference] = {
    "jina-embeddings-v5-text-small-retrieval": ModelReference(
        similarities=(0.4860, 0.7611, 0.5914, 0.6188),
        prompts=_JINA_PROMPTS,
        architecture="qwen3",
        pooling="last",
        rope_base=3_500_000,
        vocabulary_size=151_936,
        source=_JINA_SOURCE,
    ),
    "jina-embeddings-v5-text-nano-retrieval": ModelReference(
        similarities=(0.50306, 0.79173, 0.61259, 0.57484),
        prompts=_JINA_PROMPTS,
        architecture="eurobert",
        pooling="last",
        adds_closing_token=True,
        rope_base=1_000_000,
        vocabulary_size=128_256,
        source=_JINA_SOURCE,
    ),
    BUNDLED_MODEL: ModelReference(
        similarities=(0.46371, 0.81205, 0.72828, 0.75051),
        prompts=Prompts(),
        architecture="bert",
        pooling="mean",
        vocabulary_size=30_522,
        vocabulary_sha256="5f10edc0a7d6d14d0b7381d5863c43fbb337bbaa74345bd46b618fcd1e727884",
        source="sentence-transformers' tests, bfloat16",
    ),
}
"""By the name of the model's row. Source: sentence-transformers, tests/sentence_transformer/test_pretrained.py."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: What it is.
        outcome: Whether it is right; "unknown" where nothing is published, or nothing can be said.
        detail: What was found, and for something wrong what that means.
    """

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Verification:
    """What was found out about a file and this machine.

    Attributes:
        path: The file.
        model: Name of the row that it was compared with.
        quantization: How its weights are stored.
        checks: In order.
        vocabulary_sha256: Of the vocabulary as it is in the file.
        similarities: Of the example, as computed here; empty if it could not be.
    """

    path: str
    model: str
    quantization: str
    checks: tuple[Check, ...] = field(default=())
    vocabulary_sha256: str = ""
    similarities: tuple[float, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Wrong if anything is, right if the published similarities were met."""
        outcomes = {check.name: check.outcome for check in self.checks}
        if "wrong" in outcomes.values():
            return "wrong"
        return outcomes.get("similarities", "unknown")


def verify(
    path: Path, spec: ModelSpec, *, reference: ModelReference | None = None, backend: str | None = None
) -> Verification:
    """Check a file against the row of its model, and this machine's build against what is published.

    Args:
        path: The GGUF file.
        spec: The row.
        reference: What is known of the model; None takes it from `REFERENCES`, if it is there.
        backend: The engine, as for `Embedder.from_file`.

    Raises:
        UnknownBackendError: `backend` names no engine that runs files.
        MissingDependencyError: what it needs is not installed.
        ModelNotFoundError, ModelLoadError: it is no whole GGUF file.
    """
    header = read_gguf_header(path)
    reference = reference or REFERENCES.get(spec.name)
    vocabulary = _sha256_of(path, header.vocabulary_bytes)
    checks = [_checksum(path, spec, header.quantization)]
    if reference:
        checks += _header_checks(header, spec, reference, vocabulary)
    similarities: tuple[float, ...] = ()
    try:
        with Embedder.from_file(path, spec, backend=backend) as embedder:
            similarities = _example(embedder)
            if reference:
                checks.append(_similarity_check(similarities, reference, header.quantization))
            else:
                checks.append(Check("similarities", "unknown", "None are published for this model."))
            checks += [_batching(embedder), *_second_engine(embedder, spec, header.quantization)]
    except (UnknownBackendError, MissingDependencyError):  # say nothing about the file
        raise
    except JinaRagError as error:
        checks.append(Check("loading", "wrong", str(error)))
    return Verification(str(path), spec.name, header.quantization, tuple(checks), vocabulary, similarities)


def _checksum(path: Path, spec: ModelSpec, quantization: str) -> Check:
    found = file_sha256(path)
    published = {file.sha256: file.quantization for file in spec.files if file.sha256}
    if found in published:
        return Check("checksum", "right", f"SHA-256 {found}, as published for {published[found]}.")
    stated = next((file.sha256 for file in spec.files if file.quantization == quantization), None)
    if stated and path.name in {file.filename for file in spec.files}:
        return Check("checksum", "wrong", f"SHA-256 {found}, published is {stated}: download the file again.")
    return Check("checksum", "unknown", f"SHA-256 {found}; none is published for this file.")


def _header_checks(header: GgufHeader, spec: ModelSpec, reference: ModelReference, vocabulary: str) -> Iterator[Check]:
    metadata, prefix = header.metadata, header.architecture
    yield _equal("architecture", prefix, reference.architecture, "This is another model.")
    pooling = metadata.get(f"{prefix}.pooling_type")
    yield _equal(
        "pooling",
        None if pooling is None else _POOLING_TYPES.get(pooling, str(pooling)),
        reference.pooling,
        "Programs that trust the header give other vectors.",
        unstated="The header doesn't say; it is passed explicitly here, and other programs may take another.",
    )
    if reference.adds_closing_token is not None:
        yield _equal(
            "closing token",
            bool(metadata.get("tokenizer.ggml.add_eos_token", False)),
            reference.adds_closing_token,
            "Texts must end with it, and programs that trust the header leave it out."
            if reference.adds_closing_token
            else "The model was trained without one.",
        )
    if reference.rope_base is not None:
        meaning = "Positions are computed in another way, which shows most in long texts."
        yield _equal("rope base", metadata.get(f"{prefix}.rope.freq_base"), reference.rope_base, meaning)
    yield _vocabulary(header, reference, vocabulary)
    for kind in ("query", "document"):
        yield _equal(
            f"{kind} prompt",
            spec.prompts[kind],
            reference.prompts[kind],
            f"Register the row of {spec.name} with the prompt of the model's card.",
        )


def _equal(name: str, found: object, wanted: object, meaning: str, unstated: str = "") -> Check:
    if found is None and unstated:
        return Check(name, "unknown", unstated)
    if found == wanted:
        return Check(name, "right", _shown(found))
    return Check(name, "wrong", f"{_shown(found)}, and the model has {_shown(wanted)}. {meaning}")


def _vocabulary(header: GgufHeader, reference: ModelReference, found: str) -> Check:
    wanted = reference.vocabulary_sha256
    here = f"{header.vocabulary_size:,} tokens, SHA-256 {found}"
    if header.vocabulary_size != reference.vocabulary_size or (wanted and found != wanted):
        known = f"{reference.vocabulary_size:,} tokens" + (f", SHA-256 {wanted}" if wanted else "")
        return Check("vocabulary", "wrong", f"{here}, and the model has {known}: it reads other words than the text's.")
    if wanted:
        return Check("vocabulary", "right", here)
    return Check("vocabulary", "unknown", f"{here}. The number is right; no hash is published.")


def _similarity_check(found: tuple[float, ...], reference: ModelReference, quantization: str) -> Check:
    tolerance = tolerance_of(quantization)
    farthest = max(abs(one - other) for one, other in zip(found, reference.similarities, strict=True))
    shown = ", ".join(f"{value:.4f}" for value in found)
    published = ", ".join(f"{value:.4f}" for value in reference.similarities)
    detail = f"{shown}; published ({reference.source}): {published}. Off by {farthest:.4f} at most, {tolerance} may be."
    if farthest <= tolerance:
        return Check("similarities", "right", detail)
    return Check("similarities", "wrong", f"{detail} These are not the model's vectors: do not use this file or build.")


def tolerance_of(quantization: str) -> float:
    """How far a similarity of the example may be from the published one."""
    kind = quantization.partition("_")[0]
    return _TOLERANCES.get(kind, _TOLERANCES["IQ1"] if kind.startswith(("IQ3", "TQ")) else _EXACT)


def _example(embedder: Embedder) -> tuple[float, ...]:
    similarities = embedder.similarity(embedder.embed_query(_QUERY), embedder.embed_documents(_DOCUMENTS))
    return tuple(map(float, similarities))


def _batching(embedder: Embedder) -> Check:
    """A build whose vectors depend on what is computed beside them is wrong; some servers' are."""
    together = embedder.embed_documents(_DOCUMENTS)
    alone = np.vstack([embedder.embed_documents([text]) for text in _DOCUMENTS])
    least = AGREEMENT if embedder.quantization in _SAME_WEIGHTS else _LEAST_OF_BATCHES
    return _cosine_check("batches", float(np.sum(together * alone, axis=1).min()), least, "texts together and alone")


def _second_engine(embedder: Embedder, spec: ModelSpec, quantization: str) -> Iterator[Check]:
    if find_spec(SECOND_ENGINE.replace("-", "_")) is None:
        return
    try:
        with Embedder.from_pretrained(spec.name, backend=SECOND_ENGINE) as other:
            cosine = vectors_agree(embedder, other)
    except JinaRagError as error:
        yield Check(SECOND_ENGINE, "unknown", f"It can't run this model: {error}")
        return
    # Q4_0 of all-MiniLM-L6-v2 has a mean of 0.97; what is smaller is only told from another model.
    quantised = 0.95 if tolerance_of(quantization) <= _TOLERANCES["Q4"] else 0.8
    exact = quantization in _SAME_WEIGHTS and engine_of(embedder.fingerprint.weights) != "onnx?precision=int8"
    least = AGREEMENT if exact else quantised
    yield _cosine_check(SECOND_ENGINE, cosine, least, "its vectors and these")


def _cosine_check(name: str, cosine: float, least: float, what: str) -> Check:
    outcome: Outcome = "right" if cosine >= least else "wrong"
    return Check(name, outcome, f"Lowest cosine of {what}: {cosine:.5f}; {least} is needed.")


def _sha256_of(path: Path, part: range) -> str:
    with path.open("rb") as file:
        file.seek(part.start)
        return hashlib.sha256(file.read(len(part))).hexdigest()


def _shown(value: object) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if isinstance(value, int | float) else repr(value)
