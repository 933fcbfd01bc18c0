"""Engines by name or address."""

from pathlib import Path
from typing import TYPE_CHECKING

from jina_rag.backends.llama_cpp.backend import LlamaCppBackend
from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.backends.remote.address import FILE_ENGINES, BackendAddress, Kind, Precision, parse_backend
from jina_rag.backends.remote.backend import EngineMaker, RemoteBackend
from jina_rag.backends.remote.elastic import ElasticEngine
from jina_rag.backends.remote.engine import Engine, find_model
from jina_rag.backends.remote.http import FIRST_ANSWER_TIMEOUT_S, HttpConnection
from jina_rag.backends.remote.jina_api import connect_jina
from jina_rag.backends.remote.openai import connect_openai, list_models
from jina_rag.backends.remote.tei import ask_info, connect_tei
from jina_rag.errors import BackendError, UnknownBackendError
from jina_rag.models import DEFAULT_MODEL, ModelSpec, get_model_spec

if TYPE_CHECKING:
    from jina_rag.backends.sentence_transformers import SentenceTransformersBackend


def make_backend(setting: str | BackendAddress, spec: ModelSpec) -> "RemoteBackend | SentenceTransformersBackend":
    """The engine that a setting names; it is reached, or its model loaded, at the first use.

    Args:
        setting: As `jina_rag.backends.remote.address` describes it.
        spec: The row of the model that it should run.

    Raises:
        BackendError: the setting names no engine.
    """
    address = parse_backend(setting) if isinstance(setting, str) else setting
    if address.kind in FILE_ENGINES:
        raise BackendError(
            f"{address} runs a file: use Embedder.from_pretrained or from_file with backend='{address}'."
        )
    if address.kind == "sentence-transformers":
        from jina_rag.backends.sentence_transformers import SentenceTransformersBackend

        return SentenceTransformersBackend(address, spec)
    return RemoteBackend(address, spec, _CONNECT[address.kind])


def make_file_backend(setting: str, path: Path, spec: ModelSpec) -> GgufBackend:
    """The engine that a setting names, with a GGUF file; it is loaded at the first use.

    Args:
        setting: "llama.cpp", "onnx" or "auto", and its settings.
        path: The file.
        spec: The model's row.

    Raises:
        UnknownBackendError: the setting names no engine, or one that runs no file.
        ModelNotFoundError, ModelLoadError: it is "auto", and there is no whole GGUF file.
    """
    address = parse_backend(setting)
    if address.kind not in FILE_ENGINES:
        raise UnknownBackendError(
            f"{address} runs no GGUF file of this machine. Leave out the file, or write llama.cpp, onnx or auto."
        )
    precision: Precision | None = address.precision
    if address.kind == "auto":
        from jina_rag.backends.onnx.probe import choose_precision

        precision = choose_precision(path, address.threads)
    if address.kind == "llama.cpp" or precision is None:
        options = LlamaCppOptions(n_threads=address.threads or None)
        return LlamaCppBackend(path, pooling=spec.pooling, options=options, closing_token=spec.closing_token)
    from jina_rag.backends.onnx.backend import OnnxBackend

    return OnnxBackend(
        path,
        pooling=spec.pooling,
        precision=precision,
        n_threads=address.threads,
        device=address.device,
        closing_token=spec.closing_token,
        weights=address.weights,
    )


def served_model(setting: str) -> ModelSpec:
    """The row of the model that an engine holds, for users who leave the choice to it.

    Those that take any model get the default one.

    Raises:
        BackendUnavailableError: the server does not answer.
        BackendError: it holds none that is known here, or several.
    """
    address = parse_backend(setting)
    if address.kind in ("jina", "sentence-transformers", *FILE_ENGINES):
        return get_model_spec(DEFAULT_MODEL)
    names = [address.model] if address.model else _list_names(address)
    found = {spec.name: spec for name in names if (spec := find_model(name)) is not None}
    if len(found) != 1:
        held = ", ".join(names[:10]) or "models that it does not list"
        raise BackendError(
            f"{address} holds {held}, which doesn't tell which model to use. Name it: model='{DEFAULT_MODEL}', say."
        )
    return next(iter(found.values()))


def connect_any(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine for whatever answers at an address. Raises as `connect_openai` and `connect_tei` do."""
    http = HttpConnection(address, n_connections=1)
    try:
        info = ask_info(http)
    finally:
        http.close()
    # Ours answers in both ways, and says more in OpenAI's.
    return connect_tei(address, spec) if info is not None and "jina_rag" not in info else connect_openai(address, spec)


_CONNECT: dict[Kind, EngineMaker] = {
    "http": connect_any,
    "openai": connect_openai,
    "tei": connect_tei,
    "elastic": ElasticEngine,
    "jina": connect_jina,
}


def _list_names(address: BackendAddress) -> list[str]:
    if address.kind == "elastic":
        return []
    http = HttpConnection(address, n_connections=1)
    try:
        if address.kind != "openai" and (info := ask_info(http)) is not None:
            return [str(info["model_id"])]
        return (
            []
            if address.kind == "tei"
            else [str(row["id"]) for row in list_models(http, address, at_most_s=FIRST_ANSWER_TIMEOUT_S)]
        )
    finally:
        http.close()
