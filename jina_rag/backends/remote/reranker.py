"""A reranking model behind an address.

Two shapes are spoken: `POST /rerank` of Text Embeddings Inference, which wants `texts` and takes a few at a time, and
`POST /v1/rerank` of Jina, llama-server, vLLM and others, which wants `documents` and may compare them with each other,
so that all go in one request. Either answers with an index and a score for each.

Sources: text-embeddings-inference 1.9.3 `router/src/http/types.rs`; llama.cpp `tools/server/server-context.cpp`
(post_rerank); Jina's and vLLM's documentation. What is too long: TEI cuts it at its end when told so, as it is here;
llama-server refuses it, and its words are passed on.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from jina_rag.backends.base import encode_utf8
from jina_rag.backends.remote.address import BackendAddress, parse_backend
from jina_rag.backends.remote.http import HttpConnection
from jina_rag.backends.remote.tei import ask_info
from jina_rag.errors import BackendError, UnknownBackendError
from jina_rag.vectors import FloatArray

_KINDS = ("http", "tei", "openai", "jina")


class HttpReranker:
    """Scores pairs with a server. Connects at the first need; pickles as its address."""

    def __init__(self, setting: str | BackendAddress) -> None:
        """Name a server; it is not asked anything yet.

        Args:
            setting: As `jina_rag.backends.remote.address` describes it; "openai+http://…" is a server of the second
                shape, "http://…" is asked which it has.

        Raises:
            UnknownBackendError: it is no address, or one where nothing reranks.
        """
        self.address = parse_backend(setting) if isinstance(setting, str) else setting
        if self.address.kind not in _KINDS:
            raise UnknownBackendError(
                f"{self.address} cannot rerank. Name a .gguf file, an address such as http://localhost:8080, or "
                "jina?model=NAME."
            )
        if self.address.kind == "jina" and not self.address.model:
            raise UnknownBackendError("Jina's service has several rerankers. Name one: jina?model=NAME")
        self._connected: _Connected | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The model's name, if the address has one, and the address."""
        return f"{self.address.model} at {self.address}" if self.address.model else str(self.address)

    def score(self, query: str, texts: Sequence[str]) -> FloatArray:
        """Score texts.

        Raises:
            InvalidTextError: the query or a text cannot be written as UTF-8.
            BackendUnavailableError: nothing answers.
            BackendError: the server refuses, has no reranker, or gives no answer to what was asked.
        """
        encode_utf8([query, *texts])
        connected = self._connection()
        size = connected.max_texts or max(1, len(texts))
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        return np.concatenate([np.empty(0, np.float32), *(self._ask(connected, query, part) for part in parts)])

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        with self._lock:
            if self._connected and self._connected.pid == os.getpid():
                self._connected.http.close()
            self._connected = None

    def _connection(self) -> "_Connected":
        with self._lock:
            if self._connected is None or self._connected.pid != os.getpid():
                self._connected = self._connect()
            return self._connected

    def _connect(self) -> "_Connected":
        address = self.address
        http = HttpConnection(address, n_connections=address.concurrency)
        info = ask_info(http) if address.kind in ("http", "tei") else None
        if info is None and address.kind == "tei":
            raise BackendError(
                f"{address} is not Text Embeddings Inference. Write http://… to have it asked what it is."
            )
        if info is not None and "reranker" not in info.get("model_type", {}):
            raise BackendError(
                f"{address} serves {info['model_id']}, which is no reranker. Name a server that has one."
            )
        return _Connected(http, info["max_client_batch_size"] if info else None)

    def _ask(self, connected: "_Connected", query: str, texts: Sequence[str]) -> FloatArray:
        if connected.max_texts:
            body: dict[str, object] = {"query": query, "texts": list(texts), "truncate": True}
            reply = connected.http.post("/rerank", {**body, "truncation_direction": "Right", "raw_scores": True})
            return _read(reply.json(), "score", len(texts), self.address)
        body = {"query": query, "documents": list(texts), "top_n": len(texts)}
        if self.address.model:
            body["model"] = self.address.model
        if self.address.kind == "jina":  # else it sends all of them back
            body["return_documents"] = False
        reply = connected.http.post("/v1/rerank", body)
        return _read(reply.field("results"), "relevance_score", len(texts), self.address)

    def __getstate__(self) -> dict[str, object]:
        return {"address": self.address}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["address"])  # type: ignore[misc]


@dataclass(frozen=True)
class _Connected:
    """Connections to a server that has been asked what it is; TEI takes `max_texts` at a time, others all."""

    http: HttpConnection
    max_texts: int | None
    pid: int = field(default_factory=os.getpid)


def _read(rows: object, name: str, n: int, address: BackendAddress) -> FloatArray:
    """The scores in the order of the texts.

    Raises:
        BackendError: there is not one for each.
    """
    try:
        scores = {row["index"]: float(row[name]) for row in rows}  # type: ignore[attr-defined]
        returned = np.array([scores.pop(place) for place in range(n)], np.float32)
        if not scores and np.isfinite(returned).all():
            return returned
    except (KeyError, TypeError, ValueError):
        pass  # said below
    raise BackendError(
        f"{address} did not give a {name} for each of {n} texts but {str(rows)[:200]!r}. Check that a reranker answers "
        "there."
    )
