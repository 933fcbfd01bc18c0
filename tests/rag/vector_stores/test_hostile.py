"""What a server answers is checked, bounded in size and time, and asked for again only where that may help."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jina_rag import FingerprintMismatchError, JinaRagError, StoreError, StoreUnavailableError
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.vector_stores import VectorStore, open_store
from jina_rag.rag.vector_stores.rows import vectors_of
from tests.rag.vector_stores.conftest import FINGERPRINT, rows_of

MARS = rows_of("/mars.md", "Mars is red.")
_VECTOR = vectors_of(MARS)[0]
_ROW = {name: MARS[name][0].as_py() for name in ("source", "title", "position", "heading", "start", "end")}

COLLECTION: dict[str, Any] = {
    "id": "9a6b2f1c-58f6-4e0c-9f5e-2d3c4b5a6978",
    "name": "notes",
    "metadata": {"jina_rag_fingerprint": FINGERPRINT.to_json()},
    "configuration_json": {},
    "dimension": FINGERPRINT.dimensions,
    "tenant": "default_tenant",
    "database": "default_database",
    "version": 0,
    "log_position": 0,
}
FOUND: dict[str, Any] = {
    "ids": [["1"]],
    "documents": [["Mars is red."]],
    "metadatas": [[_ROW]],
    "embeddings": [[_VECTOR.tolist()]],
    "distances": [[0.5]],
    "include": [],
}


class Standin(ThreadingHTTPServer):
    """A Chroma server with one collection that holds one row; what it answers to a path can be replaced."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[Any]] = {
            "pre-flight-checks": [{"max_batch_size": 100, "supports_base64_encoding": True}],
            "notes": [COLLECTION],
            "query": [FOUND],
            "get": [{"ids": ["1"], "documents": None, "metadatas": [_ROW], "embeddings": None}],
            "count": [1],
        }
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def address(self) -> str:
        return f"chroma://127.0.0.1:{self.server_port}/notes"


class _Handler(BaseHTTPRequestHandler):
    server: Standin

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("content-length", 0)))
        replies = self.server.replies[self.path.partition("?")[0].rpartition("/")[2]]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]  # the last one again and again
        if callable(reply):
            reply(self)
            return
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Standin]:
    with _serving(Standin()) as running:
        yield running


@contextmanager
def _serving(server: Standin) -> Iterator[Standin]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _ask(store: VectorStore) -> list[str]:
    return [found.chunk.text for found in store.nearest(_VECTOR, 3, Filters())]


def _changed(**values: Any) -> dict[str, Any]:
    return {**FOUND, **values}


def _row(**values: Any) -> dict[str, Any]:
    return _changed(metadatas=[[{**_ROW, **values}]])


def test_what_is_right_is_taken(server: Standin) -> None:
    with open_store(server.address) as store:
        assert _ask(store) == ["Mars is red."]


@pytest.mark.parametrize(
    "reply",
    [
        b"<html>A proxy</html>",
        b"",
        b"[" * 100_000,
        b'{"ids": [["\\ud800"]]}',
        [],
        {},
        None,
        7,
        _changed(ids=[]),
        _changed(ids=[["1", "2"]]),
        _changed(ids=[[7]]),
        _changed(ids=[[["1"]]]),
        _changed(ids="1"),
        _changed(documents=None),
        _changed(documents=[[None]]),
        _changed(documents=[["x" * (1 << 21)]]),
        _changed(metadatas=[[None]]),
        _changed(metadatas=[["text"]]),
        _changed(metadatas=[[{}]]),
        _changed(embeddings=None),
        _changed(embeddings=[["text"]]),
        _changed(embeddings=[[[0.5, 0.5]]]),
        _changed(embeddings=[[[1e30] * FINGERPRINT.dimensions]]),
        _changed(embeddings=[[[None] * FINGERPRINT.dimensions]]),
        _row(position="0"),
        _row(position=True),
        _row(position=-1),
        _row(start=0.5),
        _row(end=10**30),
        _row(source=["/mars.md"]),
        _row(source="x" * (1 << 15)),
        _row(heading=7),
        _row(page="1"),
        _row(position={"#type": "sparse_vector", "indices": [1], "values": [1.0]}),
    ],
)
def test_a_wrong_answer_to_a_search_is_refused(server: Standin, reply: Any) -> None:
    server.replies["query"] = [reply]
    with open_store(server.address) as store, pytest.raises(StoreError) as raised:
        _ask(store)
    assert len(str(raised.value)) < 1000


def test_more_rows_than_were_asked_for_are_left_out_or_refused(server: Standin) -> None:
    server.replies["query"] = [{name: [values[0] * 50] for name, values in FOUND.items() if values}]
    server.replies["get"] = [{"ids": ["1"] * 10_000}]
    with open_store(server.address) as store:
        assert len(_ask(store)) == 3
        with pytest.raises(StoreError, match="other rows"):
            next(store.ids())


@pytest.mark.parametrize("reply", ["x", -1, None, [3], True, 10**12])
def test_a_wrong_count_is_refused(server: Standin, reply: Any) -> None:
    server.replies["count"] = [reply]
    with open_store(server.address) as store, pytest.raises(StoreError, match="count"):
        store.count()


@pytest.mark.parametrize(("is_repeated", "n_rows"), [(True, 10_000), (False, 600)], ids=["repeated", "endless"])
def test_pages_end(server: Standin, is_repeated: bool, n_rows: int) -> None:
    pages = [[str(250 * (page * (not is_repeated)) + row) for row in range(250)] for page in range(10)]
    server.replies["get"] = [{"ids": ids} for ids in pages]
    server.replies["count"] = [n_rows]
    with open_store(server.address) as store, pytest.raises(StoreError, match="a row twice, or with more rows"):
        list(store.ids())


