"""Chat servers on this machine, by stand-ins that answer as the real ones are documented to."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from jina_rag.rag.answering.chat_servers import DISCOVER_VARIABLE, MAX_REPLY_BYTES, ChatServer, discover

OLLAMA = {
    "models": [
        {"name": "gemma3", "model": "gemma3", "size": 3338801804, "digest": "a2af",
         "details": {"format": "gguf", "family": "gemma", "families": ["gemma"], "parameter_size": "4.3B"}},
        {"name": "qwen3.5:2b", "model": "qwen3.5:2b", "capabilities": ["completion", "thinking"],
         "details": {"family": "qwen35", "families": ["qwen35"]}},
        {"name": "qwen3-embedding:0.6b", "model": "qwen3-embedding:0.6b", "capabilities": ["embedding"],
         "details": {"family": "qwen3", "families": ["qwen3"]}},
        {"name": "nomic-embed-text", "model": "nomic-embed-text",
         "details": {"family": "nomic-bert", "families": ["nomic-bert"]}},
        {"name": "gpt-oss:120b-cloud", "model": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443",
         "remote_model": "gpt-oss:120b", "details": {"family": "gptoss", "families": ["gptoss"]}},
    ]
}  # fmt: skip
LM_STUDIO = {
    "models": [
        {"type": "llm", "key": "gemma-3-270m-it-qat", "architecture": "gemma3", "loaded_instances": []},
        {"type": "llm", "key": "qwen3.5-4b", "architecture": "qwen35", "loaded_instances": [{"id": "qwen3.5-4b"}]},
        {"type": "embedding", "key": "text-embedding-nomic-embed-text-v1.5", "loaded_instances": [{"id": "x"}]},
    ]
}
PROPS = {
    "default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "chat_template": "{{ messages }}",
    "model_path": "../models/Qwen3.5-4B-Q4_K_M.gguf", "build_info": "b10809-5266f24d",
}  # fmt: skip
VLLM = {"object": "list", "data": [{"id": "Qwen/Qwen3.5-4B", "object": "model", "owned_by": "vllm", "root": "Qwen"}]}
JAN = {
    "object": "list",
    "data": [
        {"id": "jan-v3-4b-base-instruct", "object": "model"},
        {"id": "nomic", "object": "model", "settings": {"embedding": True}},
    ],
}

PATIENCE = 30.0
"""Seconds that a stand-in may take where it is to answer: on a busy machine more than a real server gets."""

Route = tuple[str, str]
Reply = tuple[int, Any]
CHAT = ("POST", "/v1/embeddings"), (501, {"error": {"message": "This server does not support embeddings."}})
SERVERS: dict[str, dict[Route, Reply]] = {
    "Ollama": {("GET", "/api/tags"): (200, OLLAMA)},
    "LM Studio": {("GET", "/api/v1/models"): (200, LM_STUDIO)},
    "llama-server": dict([(("GET", "/props"), (200, PROPS)), CHAT]),
    "vLLM": {("GET", "/v1/models"): (200, VLLM), ("GET", "/v1/chat/completions"): (405, {})},
    "Jan": {("GET", "/v1/models"): (200, JAN)},
}
MODELS = {
    "Ollama": ("gemma3", "qwen3.5:2b"),
    "LM Studio": ("qwen3.5-4b", "gemma-3-270m-it-qat"),
    "llama-server": ("Qwen3.5-4B-Q4_K_M.gguf",),
    "vLLM": ("Qwen/Qwen3.5-4B",),
    "Jan": ("jan-v3-4b-base-instruct",),
}


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DISCOVER_VARIABLE, raising=False)


@contextmanager
def serving(
    routes: dict[Route, Reply], write: Callable[[BaseHTTPRequestHandler], None] | None = None
) -> Iterator[tuple[str, list[BaseHTTPRequestHandler]]]:
    """A server with these answers, or one that `write` answers for; its address and what it was asked."""
    asked: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if write is not None:
                write(self)
                return
            status, body = routes.get((self.command, self.path), (404, {"detail": "Not Found"}))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - as the library has it

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """One who was asked and not waited for."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_each_server_is_known_by_its_answers_and_its_chat_models_are_listed() -> None:
    with ExitStack() as stack:
        addresses = {program: stack.enter_context(serving(routes))[0] for program, routes in SERVERS.items()}
        found = discover(addresses, seconds=PATIENCE)
    assert found == tuple(
        ChatServer(program, f"{address}/v1", MODELS[program]) for program, address in addresses.items()
    )
    assert found[0].settings[1] == f"{addresses['Ollama']}/v1#qwen3.5:2b"


