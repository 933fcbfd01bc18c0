"""The setting that names an engine: where it is and how to treat it, in one line that can be stored anywhere.

    http://host:8080                        a server, which is asked what it is
    openai+http://host:8080                 one that speaks OpenAI's API: llama-server, vLLM, LocalAI, jina-rag serve
    tei+https://host                        Text Embeddings Inference
    elastic+https://host:9200?endpoint=ID   an inference endpoint of Elasticsearch
    jina                                    Jina's own service
    sentence-transformers                   the model's original weights in this process, with torch

Settings follow a question mark, as in `http://host:8080?model=served-name&concurrency=8`. A key never stands there.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from jina_rag.backends.remote.http import KeySource, RetryPolicy
from jina_rag.errors import UnknownBackendError

BACKEND_VARIABLE = "JINA_RAG_BACKEND"
"""The environment variable that names an engine for the commands, the app and collections opened by name."""

RERANKER_VARIABLE = "JINA_RAG_RERANKER"
"""The one that names a reranking model, in a file or behind such an address, for the commands and the app."""

Kind: TypeAlias = Literal["http", "openai", "tei", "elastic", "jina", "sentence-transformers"]

JINA_URL = "https://api.jina.ai"
_KEY_VARIABLES: dict[str, str] = {"jina": "JINA_API_KEY", "elastic": "ELASTIC_API_KEY"}
_KEY_VARIABLE = "JINA_RAG_API_KEY"

_EXAMPLES = (
    "Write http://host:port, openai+http://host:port, tei+http://host:port, elastic+https://host:port?endpoint=ID, "
    "jina or sentence-transformers."
)


@dataclass(frozen=True, kw_only=True)
class BackendAddress:
    """An engine and its settings. Each field but the first two is a setting that may follow the question mark.

    Attributes:
        kind: Which engine; "http" is asked what it is.
        url: Where it is; empty in this process.
        model: The model's name there, or its folder for sentence-transformers; empty where it can be found out.
        key_env: The environment variable that holds the key; empty for the usual one.
        key_file: A file that holds the key.
        timeout: Seconds to wait for one answer.
        retry_timeout: Seconds in which to try again when the server is away or busy.
        concurrency: Requests on their way at a time.
        weights: The fingerprint's `weights` that these vectors are known to agree with, stated by the user.
        tokenizer: A tokenizer.json, to count with where the server can't.
        endpoint: Elastic's inference endpoint; empty for the one that Elastic sets up for the model.
        create: Make the inference endpoint if it isn't there.
        device: Where torch computes; empty for its own choice.
        dtype: How torch keeps the weights; empty for bfloat16 on a GPU and float32 elsewhere.
        trust_remote_code: Run the code that comes with a model's repository.
    """

    kind: Kind
    url: str = ""
    model: str = ""
    key_env: str = ""
    key_file: str = ""
    timeout: float = 120.0
    retry_timeout: float = 90.0
    concurrency: int = 4
    weights: str = ""
    tokenizer: str = ""
    endpoint: str = ""
    create: bool = False
    device: str = ""
    dtype: str = ""
    trust_remote_code: bool = False

    @property
    def key(self) -> KeySource:
        """Where the key is."""
        variable = self.key_env or _KEY_VARIABLES.get(self.kind, _KEY_VARIABLE)
        return KeySource(variable=variable, file=Path(self.key_file) if self.key_file else None)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to wait."""
        return RetryPolicy(timeout_s=self.timeout, total_s=self.retry_timeout)

    def __str__(self) -> str:
        return self.url or self.kind


_DEFAULTS: dict[str, Any] = {
    item.name: item.default for item in fields(BackendAddress) if item.name not in ("kind", "url")
}
_KINDS: dict[str, Kind] = {"": "http", "openai": "openai", "tei": "tei", "elastic": "elastic", "jina": "jina"}


def parse_backend(setting: str) -> BackendAddress:
    """The address and settings in a line such as `http://host:8080?model=name`.

    Raises:
        UnknownBackendError: it names no engine, has a setting that doesn't exist, or holds a password.
    """
    place, _, query = setting.strip().partition("?")
    return BackendAddress(**_place(place), **_settings(query))


def _place(place: str) -> dict[str, Any]:
    if place == "jina":
        return {"kind": "jina", "url": JINA_URL}
    if place == "sentence-transformers":
        return {"kind": "sentence-transformers"}
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnknownBackendError(f"The engine's address cannot be read ({error}). {_EXAMPLES}") from error
    if parts.username or parts.password:
        raise UnknownBackendError(
            f"The address of {host} holds a password, which would be stored and shown. Put the key into an environment "
            "variable and name that after the address: ?key_env=NAME"
        )
    prefix, _, scheme = parts.scheme.rpartition("+")
    kind = _KINDS.get(prefix)
    if kind is None or scheme not in ("http", "https") or not host or port == 0:
        raise UnknownBackendError(f"{place!r} names no engine. {_EXAMPLES}")
    # Clients of OpenAI's API are used to writing the version.
    path = parts.path.rstrip("/").removesuffix("/v1")
    return {"kind": kind, "url": f"{scheme}://{parts.netloc}{path}"}


def _settings(query: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _DEFAULTS:
            # The value is not repeated: it may be a key.
            raise UnknownBackendError(f"An engine has no setting {name!r}. Choose among: {', '.join(_DEFAULTS)}.")
        settings[name] = _value(name, value, type(_DEFAULTS[name]))
    return settings


def _value(name: str, value: str, kind: type) -> str | float:
    usual = f"Usually it is {_DEFAULTS[name]!r}."
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        number: str | float = kind(value)
    except (KeyError, ValueError) as error:
        raise UnknownBackendError(f"The engine's setting {name} cannot be {value!r}. {usual}") from error
    if isinstance(number, (int, float)) and not 0 < number < float("inf"):
        raise UnknownBackendError(f"The engine's setting {name} must be above zero, not {value}. {usual}")
    return number
