"""Chat models to answer with and rerankers, each a row of data as the embedding models are.

Sizes and checksums are those of the files at the commits named here; where a row has none, the hub's own record is
taken at the download. Licences and contexts are from the model cards.

A file that JINA_RAG_MODELS names may add rows: tables `[[models]]` with `kind = "chat"` or `"reranker"`, the fields of
`DownloadableModel`, and `path`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from jina_rag.errors import UnknownModelError
from jina_rag.models import (
    DownloadableModel,
    ModelFile,
    ModelKind,
    Row,
    base_name,
    explained_models_file,
    list_models,
    parse_quantization,
    row_values,
    with_file,
)


@dataclass(frozen=True, kw_only=True)
class ChatModelSpec(DownloadableModel):
    """A chat model in a GGUF file, whose chat template is in the file."""

    kind: ClassVar[ModelKind] = "chat"

    @property
    def file_usage(self) -> str:
        """How a file of the user's own takes the place of this model, for messages."""
        return "--llm PATH.gguf"


@dataclass(frozen=True, kw_only=True)
class RerankerSpec(DownloadableModel):
    """A reranking model in a GGUF file that has a layer to score with."""

    kind: ClassVar[ModelKind] = "reranker"

    @property
    def file_usage(self) -> str:
        """How a file of the user's own takes the place of this model, for messages."""
        return "--reranker PATH.gguf"


CHAT_MODELS: tuple[ChatModelSpec, ...] = (
    ChatModelSpec(
        name="Qwen3.5-4B",
        max_input_tokens=262_144,
        license="Apache-2.0",
        files=(
            ModelFile(
                quantization="Q4_K_M",
                filename="Qwen3.5-4B-Q4_K_M.gguf",
                size_bytes=2_740_937_888,
                sha256="00fe7986ff5f6b463e62455821146049db6f9313603938a70800d1fb69ef11a4",
            ),
        ),
        default_quantization="Q4_K_M",
        repo_id="unsloth/Qwen3.5-4B-GGUF",
        revision="e87f176479d0855a907a41277aca2f8ee7a09523",
        aliases=("unsloth/Qwen3.5-4B-GGUF", "Qwen/Qwen3.5-4B"),
    ),
    ChatModelSpec(
        name="Qwen3.5-2B",
        max_input_tokens=262_144,
        license="Apache-2.0",
        files=(
            ModelFile(
                quantization="Q4_K_M",
                filename="Qwen3.5-2B-Q4_K_M.gguf",
                size_bytes=1_280_835_840,
                sha256="aaf42c8b7c3cab2bf3d69c355048d4a0ee9973d48f16c731c0520ee914699223",
            ),
        ),
        default_quantization="Q4_K_M",
        repo_id="unsloth/Qwen3.5-2B-GGUF",
        revision="f6d5376be1edb4d416d56da11e5397a961aca8ae",
        aliases=("unsloth/Qwen3.5-2B-GGUF", "Qwen/Qwen3.5-2B"),
    ),
)
"""The better one first."""

