"""The setting that names an engine: where it is and how to treat it, in one line that can be stored anywhere.

    http://host:8080                        a server, which is asked what it is
    openai+http://host:8080                 one that speaks OpenAI's API: llama-server, vLLM, LocalAI, jina-rag serve
    tei+https://host                        Text Embeddings Inference
    elastic+https://host:9200?endpoint=ID   an inference endpoint of Elasticsearch
    jina                                    Jina's own service
    sentence-transformers                   the model's original weights in this process, with torch
    llama.cpp                               the model's GGUF file in this process, as without a setting
    onnx                                    the same file with ONNX Runtime
    auto                                    the faster of these two on this machine

Settings follow a question mark, as in `http://host:8080?model=served-name&concurrency=8`. A key is never part of it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from jina_rag.errors import BackendError, JinaRagError, UnknownBackendError

BACKEND_VARIABLE = "JINA_RAG_BACKEND"
"""The environment variable that names an engine for the commands, the app and collections opened by name."""

RERANKER_VARIABLE = "JINA_RAG_RERANKER"
"""The one that names a reranking model, in a file or behind such an address, for the commands and the app."""

JUDGE_VARIABLE = "JINA_RAG_JUDGE"
"""The one that names what checks the claims of answers, as for `make_judge`, for the commands and the app."""

Kind: TypeAlias = Literal[
    "http", "openai", "tei", "elastic", "jina", "sentence-transformers", "llama.cpp", "onnx", "auto"
]

Precision: TypeAlias = Literal["f32", "int8"]

FILE_ENGINES: tuple[Kind, ...] = ("llama.cpp", "onnx", "auto")
"""The engines that run a GGUF file in this process."""

JINA_URL = "https://api.jina.ai"
_KEY_VARIABLES: dict[str, str] = {"jina": "JINA_API_KEY", "elastic": "ELASTIC_API_KEY"}
_KEY_VARIABLE = "JINA_RAG_API_KEY"

_ONNX_IDENTITY = re.compile(f"[0-9a-f]{{64}}/onnx/({'|'.join(get_args(Precision))})(?:/([a-z]{{1,20}}))?")

MAX_THREADS = 512
"""The most threads of an engine in this process, as in llama.cpp (GGML_MAX_N_THREADS): starting thousands takes
minutes."""

_EXAMPLES = (
    "Write http://host:port, openai+http://host:port, tei+http://host:port, elastic+https://host:port?endpoint=ID, "
    "jina, sentence-transformers, llama.cpp, onnx or auto."
)


@dataclass(frozen=True, kw_only=True)
class KeySource:
    """Where a key is read from: the environment variable, or a file. Never the key itself."""

    variable: str
    file: Path | None = None

    def read(self) -> str | None:
        """The key, or None where there is none.

        Raises:
            BackendError: the file cannot be read, or its content cannot be a key.
        """
        try:
            key = self.file.read_text(encoding="utf-8") if self.file else os.environ.get(self.variable, "")
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"The key file {self.file} cannot be read. Check its path and permissions.") from error
        key = key.strip()
        if not (key.isascii() and key.isprintable()):
            raise BackendError(f"The key in {self} has characters that no HTTP header may have. Set it again.")
        return key or None

    def __str__(self) -> str:
        return f"the file {self.file}" if self.file else f"the environment variable {self.variable}"


@dataclass(frozen=True, kw_only=True)
class BackendAddress:
    """An engine and its settings. Each field but the first two is a setting that may follow the question mark.

    Attributes:
        kind: Which engine; "http" is asked what it is.
        url: Where it is; empty in this process.
        model: The model's name there, or its folder for sentence-transformers; empty where it can be found out.
        key_env: The environment variable that holds the key; empty for the usual one.
        key_file: A file that holds the key.
        timeout: Seconds to wait for one response.
        retry_timeout: Seconds in which to try again when the server is away or busy.
        concurrency: Requests in flight at a time.
        weights: The fingerprint's `weights` that these vectors are known to agree with, stated by the user.
        tokenizer: A tokenizer.json, to count with where the server can't.
        endpoint: Elastic's inference endpoint; empty for the one that Elastic sets up for the model.
        create: Create the inference endpoint if it doesn't exist.
        device: Where torch or ONNX Runtime computes, such as "cuda"; empty for torch's choice, or the processor.
        dtype: How torch keeps the weights; empty for bfloat16 on a GPU and float32 elsewhere.
        trust_remote_code: Run the code that comes with a model's repository.
        precision: What ONNX Runtime computes in, "f32" or "int8".
        threads: How many an engine in this process computes with; 0 takes every core.
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
    precision: Precision = "f32"
    threads: int = 0

    @property
    def key(self) -> KeySource:
        """Where the key is."""
        variable = self.key_env or _KEY_VARIABLES.get(self.kind, _KEY_VARIABLE)
        return KeySource(variable=variable, file=Path(self.key_file) if self.key_file else None)

    def __str__(self) -> str:
        return self.url or self.kind