@pytest.mark.parametrize("program", SERVERS)
def test_no_other_server_is_taken_for_it_and_none_gets_a_key(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    for other, routes in SERVERS.items():
        with serving(routes) as (address, asked):
            found = discover({program: address}, seconds=PATIENCE)
        alike = (program, other) == ("Jan", "vLLM")  # both are chat servers with OpenAI's API
        assert bool(found) == (program == other or alike), other
        assert not [request.headers["Authorization"] for request in asked if request.headers["Authorization"]]


@pytest.mark.parametrize(
    ("program", "route", "reply"),
    [
        ("llama-server", CHAT[0], (400, {"error": {"message": '"input" must be provided'}})),
        ("vLLM", ("GET", "/v1/chat/completions"), (404, {"detail": "Not Found"})),
        ("Ollama", ("GET", "/api/tags"), (200, {"models": [OLLAMA["models"][3]]})),
        ("LM Studio", ("GET", "/api/v1/models"), (200, {"models": [LM_STUDIO["models"][2]]})),
    ],
)
def test_a_server_that_only_embeds_is_left_out(program: str, route: Route, reply: Reply) -> None:
    with serving({**SERVERS[program], route: reply}) as (address, _):
        assert discover({program: address}, seconds=PATIENCE) == ()


@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"models": 1, "data": 1}',
        b'{"models": [1, null, {"key": 1, "type": "llm"}], "data": [[], {"id": {}, "object": "model"}]}',
        b'{"models": [{"model": "\\u001b[31m", "details": {}}], "data": [{"id": "\\n", "object": "model"}]}',
        b'{"models": [{"model": {}, "details": {"families": 5}}]}',
        b'{"models": [{"model": "' + b"x" * 1000 + b'", "details": {}}]}',
        b'{"data": [{"object": "model", "id": "a", "x": "' + b"x" * MAX_REPLY_BYTES + b'"}]}',
    ],
)  # fmt: skip
def test_a_reply_of_another_shape_is_no_server(program: str, body: bytes) -> None:
    routes = dict.fromkeys(SERVERS[program], (200, body))
    with serving(routes) as (address, _):
        assert discover({program: address}, seconds=PATIENCE) == ()


def test_a_redirection_is_not_followed() -> None:
    with serving(SERVERS["Ollama"]) as (elsewhere, asked):

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"{elsewhere}/api/tags")
            handler.end_headers()

        with serving({}, redirect) as (address, _):
            assert discover({"Ollama": address}, seconds=PATIENCE) == ()
    assert not asked


def test_servers_that_hang_or_drip_are_not_waited_for() -> None:
    done = Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not done.wait(0.05):
            handler.wfile.write(b" ")

    def hang(_: BaseHTTPRequestHandler) -> None:
        done.wait()

    with serving({}, hang) as (hung, _), serving({}, drip) as (dripping, _):
        found = discover(dict.fromkeys(SERVERS, hung) | {"Jan": dripping})
        done.set()
    assert found == ()


@pytest.mark.parametrize(
    ("setting", "is_asked"),
    [
        ("127.0.0.1:{port}", True),
        ("http://127.0.0.1:{port}/", True),
        ('"0.0.0.0:{port}"', True),
        ("localhost:{port}", True),
        ("192.0.2.1:{port}", False),
        ("http://192.0.2.1", False),
        ("https://127.0.0.1:{port}", False),
        ("ollama.example:{port}", False),
        ("127.0.0.1:{port}@192.0.2.1:80", False),
        ("192.0.2.1@127.0.0.1:{port}", False),
        ("[2001:db8::1]:{port}", False),
        ("127.0.0.1:notaport", False),
    ],
)
def test_ollama_is_asked_where_its_own_variable_says_if_that_is_here(
    setting: str, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any connection to another host fails the test: sockets may reach nothing but 127.0.0.1."""
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:3128")
    looked_up: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> list[Any]:
        looked_up.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with serving(SERVERS["Ollama"]) as (address, asked):
        monkeypatch.setenv("OLLAMA_HOST", setting.format(port=address.rpartition(":")[2]))
        servers = discover(seconds=PATIENCE) if is_asked else discover()
        found = [server for server in servers if server.program == "Ollama" and server.base_url == f"{address}/v1"]
    assert (bool(found), bool(asked)) == (is_asked, is_asked)
    assert looked_up == []


def test_discovery_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISCOVER_VARIABLE, "0")
    with serving(SERVERS["Ollama"]) as (address, asked):
        assert discover({"Ollama": address}) == ()
    assert not asked


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="Only root may act as another account.")
@pytest.mark.parametrize(("account", "is_asked"), [(0, True), (999, True), (1234, False), (65534, False)])
def test_what_listens_for_another_person_is_not_asked(account: int, is_asked: bool) -> None:
    with ExitStack() as stack:
        os.seteuid(account)
        try:
            address, asked = stack.enter_context(serving(SERVERS["Ollama"]))
        finally:
            os.seteuid(0)
        assert bool(discover({"Ollama": address})) == bool(asked) == is_asked
