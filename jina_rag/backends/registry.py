"""Engines by name or address."""

from collections.abc import Iterator

from jina_rag.backends.remote.address import BackendAddress, Kind, parse_backend
from jina_rag.backends.remote.backend import DescribedBackend, Engine, EngineMaker, RemoteBackend, known_row
from jina_rag.backends.remote.elastic import connect_elastic
from jina_rag.backends.remote.http import HttpConnection
from jina_rag.backends.remote.jina_api import connect_jina
from jina_rag.backends.remote.openai import connect_openai, served_rows
from jina_rag.backends.remote.tei import ask_info, connect_tei
from jina_rag.errors import BackendError
from jina_rag.models import DEFAULT_MODEL, ModelSpec, get_model_spec


def make_backend(setting: str | BackendAddress, spec: ModelSpec) -> DescribedBackend:
    """The engine that a setting names; it is reached, or its model loaded, at the first need.

    Args:
        setting: As `jina_rag.backends.remote.address` describes it.
        spec: The row of the model that it should run.

    Raises:
        BackendError: the setting names no engine.
    """
    address = parse_backend(setting) if isinstance(setting, str) else setting
    if address.kind == "sentence-transformers":
        from jina_rag.backends.sentence_transformers import SentenceTransformersBackend

        return SentenceTransformersBackend(address, spec)
    return RemoteBackend(address, spec, _CONNECT[address.kind])


def served_model(setting: str) -> ModelSpec:
    """The row of the model that an engine holds, for users who leave the choice to it.

    Raises:
        BackendUnavailableError: the server does not answer.
        BackendError: it holds none that is known here, or several.
    """
    address = parse_backend(setting)
    if address.kind in ("jina", "sentence-transformers"):
        return get_model_spec(DEFAULT_MODEL)
    names = list(_served_names(address))
    rows = {spec.name: spec for name in names if (spec := known_row(name)) is not None}
    if len(rows) != 1:
        held = ", ".join(names[:10]) or "models that it does not list"
        raise BackendError(
            f"{address} holds {held}, which doesn't tell one model. Name it: model='{DEFAULT_MODEL}', say."
        )
    return next(iter(rows.values()))


def connect_any(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine for whatever answers at an address. Raises as `connect_openai` and `connect_tei` do."""
    info = _info(address)
    # Ours answers in both ways, and says more in OpenAI's.
    return connect_tei(address, spec) if info is not None and "jina_rag" not in info else connect_openai(address, spec)


_CONNECT: dict[Kind, EngineMaker] = {
    "http": connect_any,
    "openai": connect_openai,
    "tei": connect_tei,
    "elastic": connect_elastic,
    "jina": connect_jina,
}


def _info(address: BackendAddress) -> dict[str, object] | None:
    """What TEI says of itself, or None from any other server."""
    http = HttpConnection(address.url, address.key, policy=address.retry_policy, n_connections=1)
    try:
        return ask_info(http)
    finally:
        http.close()


def _served_names(address: BackendAddress) -> Iterator[str]:
    if address.model:
        yield address.model
        return
    info = _info(address) if address.kind in ("http", "tei") else None
    if info is not None:
        yield str(info["model_id"])
    elif address.kind in ("http", "openai"):
        yield from (str(row["id"]) for row in served_rows(address))