@pytest.mark.parametrize("most", [0, -1, "many", None, 10**9])
def test_a_strange_largest_batch_is_not_believed(server: Standin, most: Any) -> None:
    server.replies["pre-flight-checks"] = [{"max_batch_size": most, "supports_base64_encoding": True}]
    with open_store(server.address) as store:
        assert _ask(store) == ["Mars is red."]


@pytest.mark.parametrize(
    ("collection", "problem"),
    [
        ({"metadata": None}, "does not say which model"),
        ({"metadata": {"jina_rag_fingerprint": "{}"}}, "fingerprint"),
        ({"metadata": {"jina_rag_fingerprint": 7}}, "does not say which model"),
        ({"metadata": 7}, "."),
        ({"id": "none"}, "."),
        ({"id": None}, "."),
        ({"configuration_json": "text"}, "."),
        ({"configuration_json": {"embedding_function": {"type": "known", "name": "openai", "config": {}}}}, "'openai'"),
        ({"configuration_json": {"embedding_function": 7}}, "."),
    ],
)
def test_a_wrong_collection_is_refused(server: Standin, collection: dict[str, Any], problem: str) -> None:
    server.replies["notes"] = [{**COLLECTION, **collection}]
    with pytest.raises((StoreError, FingerprintMismatchError), match=problem):
        open_store(server.address)


def test_a_model_that_nobody_knows_is_not_looked_for(server: Standin) -> None:
    from jina_rag.rag import Retriever

    strange = replace(FINGERPRINT, model="../../etc/passwd")
    server.replies["notes"] = [{**COLLECTION, "metadata": {"jina_rag_fingerprint": strange.to_json()}}]
    with Retriever.open(server.address) as retriever, pytest.raises(JinaRagError, match="no model"):
        retriever.retrieve("anything")


def test_a_redirect_is_not_followed(server: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_API_KEY", "secret-token")

    def redirect(handler: _Handler) -> None:
        handler.send_response(307)
        handler.send_header("location", "http://127.0.0.1:9/elsewhere")
        handler.send_header("content-length", "0")
        handler.end_headers()

    server.replies["notes"] = [redirect]
    with pytest.raises(StoreError, match=r"redirects to 127\.0\.0\.1:9"):
        open_store(f"{server.address}?key_env=CHROMA_API_KEY")


def test_a_token_goes_where_the_address_says_alone(server: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_API_KEY", "secret-token")
    monkeypatch.setenv("CHROMA_API_KEY_PROXY", "other-token")
    monkeypatch.setenv("JINA_RAG_API_KEY", "key-of-an-engine")
    refused = (401, {"error": "AuthError", "message": "secret-token is old"})
    server.replies["notes"] = [COLLECTION, COLLECTION, refused, refused]
    open_store(f"{server.address}?key_env=CHROMA_API_KEY").close()
    open_store(f"{server.address}?key_env=CHROMA_API_KEY_PROXY&key_header=Authorization").close()
    with pytest.raises(StoreError, match="another key") as raised:
        open_store(f"{server.address}?key_env=CHROMA_API_KEY")
    assert "secret-token" not in str(raised.value)
    with pytest.raises(StoreError, match=r"name that in the address: \?key_env=CHROMA_API_KEY"):
        open_store(server.address)
    sent = [
        {name: value for name, value in headers.items() if "token" in value or "key" in value}
        for path, headers in server.requests
        if path.endswith("/notes")
    ]
    own = {"X-Chroma-Token": "secret-token"}
    assert sent == [own, {"Authorization": "Bearer other-token"}, own, {}]


def test_it_is_asked_again_where_that_may_help(server: Standin) -> None:
    busy = (503, {"error": "Unavailable", "message": "starting"})
    server.replies["query"] = [busy, FOUND]
    with open_store(server.address) as store:
        assert _ask(store) == ["Mars is red."]
    server.replies["query"] = [(400, {"error": "InvalidArgumentError", "message": "no such thing"}), FOUND]
    with open_store(server.address) as store, pytest.raises(StoreError, match="no such thing"):
        _ask(store)
    server.replies["query"] = [busy]
    with (
        open_store(f"{server.address}?retry_timeout=0.2") as store,
        pytest.raises(StoreUnavailableError, match="starting"),
    ):
        _ask(store)


@pytest.mark.parametrize(
    ("part", "problem"),
    [(b"[" + b"0," * (1 << 19), "larger than any"), (b"", "takes too long")],
    ids=["endless", "slow"],
)
def test_an_endless_answer_ends(server: Standin, part: bytes, problem: str) -> None:
    released = threading.Event()

    def endless(handler: _Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not released.wait(0 if part else 0.05):
                handler.wfile.write(part or b" ")
                handler.wfile.flush()
        except OSError:
            pass
        handler.close_connection = True

    server.replies["query"] = [endless]
    settings = "" if part else "?timeout=0.3&retry_timeout=0.1"
    with open_store(f"{server.address}{settings}") as store, pytest.raises(StoreError, match=problem):
        _ask(store)
    released.set()


def test_nobody_is_there() -> None:
    with pytest.raises(StoreUnavailableError, match="Check that it runs"):
        open_store("chroma://127.0.0.1:9/notes?retry_timeout=0.2")
