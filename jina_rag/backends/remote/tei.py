"""Text Embeddings Inference, and whatever answers in its way.

Source: text-embeddings-inference 1.9.3, `router/src/http/server.rs` and `types.rs`. Two of its habits need care: it
cuts long texts unless told not to, and it can be started with a prompt of its own, which would come on top of ours.
"""

from collections.abc import Sequence
from threading import Event
from typing import Any

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.backend import (
    EmbeddingResponse,
    Engine,
    RemoteInput,
    ServerInfo,
    check_cuts,
    check_model,
    rows_to_vectors,
)
from jina_rag.backends.remote.http import FIRST_RETRY_S, HttpConnection, StatusError
from jina_rag.errors import BackendError
from jina_rag.models import ModelSpec

_POOLING = {"last_token": "last", "mean": "mean", "cls": "cls"}
_PAYLOAD_BYTES = 1_000_000  # half of its default limit, because JSON may write a letter in six
_PROBE = "x"


def connect_tei(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine.

    Raises:
        BackendUnavailableError: nothing answers.
        BackendError: what answers is something else.
    """
    engine = TeiEngine(address, spec)
    engine.info(FIRST_RETRY_S)
    return engine


class TeiEngine:
    """One server of Text Embeddings Inference, which holds one model."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        self._address = address
        self._spec = spec
        self._http = HttpConnection(
            address.url, address.key, policy=address.retry_policy, n_connections=2 * address.concurrency
        )
        self._prompt: dict[str, object] = {}
        self._max_tokens: int | None = None

    def describe(self) -> ServerInfo:
        """Ask `/info`, and whether a prompt is put before a text."""
        info = self.info()
        # Ours says that texts come as they are; TEI itself has only a prompt that it knows, or none.
        self._prompt = {"prompt_name": "none"} if "jina_rag" in info else {}
        check_model(info["model_id"], self._spec, self._address)
        self._check_pooling(info.get("model_type"))
        self._check_prompt()
        self._max_tokens = info.get("max_input_length")
        revision = info.get("model_sha") or "unknown revision"
        return ServerInfo(
            kind="tei",
            name=info["model_id"],
            identity=_own_weights(info) or f"tei/{info['model_id']}@{revision}/{info.get('model_dtype', '')}",
            quantization=info.get("jina_rag", {}).get("quantization", ""),
            max_input_tokens=self._max_tokens,
            max_batch_texts=info["max_client_batch_size"],
            max_batch_tokens=info.get("max_batch_tokens") or 16_384,
            max_batch_bytes=_PAYLOAD_BYTES,
        )

    def info(self, retry_s: float | None = None) -> dict[str, Any]:
        """What the server says of itself."""
        info = self._http.get("/info", retry_s=retry_s).json(self._address.url)
        if not is_tei(info):
            raise BackendError(
                f"{self._address} is no Text Embeddings Inference. Write it as http://… to have it asked."
            )
        told: dict[str, Any] = info
        return told

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, counted by the server."""
        return [
            RemoteInput(payload=text, n_tokens=n_tokens, limit=max_tokens if n_tokens > max_tokens else None)
            for text, n_tokens in zip(texts, self.count_tokens(texts), strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        return [len(tokens) for tokens in self._tokenize(texts)]

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /embed`."""
        body = {
            "inputs": [item.payload for item in inputs],
            "truncate": check_cuts(inputs, self._max_tokens, self._address.url),
            "truncation_direction": "Right",
            "normalize": True,
            **self._prompt,
        }
        reply = self._http.post("/embed", body, cancelled=cancelled)
        told = reply.headers.get("x-compute-tokens", "")
        return EmbeddingResponse(
            vectors=rows_to_vectors(reply.json(self._address.url), self._address.url),
            n_tokens=int(told) if told.isascii() and told.isdigit() else None,
        )

    @property
    def interrupted_at(self) -> float:
        """When the server was away last."""
        return self._http.interrupted_at

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        body = {"inputs": list(texts), "add_special_tokens": True, **self._prompt}
        tokens: list[list[dict[str, Any]]] = self._http.post("/tokenize", body).json(self._address.url)
        return tokens

    def _check_pooling(self, model_type: object) -> None:
        told = model_type.get("embedding", {}).get("pooling") if isinstance(model_type, dict) else None
        if told is None:
            raise BackendError(f"{self._address} does not serve embeddings ({model_type}). Name a server that does.")
        if _POOLING.get(told) != self._spec.pooling:
            raise BackendError(
                f"{self._address} pools {told!r}, and {self._spec.name} was trained for {self._spec.pooling!r}: the "
                "vectors would be wrong. Start it with --pooling last-token, mean or cls accordingly."
            )

    def _check_prompt(self) -> None:
        """Refuse a server that puts a prompt before texts: where the tokens of one letter end tells it."""
        (tokens,) = self._tokenize([_PROBE])
        if any((token.get("stop") or 0) > len(_PROBE) for token in tokens):
            raise BackendError(
                f"{self._address} puts a prompt of its own before each text, and ours is there already. Start it "
                "without --default-prompt and --default-prompt-name."
            )


def ask_info(http: HttpConnection) -> dict[str, Any] | None:
    """What TEI says of itself, or None from any other server."""
    try:
        reply = http.get("/info", retry_s=FIRST_RETRY_S)
    except StatusError as error:
        if error.status in (401, 403):
            raise
        return None
    info = reply.json_or_none()
    return info if is_tei(info) else None


def is_tei(info: object) -> bool:
    """Whether an answer of `/info` is TEI's."""
    return isinstance(info, dict) and "model_id" in info and "max_client_batch_size" in info


def _own_weights(info: dict[str, Any]) -> str | None:
    weights = info.get("jina_rag", {}).get("weights")
    return weights if isinstance(weights, str) else None