RERANKERS: tuple[RerankerSpec, ...] = (
    RerankerSpec(
        name="bge-reranker-v2-m3",
        max_input_tokens=8_192,
        license="Apache-2.0",
        files=(
            ModelFile(
                quantization="Q8_0",
                filename="bge-reranker-v2-m3-Q8_0.gguf",
                size_bytes=635_676_416,
                sha256="a43c7c9b11a4c1517e5bf95151960e1621d1b72f7a493364b01e386cf1aaa1d3",
            ),
        ),
        default_quantization="Q8_0",
        repo_id="gpustack/bge-reranker-v2-m3-GGUF",
        revision="3093af03b1a635e67b084b1d8c03c5f5e020fd05",
        aliases=("gpustack/bge-reranker-v2-m3-GGUF", "BAAI/bge-reranker-v2-m3"),
    ),
    RerankerSpec(
        name="Qwen3-Reranker-0.6B",
        max_input_tokens=32_768,
        license="Apache-2.0",
        files=(
            ModelFile(  # many other conversions lack the layer that scores (cls.output.weight): llama.cpp#16407
                quantization="Q8_0",
                filename="qwen3-reranker-0.6b-q8_0.gguf",
                size_bytes=639_153_184,
                sha256="22c9979ce4fbcdc5acdc310c6641c32797eff1aa980b8f7a2db8a8ea23429a48",
            ),
        ),
        default_quantization="Q8_0",
        repo_id="ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF",
        revision="a02f48bb4f057028298c21fa033da2b30d7742d5",
        aliases=("ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF", "Qwen/Qwen3-Reranker-0.6B"),
    ),
    RerankerSpec(
        name="jina-reranker-v1-tiny-en",
        max_input_tokens=8_192,
        license="Apache-2.0",
        files=(
            ModelFile(
                quantization="Q8_0",
                filename="jina-reranker-v1-tiny-en-Q8_0.gguf",
                sha256="0defc1f8a1f4dd22183124a2a25a97765603e5a9e42258046c9b2c8a26d1f553",
            ),
        ),
        default_quantization="Q8_0",
        repo_id="gpustack/jina-reranker-v1-tiny-en-GGUF",
        revision="34fdafe5a08b64246bcbfdbf0b8a23f818baf8e3",
        aliases=("gpustack/jina-reranker-v1-tiny-en-GGUF", "jinaai/jina-reranker-v1-tiny-en"),
    ),
    RerankerSpec(
        name="jina-reranker-v1-turbo-en",
        max_input_tokens=8_192,
        license="Apache-2.0",
        files=(
            ModelFile(
                quantization="Q8_0",
                filename="jina-reranker-v1-turbo-en-Q8_0.gguf",
                size_bytes=41_719_968,
                sha256="6633027dd42a9490313504ce698dcd8bbd44f8694e58ab555e2d06d8535f4f86",
            ),
        ),
        default_quantization="Q8_0",
        repo_id="gpustack/jina-reranker-v1-turbo-en-GGUF",
        revision="93961807ed915fd207f20e76112427dae4abef22",
        aliases=("gpustack/jina-reranker-v1-turbo-en-GGUF", "jinaai/jina-reranker-v1-turbo-en"),
    ),
    RerankerSpec(
        name="jina-reranker-v2-base-multilingual",
        max_input_tokens=1_024,
        license="CC-BY-NC-4.0",
        license_notice=(
            "The weights of jina-reranker-v2-base-multilingual are under CC-BY-NC-4.0: free for non-commercial use "
            "only (https://creativecommons.org/licenses/by-nc/4.0/)."
        ),
        files=(
            ModelFile(
                quantization="Q8_0",
                filename="jina-reranker-v2-base-multilingual-Q8_0.gguf",
                size_bytes=305_339_552,
            ),
        ),
        default_quantization="Q8_0",
        repo_id="gpustack/jina-reranker-v2-base-multilingual-GGUF",
        revision="09a0e5b9f3d193a4f1e771ba6ceccdf1153d3a9a",
        aliases=("gpustack/jina-reranker-v2-base-multilingual-GGUF", "jinaai/jina-reranker-v2-base-multilingual"),
    ),
)


def list_chat_models() -> tuple[ChatModelSpec, ...]:
    """All rows of chat models, the user's own last."""
    return CHAT_MODELS + tuple(row for row in _own_rows() if isinstance(row, ChatModelSpec))


def list_rerankers() -> tuple[RerankerSpec, ...]:
    """All rows of rerankers, the user's own last."""
    return RERANKERS + tuple(row for row in _own_rows() if isinstance(row, RerankerSpec))


def list_all_models() -> tuple[DownloadableModel, ...]:
    """The rows of every kind: embedding models, chat models, rerankers."""
    return (*list_models(), *list_chat_models(), *list_rerankers())


def find_row(name: str, rows: Sequence[Row]) -> tuple[Row, str | None] | None:
    """The row and the quantisation that `NAME[:QUANTISATION]` means, None if no row has the name.

    Raises:
        UnknownModelError: the model has no such quantisation.
    """
    row = next((row for row in rows if base_name(name) in row.names), None)
    return None if row is None else (row, parse_quantization(row, name, None))


def parse_any_model_name(name: str, quantization: str | None = None) -> tuple[DownloadableModel, str | None]:
    """As `jina_rag.models.parse_model_name`, for models of every kind.

    Raises:
        UnknownModelError: no such model, it has no such quantisation, or the two name different ones.
    """
    rows = list_all_models()
    if found := find_row(name, rows):
        return found[0], parse_quantization(found[0], name, quantization)
    known = "\n  ".join(row.name for row in rows)
    raise UnknownModelError(f"There is no model {name!r}. Choose one of:\n  {known}")


@cache
def _own_rows() -> tuple[ChatModelSpec | RerankerSpec, ...]:
    kinds: dict[str, type[ChatModelSpec | RerankerSpec]] = {"chat": ChatModelSpec, "reranker": RerankerSpec}
    found: list[ChatModelSpec | RerankerSpec] = []
    with explained_models_file() as rows:
        for row in rows:
            kind, path = row.pop("kind", "embedding"), row.pop("path", None)
            if kind != "embedding":
                spec = kinds[kind](**row_values(row))
                found.append(with_file(spec, path) if path else spec)
    return tuple(found)