_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in fields(BackendAddress) if field.name not in ("kind", "url")
}
_KINDS: dict[str, Kind] = {"": "http", "openai": "openai", "tei": "tei", "elastic": "elastic", "jina": "jina"}


def parse_backend(setting: str) -> BackendAddress:
    """The address and settings in a line such as `http://host:8080?model=name`.

    Raises:
        UnknownBackendError: it names no engine, has a setting that doesn't exist, or holds a password.
    """
    place, _, query = setting.strip().partition("?")
    settings = read_settings(query, _DEFAULTS, "An engine", UnknownBackendError)
    if settings.get("precision", "f32") not in get_args(Precision):
        raise UnknownBackendError(f"The engine's precision cannot be {settings['precision']!r}. Choose f32 or int8.")
    if settings.get("threads", 0) > MAX_THREADS:
        raise UnknownBackendError(
            f"The engine's threads can be {MAX_THREADS} at most, not {settings['threads']}. 0 takes every core."
        )
    return BackendAddress(**_kind_and_url(place), **settings)


def read_settings(query: str, defaults: Mapping[str, Any], what: str, error: type[JinaRagError]) -> dict[str, Any]:
    """The settings after the question mark of an address, each of the type of its default.

    Args:
        query: As in a URL.
        defaults: The settings that there are.
        what: Names in messages what has them.
        error: What is raised where a setting doesn't exist, or can't have its value.
    """
    settings: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in defaults:
            # The value is not repeated: it may be a key.
            raise error(f"{what} has no setting {name!r}. Choose among: {', '.join(defaults)}.")
        default = defaults[name]
        try:
            settings[name] = _SWITCH[value.lower()] if isinstance(default, bool) else type(default)(value)
        except (KeyError, ValueError) as cause:
            raise error(f"The setting {name} cannot be {value!r}. Usually it is {default!r}.") from cause
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        if is_number and settings[name] != default and not 0 < settings[name] <= _LARGEST:
            raise error(f"The setting {name} must be above 0 and at most {_LARGEST:,}, not {value}.")
    return settings


_LARGEST = 1_000_000  # a system's clock takes no more than some 10^9 seconds
_SWITCH = {"true": True, "1": True, "false": False, "0": False}


def engine_of(weights: str, setting: str | None = None) -> str | None:
    """The setting of the engine that vectors were made with, for users who leave the choice to it: none, or "auto".

    Args:
        weights: What the fingerprint says.
        setting: What the user says; an engine that is named there stays.

    Raises:
        UnknownBackendError: the setting names no engine.
    """
    wanted = BackendAddress(kind="auto") if setting is None else parse_backend(setting)
    if wanted.kind != "auto":
        return setting
    made_with = _ONNX_IDENTITY.fullmatch(weights)
    if made_with is None and setting is None:
        return None
    precision, device = made_with.groups() if made_with else (None, None)
    settings = {"precision": precision, "device": device, "threads": wanted.threads}
    query = urlencode({name: value for name, value in settings.items() if value})
    return "?".join(filter(None, ("onnx" if made_with else "llama.cpp", query)))


def _kind_and_url(place: str) -> dict[str, Any]:
    if place == "jina":
        return {"kind": "jina", "url": JINA_URL}
    if place == "sentence-transformers" or place in FILE_ENGINES:
        return {"kind": place}
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
