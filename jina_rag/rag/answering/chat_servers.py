"""`discover`: the servers with chat models that run on this machine.

They are asked at the ports where they listen by default, all at once, and are known by the shape of what they answer:

| program | address | shape from |
|---|---|---|
| Ollama | 11434 or OLLAMA_HOST, `/api/tags` | docs.ollama.com/api/tags, `envconfig/config.go` |
| LM Studio | 1234, `/api/v1/models` | lmstudio-ai/docs, `1_developer/2_rest/list.md` |
| llama-server | 8080, `/props` | llama.cpp, `tools/server/README.md` |
| vLLM | 8000, `/v1/models` | vLLM, `entrypoints/openai` |
| Jan | 1337, `/v1/models` | jan.ai/docs/desktop/api-preference |

Anything may listen there, so a reply is read to a limit and every field of it is checked. No request leaves this
machine: no name is looked up, no redirection is followed, no proxy is used, and no key is sent. A program of another
person's account is not asked, where the system says whose it is (Linux): it would be given the passages later.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jina_rag.machine import port_owners

if TYPE_CHECKING:
    from httpx import AsyncClient

DISCOVER_VARIABLE = "JINA_RAG_DISCOVER"
"""The environment variable that switches `discover` off: 0."""

SECONDS = 0.4
"""How long all servers together may take; those that are there answer in milliseconds."""

ADDRESSES = {
    "Ollama": "http://127.0.0.1:11434",
    "LM Studio": "http://127.0.0.1:1234",
    "llama-server": "http://127.0.0.1:8080",
    "vLLM": "http://127.0.0.1:8000",
    "Jan": "http://127.0.0.1:1337",
}
"""Where the programs listen by default, in the order in which a model is taken."""

MAX_REPLY_BYTES = 4_000_000
MAX_MODELS = 200
MAX_NAME_LENGTH = 200

_FIRST_PERSON = 1000  # accounts below are root's and services', by UID_MIN in login.defs
_OLLAMA_PORT = 11434
_OK, _NOT_FOUND, _NOT_IMPLEMENTED = 200, 404, 501


@dataclass(frozen=True)
class ChatServer:
    """A program on this machine that serves chat models over OpenAI's API.

    Attributes:
        program: What it is called, such as "Ollama".
        base_url: Its address up to the version.
        models: Its chat models; what is loaded comes first where the server says so.
    """

    program: str
    base_url: str
    models: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """Each model as `make_generator` takes it."""
        return tuple(f"{self.base_url}#{model}" for model in self.models)


def discover(addresses: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> tuple[ChatServer, ...]:
    """The chat servers on this machine that have a model to answer with.

    Models that only embed are left out, and so are Ollama's that run elsewhere. What does not answer in time, or not as
    it should, is not there; nothing is if JINA_RAG_DISCOVER is 0.

    Args:
        addresses: Where the programs of `ADDRESSES` listen, in the order of preference; None for the usual places.
            Those of other machines are not asked.
        seconds: How long all of them together may take.
    """
    if discovery_is_off():
        return ()
    if addresses is None:
        addresses = {**ADDRESSES, "Ollama": _ollama_address(os.environ.get("OLLAMA_HOST", ""))}
    here = {program: address for program, address in addresses.items() if _is_here(address)}
    with ThreadPoolExecutor(max_workers=1) as pool:  # the caller's thread may have an event loop of its own
        return pool.submit(asyncio.run, _ask_all(here, seconds)).result()


def discovery_is_off() -> bool:
    """Whether the user does not want this machine to be searched."""
    return os.environ.get(DISCOVER_VARIABLE, "").strip() == "0"


class _Unexpected(Exception):  # noqa: N818 - never leaves this module
    """Something else answers, or the server has no chat model."""


async def _ask_all(addresses: Mapping[str, str], seconds: float) -> tuple[ChatServer, ...]:
    from httpx import AsyncClient

    async with AsyncClient(
        headers={"Accept-Encoding": "identity"},  # what is compressed has no limit
        timeout=seconds,
        trust_env=False,
        verify=False,  # noqa: S501 - only plain HTTP is spoken, and certificates take time to load
    ) as client:
        found = await asyncio.gather(
            *(_ask(client, program, address, seconds) for program, address in addresses.items())
        )
    return tuple(server for server in found if server)


async def _ask(client: "AsyncClient", program: str, address: str, seconds: float) -> ChatServer | None:
    from httpx import HTTPError, InvalidURL

    try:
        models = await asyncio.wait_for(_PROBES[program](client, address), seconds)
    except (_Unexpected, TimeoutError, HTTPError, InvalidURL, OSError, ValueError, RecursionError):
        return None  # not that program, or it has nothing to say in time
    return ChatServer(program, f"{address}/v1", models) if models else None


def _ollama_address(setting: str) -> str:
    """The address that OLLAMA_HOST means, as Ollama itself reads it."""
    setting = setting.strip().strip("\"'")
    scheme, found, host_and_port = setting.rpartition("://")
    host, _, port = host_and_port.rstrip("/").rpartition(":")
    if not port.isdecimal() or (host.count(":") and not host.endswith("]")):
        host, port = host_and_port.rstrip("/"), "80" if found else str(_OLLAMA_PORT)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    everywhere = ("", "0.0.0.0", "[::]", "localhost")  # noqa: S104 - so also here
    return f"{scheme or 'http'}://{'127.0.0.1' if host.lower() in everywhere else host}:{port}"


def _is_here(address: str) -> bool:
    """Whether plain HTTP is spoken at an IP address of this machine, and by nobody else's program.

    A socket can only be bound to this machine's own addresses.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host)  # an address, no name that would have to be looked up
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    if parts.scheme != "http" or port is None or parts.netloc not in (f"{host}:{port}", f"[{host}]:{port}"):
        return False
    return all(owner < _FIRST_PERSON or owner == os.getuid() for owner in port_owners(port))


