"""Text Embeddings Inference, and whatever answers in its way.

Source: text-embeddings-inference 1.9.3, `router/src/http/server.rs` and `types.rs`. Two of its habits need care: it
cuts long texts unless told not to, and it can be started with a prompt of its own, which would come on top of ours.
"""

import math
from collections.abc import Sequence
from threading import Event
from typing import Any

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import (
    EmbeddingResponse,
    Engine,
    HttpEngine,
    RemoteInput,
    ServerInfo,
    rows_to_vectors,
)
from jina_rag.backends.remote.http import FIRST_ANSWER_TIMEOUT_S, HttpConnection, StatusError
from jina_rag.errors import BackendError
from jina_rag.models import ModelSpec

_POOLING = {"last_token": "last", "mean": "mean", "cls": "cls"}
_PROBE = "x"


def connect_tei(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine.

    Raises:
        BackendUnavailableError: nothing answers.
        BackendError: another kind of server answers.
    """
    engine = TeiEngine(HttpConnection(address, n_connections=2 * address.concurrency), address, spec)
    engine.info(at_most_s=FIRST_ANSWER_TIMEOUT_S)
    return engine


class TeiEngine(HttpEngine):
    """One server of Text Embeddings Inference, which holds one model."""

    def __init__(self, http: HttpConnection, address: BackendAddress, spec: ModelSpec) -> None:
        super().__init__(http, address, spec)
        self._prompt: dict[str, object] = {}
        self._max_tokens: int | None = None

    def describe(self) -> ServerInfo:
        """Ask `/info`, and whether a prompt is put before a text."""
        info = self.info()
        ours = info.get("jina_rag", {})
        # Ours is told that texts have their prompts; TEI itself has only a prompt that it knows, or none.
        self._prompt = {"prompt_name": "none"} if ours else {}
        self.check_model(info["model_id"])
        self._check_pooling(info.get("model_type"))
        self._check_prompt()
        self._max_tokens = info.get("max_input_length")
        revision = info.get("model_sha") or "unknown revision"
        return ServerInfo(
            kind="tei",
            name=info["model_id"],
            identity=ours.get("weights") or f"tei/{info['model_id']}@{revision}/{info.get('model_dtype', '')}",
            quantization=ours.get("quantization", ""),
            max_input_tokens=self._max_tokens,
            max_batch_texts=info["max_client_batch_size"],
            max_batch_tokens=info.get("max_batch_tokens") or 16_384,
            max_batch_bytes=1_000_000,  # half of its default limit, because JSON may write a letter in six
        )

    def info(self, *, at_most_s: float = math.inf) -> dict[str, Any]:
        """What the server says of itself."""
        info: dict[str, Any] = self.http.get("/info", at_most_s=at_most_s).json()
        if not _is_tei(info):
            raise BackendError(
                f"{self.address} is not Text Embeddings Inference. Write http://… to have it asked what it is."
            )
        return info

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, counted by the server."""
        return [
            RemoteInput(payload=text, n_tokens=n_tokens, max_tokens=max_tokens)
            for text, n_tokens in zip(texts, self.count_tokens(texts), strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        return [len(tokens) for tokens in self._tokenize(texts)]

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /embed`."""
        body = {
            "inputs": [each.payload for each in inputs],
            "truncate": self.needs_cut(inputs, self._max_tokens),
            "truncation_direction": "Right",
            "normalize": True,
            **self._prompt,
        }
        response = self.http.post("/embed", body, cancelled=cancelled)
        n_tokens = response.headers.get("x-compute-tokens", "")
        return EmbeddingResponse(
            vectors=rows_to_vectors(response.json(), self.address.url),
            n_tokens=int(n_tokens) if n_tokens.isascii() and n_tokens.isdigit() else None,
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        body = {"inputs": list(texts), "add_special_tokens": True, **self._prompt}
        tokens: list[list[dict[str, Any]]] = self.http.post("/tokenize", body).json()
        return tokens

    def _check_pooling(self, model_type: object) -> None:
        pooling = model_type.get("embedding", {}).get("pooling") if isinstance(model_type, dict) else None
        if pooling is None:
            raise BackendError(f"{self.address} does not serve embeddings ({model_type}). Name a server that does.")
        if _POOLING.get(pooling) != self.spec.pooling:
            raise BackendError(
                f"{self.address} pools {pooling!r}, and {self.spec.name} was trained for {self.spec.pooling!r}: the "
                "vectors would be wrong. Start it with --pooling last-token, mean or cls accordingly."
            )

    def _check_prompt(self) -> None:
        """Refuse a server that puts a prompt before texts, as the offsets of one letter's tokens show."""
        (tokens,) = self._tokenize([_PROBE])
        if any((token.get("stop") or 0) > len(_PROBE) for token in tokens):
            raise BackendError(
                f"{self.address} puts a prompt of its own before each text, and ours is there already. Start it "
                "without --default-prompt and --default-prompt-name."
            )


def ask_info(http: HttpConnection) -> dict[str, Any] | None:
    """What TEI says of itself, or None from any other server."""
    try:
        info = http.get("/info", at_most_s=FIRST_ANSWER_TIMEOUT_S).json_or_none()
    except StatusError as error:
        if error.status in (401, 403):
            raise
        return None
    return info if _is_tei(info) else None


def _is_tei(info: object) -> bool:
    return isinstance(info, dict) and "model_id" in info and "max_client_batch_size" in info