async def _ask_ollama(client: "AsyncClient", address: str) -> tuple[str, ...]:
    reply = await _get(client, f"{address}/api/tags")
    models = [model for model in _rows(reply, "models") if isinstance(model.get("details"), dict)]
    return _names(model.get("model") or model.get("name") for model in models if _is_local_chat(model))


def _is_local_chat(model: dict[str, Any]) -> bool:
    if model.get("remote_host") or model.get("remote_model"):  # it runs in Ollama's cloud
        return False
    if isinstance(capabilities := model.get("capabilities"), list):
        return "completion" in capabilities
    details = model["details"]  # before it listed capabilities
    return "bert" not in f"{details.get('families')} {details.get('family')}"  # encoders, which can't write


async def _ask_lm_studio(client: "AsyncClient", address: str) -> tuple[str, ...]:
    models = [model for model in _rows(await _get(client, f"{address}/api/v1/models"), "models") if "key" in model]
    chat = [model for model in models if model.get("type") == "llm"]
    return _names(model["key"] for model in sorted(chat, key=lambda model: not model.get("loaded_instances")))


async def _ask_llama_server(client: "AsyncClient", address: str) -> tuple[str, ...]:
    props = await _get(client, f"{address}/props")
    path = props.get("model_path")
    if not (isinstance(path, str) and isinstance(props.get("chat_template"), str) and "build_info" in props):
        raise _Unexpected
    # It either embeds or writes, and only says which when it is asked for the other.
    if await _status(client, "POST", f"{address}/v1/embeddings") != _NOT_IMPLEMENTED:
        raise _Unexpected
    alias = props.get("model_alias")
    return _names([alias if isinstance(alias, str) and alias else path.replace("\\", "/").rpartition("/")[2]])


async def _ask_vllm(client: "AsyncClient", address: str) -> tuple[str, ...]:
    models = _rows(await _get(client, f"{address}/v1/models"), "data")
    if not models or any(model.get("owned_by") != "vllm" for model in models):
        raise _Unexpected
    # The address for chats is there only if the model can write; GET is not allowed at it then.
    if await _status(client, "GET", f"{address}/v1/chat/completions") == _NOT_FOUND:
        raise _Unexpected
    return _names(model.get("id") for model in models)


async def _ask_jan(client: "AsyncClient", address: str) -> tuple[str, ...]:
    reply = await _get(client, f"{address}/v1/models")
    models = [model for model in _rows(reply, "data") if model.get("object") == "model"]
    embeds = [isinstance(model.get("settings"), dict) and model["settings"].get("embedding") for model in models]
    return _names(model.get("id") for model, only_embeds in zip(models, embeds, strict=True) if not only_embeds)


_PROBES: dict[str, "Callable[[AsyncClient, str], Awaitable[tuple[str, ...]]]"] = {
    "Ollama": _ask_ollama,
    "LM Studio": _ask_lm_studio,
    "llama-server": _ask_llama_server,
    "vLLM": _ask_vllm,
    "Jan": _ask_jan,
}


async def _status(client: "AsyncClient", method: str, url: str) -> int:
    async with client.stream(method, url, json={} if method == "POST" else None) as response:
        return response.status_code


async def _get(client: "AsyncClient", url: str) -> dict[str, Any]:
    """The JSON object at an address, read no further than a limit."""
    body = bytearray()
    async with client.stream("GET", url) as response:
        if response.status_code != _OK:
            raise _Unexpected
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_REPLY_BYTES:
                raise _Unexpected
    reply = json.loads(body)
    if not isinstance(reply, dict):
        raise _Unexpected
    return reply


def _rows(reply: dict[str, Any], field: str) -> list[dict[str, Any]]:
    rows = reply.get(field)
    if not isinstance(rows, list):
        raise _Unexpected
    return [row for row in rows[:MAX_MODELS] if isinstance(row, dict)]


def _names(values: Iterable[object]) -> tuple[str, ...]:
    """Those values that can be names of models."""
    return tuple(
        dict.fromkeys(
            value
            for value in values
            if isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= MAX_NAME_LENGTH
        )
    )
