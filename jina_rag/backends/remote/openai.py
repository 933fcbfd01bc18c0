"""Servers that speak OpenAI's embeddings API: llama-server, vLLM, llama-cpp-python's, LocalAI, and `jina-rag serve`.

They share `POST /v1/embeddings` and little else, so a server is asked who it is (`owned_by` in `/v1/models`) and then
treated as its kind: how it counts tokens, whether it takes tokens for a text, what it does with one that is too long.
Prompts are in the texts already, vectors are asked for whole, and nobody is trusted not to cut silently: what a server
says that it read is compared with what it was sent.

Sources: llama.cpp `tools/server/server-context.cpp`, llama_cpp `server/app.py`, vLLM `entrypoints/pooling/embed`.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from threading import Event
from typing import Any, ClassVar, TypeAlias
from unicodedata import normalize as unicode_normalize

import numpy as np

from jina_rag.backends.base import limit_tokens
from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.backend import (
    EmbeddingResponse,
    Engine,
    RemoteInput,
    ServerInfo,
    check_cuts,
    check_model,
    rows_to_vectors,
    surely_fits,
)
from jina_rag.backends.remote.http import FIRST_RETRY_S, HttpConnection, StatusError
from jina_rag.backends.remote.tokenizer import LocalTokenizer
from jina_rag.errors import BackendError, InvalidTextError
from jina_rag.models import QUANTIZATIONS, ModelSpec
from jina_rag.vectors import FloatArray

Json: TypeAlias = Mapping[str, Any]

_FTYPE = re.compile(r"(?:\(guessed\) )?(?:all )?(\w+)(?: - (Small|Medium|Large)\b)?")  # llama.cpp's `llama_ftype_name`
_PHYSICAL_BATCH = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)", re.DOTALL)


def connect_openai(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine for the kind of server that answers.

    Raises:
        BackendUnavailableError: nothing answers.
        BackendError: what answers has no such model, or speaks another language.
    """
    http = HttpConnection(address.url, address.key, policy=address.retry_policy, n_connections=2 * address.concurrency)
    row = _find_row(http, address, spec, retry_s=FIRST_RETRY_S)
    return _KINDS.get(str(row.get("owned_by")), OpenAIEngine)(http, address, spec)


class OpenAIEngine:
    """Any server of which nothing is known but the API. It counts no tokens, so a tokenizer of ours must."""

    owner: ClassVar[str | None] = None
    kind: ClassVar[str] = "openai"

    def __init__(self, http: HttpConnection, address: BackendAddress, spec: ModelSpec) -> None:
        self._http = http
        self._address = address
        self._spec = spec
        self._name = ""
        self._tokenizer = LocalTokenizer(address.tokenizer) if address.tokenizer else None

    def describe(self) -> ServerInfo:
        """Ask `/v1/models`."""
        row = _find_row(self._http, self._address, self._spec)
        if self.owner is not None and row.get("owned_by") != self.owner:
            raise BackendError(f"{self._address} is another kind of server now than before. Make the embedder anew.")
        self._name = str(row["id"])
        check_model(self._name, self._spec, self._address)
        return self._server_info(row)

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, counted where that is possible."""
        if not self._can_count:
            return [RemoteInput(payload=text, n_tokens=None) for text in self._short(texts, max_tokens)]
        return [
            RemoteInput(payload=text, n_tokens=n_tokens, limit=max_tokens if n_tokens > max_tokens else None)
            for text, n_tokens in zip(texts, self.count_tokens(texts), strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count with the tokenizer that the user named."""
        if self._tokenizer is None:
            raise BackendError(
                f"{self._address} can't count tokens, so nobody knows whether a text fits. Name the model's tokenizer "
                "after the address: ?tokenizer=/path/to/tokenizer.json"
            )
        return self._tokenizer.count_tokens(texts)

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`."""
        body = {"model": self._name, "input": [item.payload for item in inputs], **self._extras(inputs)}
        reply = self._http.post("/v1/embeddings", body, cancelled=cancelled)
        answer = reply.json(self._address.url)
        return EmbeddingResponse(
            vectors=read_embeddings(answer, self._address.url),
            n_tokens=self._exactly(_usage(answer), inputs),
        )

    @property
    def interrupted_at(self) -> float:
        """When the server was away last."""
        return self._http.interrupted_at

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def _can_count(self) -> bool:
        return self._tokenizer is not None

    def _server_info(self, row: Json) -> ServerInfo:  # noqa: ARG002 - others have something to read there
        return ServerInfo(kind=self.kind, name=self._name, identity=f"{self.kind}/{self._name}")

    def _extras(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        """What to say besides model and texts."""
        if any(item.limit is not None for item in inputs):
            raise BackendError(f"{self._address} can't be asked to cut a text. Split those that are too long yourself.")
        return {"encoding_format": "float"}

    def _exactly(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:
        """The server's count, if it proves anything: of an unknown server only that it read too little does."""
        sent = sum(item.n_read or 0 for item in inputs)
        return usage if usage and usage < sent else None

    def _short(self, texts: Sequence[str], max_tokens: int) -> Sequence[str]:
        """The texts, if none of them needs to be counted."""
        if not all(surely_fits(text, max_tokens) for text in texts):
            self.count_tokens(texts)  # says that it can't
        return texts


class _JinaRag(OpenAIEngine):
    """`jina-rag serve`: it says all there is to know, and cuts only when told to."""

    owner = "jina_rag"
    kind = "jina_rag"
    _max_tokens: int | None = None

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts; only those that could be too long are counted, for the answer has the numbers of the others."""
        doubtful = [text for text in texts if not surely_fits(text, max_tokens)]
        counts = dict(zip(doubtful, self.count_tokens(doubtful), strict=True)) if doubtful else {}
        return [
            RemoteInput(payload=text, n_tokens=n_tokens, limit=max_tokens if (n_tokens or 0) > max_tokens else None)
            for text in texts
            for n_tokens in [counts.get(text)]
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        body = {"inputs": list(texts), "add_special_tokens": True, "prompt_name": "none"}
        tokens = self._http.post("/tokenize", body).json(self._address.url)
        return [len(ids) for ids in tokens]

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`, whose answer has each text's tokens."""
        body = {"model": self._name, "input": [item.payload for item in inputs], **self._extras(inputs)}
        reply = self._http.post("/v1/embeddings", body, cancelled=cancelled)
        counts = tuple(reply.field("jina_rag", self._address.url)["token_counts"])
        vectors = read_embeddings(reply.json(self._address.url), self._address.url)
        return EmbeddingResponse(vectors=vectors, n_tokens=sum(counts), token_counts=counts)

    def _extras(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        cut = check_cuts(inputs, self._max_tokens, self._address.url)
        return {"encoding_format": "base64", "prompt_name": "none", "truncate": cut, "normalize": False}

    def _server_info(self, row: Json) -> ServerInfo:
        told = row["jina_rag"]
        if told["pooling"] != self._spec.pooling:
            raise BackendError(
                f"{self._address} pools {told['pooling']} and {self._spec.name} needs {self._spec.pooling}. Name the "
                "model that it serves."
            )
        self._max_tokens = told["max_input_tokens"]
        return ServerInfo(
            kind=self.kind,
            name=self._name,
            identity=told["weights"],  # the same as in process, because it is the same engine
            quantization=told["quantization"],
            dimensions=told["dimensions"],
            max_input_tokens=self._max_tokens,
            max_batch_texts=min(told["max_batch_size"], 64),
            max_batch_tokens=min(told["max_request_tokens"], 16_384),  # so that several requests share the work
            max_batch_bytes=told["max_body_bytes"] // 2,  # JSON may write a letter in six
        )


class _TokenEngine(OpenAIEngine):
    """A server that tells a text's tokens and takes tokens for a text, so that what it reads is known to the token."""

    def __init__(self, http: HttpConnection, address: BackendAddress, spec: ModelSpec) -> None:
        super().__init__(http, address, spec)
        self._n_closing: int | None = None

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """The texts' tokens, cut before the closing special ones where they are too many."""
        tokens = [self._tokenize(text) for text in texts]
        if [] in tokens:
            raise InvalidTextError("A text is empty, and this model adds nothing to it. Leave it out.")
        limited, _ = limit_tokens(
            tokens, max_tokens=max_tokens, n_suffix_tokens=self._closing(tokens, max_tokens), truncate=True
        )
        return [
            RemoteInput(payload=tuple(kept), n_tokens=len(ids), limit=max_tokens if len(ids) > max_tokens else None)
            for kept, ids in zip(limited, tokens, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        return [len(self._tokenize(text)) for text in texts]

    def _tokenize(self, text: str) -> list[int]:
        raise NotImplementedError

    def _closing(self, tokens: Sequence[list[int]], max_tokens: int) -> int:
        """How many special tokens follow a text: what an empty text and a letter end with alike."""
        if self._n_closing is None:
            if all(len(ids) <= max_tokens for ids in tokens):
                return 0
            empty, letter = self._tokenize(""), self._tokenize("a")
            alike = [one == other for one, other in zip(reversed(empty), reversed(letter), strict=False)]
            self._n_closing = alike.index(False) if False in alike else len(alike)
        return self._n_closing

    def _extras(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:  # noqa: ARG002 - they are cut already
        return {"encoding_format": "base64"}

    def _exactly(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:  # noqa: ARG002
        return usage


class _LlamaServer(_TokenEngine):
    """llama.cpp's own server. It doesn't tell its pooling: start it with the `--pooling` of the model's card."""

    owner = "llamacpp"
    kind = "llama-server"

    def __init__(self, http: HttpConnection, address: BackendAddress, spec: ModelSpec) -> None:
        super().__init__(http, address, spec)
        http.permanent = _PHYSICAL_BATCH  # it comes as a 500

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`; a physical batch that is too small is told as what it is."""
        try:
            return super().send(inputs, cancelled)
        except BackendError as error:
            if not (found := _PHYSICAL_BATCH.search(str(error))):
                raise
            raise BackendError(
                f"{self._address} has to read a text of {found[1]} tokens in one piece and has room for {found[2]}. "
                f"Start llama-server with -b {self._spec.max_input_tokens} -ub {self._spec.max_input_tokens}."
            ) from error

    def _tokenize(self, text: str) -> list[int]:
        if self._spec.normal_form:
            text = unicode_normalize(self._spec.normal_form, text)
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens: list[int] = self._http.post("/tokenize", body).field("tokens", self._address.url)
        return tokens

    def _server_info(self, row: Json) -> ServerInfo:
        told: Json = row.get("meta") or {}
        name = PurePath(self._name).name  # a file's folder is that machine's own affair
        quantization = _quantization(str(told.get("ftype", "")))
        # Fine-tuned siblings are equally large, so the name counts; the size tells files of one name apart.
        size = f"{told.get('n_params')} parameters/{told.get('size')} bytes"
        return ServerInfo(
            kind=self.kind,
            name=name,
            identity=f"{self.kind}/{name}/{quantization}/{size}",
            quantization=quantization,
            dimensions=told.get("n_embd"),
            max_input_tokens=told["n_ctx"] - 1 if told.get("n_ctx") else None,  # a causal model needs a place more
        )


class _Vllm(_TokenEngine):
    """vLLM, started with `--runner pooling`."""

    owner = "vllm"
    kind = "vllm"

    def _tokenize(self, text: str) -> list[int]:
        body = {"model": self._name, "prompt": text, "add_special_tokens": True}
        tokens: list[int] = self._http.post("/tokenize", body).field("tokens", self._address.url)
        return tokens

    def _server_info(self, row: Json) -> ServerInfo:
        # `root` is the repository or folder that was loaded; `id` may be any name.
        root = str(row.get("root") or self._name)
        return ServerInfo(
            kind=self.kind,
            name=self._name,
            identity=f"{self.kind}/{root}",
            max_input_tokens=row.get("max_model_len"),
            max_batch_texts=64,
        )


class _LlamaCppPython(OpenAIEngine):
    """llama-cpp-python's server, which cuts a text to its batch and doesn't say so; its usage gives it away."""

    owner = "me"
    kind = "llama-cpp-python"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/extras/tokenize/count`."""
        return [self._count(text) for text in texts]

    def _count(self, text: str) -> int:
        body = {"model": self._name, "input": text}
        count: int = self._http.post("/extras/tokenize/count", body).field("count", self._address.url)
        return count

    @property
    def _can_count(self) -> bool:
        return True

    def _server_info(self, row: Json) -> ServerInfo:  # noqa: ARG002
        name = PurePath(self._name).name
        return ServerInfo(kind=self.kind, name=name, identity=f"{self.kind}/{name}")

    def _extras(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        super()._extras(inputs)  # it can't cut either
        return {}

    def _exactly(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:  # noqa: ARG002
        return usage


_KINDS: dict[str, type[OpenAIEngine]] = {
    str(kind.owner): kind for kind in (_JinaRag, _LlamaServer, _Vllm, _LlamaCppPython)
}


def read_embeddings(answer: Any, where: str) -> FloatArray:  # noqa: ANN401 - the server's
    """The vectors of an answer in OpenAI's shape, in the order of their `index`, which need not be theirs in the list.

    Raises:
        BackendError: it has another shape, or not one vector for each text.
    """
    try:
        items = {item["index"]: item["embedding"] for item in answer["data"]}
        rows = [_numbers(items[index]) for index in range(len(answer["data"]))]
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise BackendError(
            f"{where} did not answer with one embedding for each index ({type(error).__name__}: {error}). Is it a "
            "server for embeddings?"
        ) from error
    return rows_to_vectors(rows, where)


def _numbers(embedding: object) -> object:
    if isinstance(embedding, str):  # base64 of little-endian float32
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return embedding


def served_rows(address: BackendAddress) -> list[Json]:
    """What the server lists in `/v1/models`.

    Raises:
        BackendUnavailableError: it does not answer.
        BackendError: it has no such list.
    """
    http = HttpConnection(address.url, address.key, policy=address.retry_policy, n_connections=1)
    try:
        return _rows(http, address, FIRST_RETRY_S)
    finally:
        http.close()


def _find_row(http: HttpConnection, address: BackendAddress, spec: ModelSpec, *, retry_s: float | None = None) -> Json:
    """The row that the user named, or whose name we know, or that there is only one of."""
    rows = _rows(http, address, retry_s)
    wanted = {address.model} if address.model else {spec.name, *spec.aliases}
    named = [row for row in rows if row["id"] in wanted]
    if named:
        return named[0]
    if len(rows) == 1 and not address.model:
        return rows[0]
    offered = ", ".join(str(row["id"]) for row in rows[:10]) or "none"
    raise BackendError(
        f"{address} has no model {address.model or spec.name!r}; it has: {offered}. Name one after the address: "
        "?model=NAME"
    )


def _rows(http: HttpConnection, address: BackendAddress, retry_s: float | None) -> list[Json]:
    try:
        answer = http.get("/v1/models", retry_s=retry_s).json(address.url)
    except StatusError as error:
        if error.status != 404:
            raise
        raise BackendError(
            f"{address} is no server for embeddings that is known here: it has no /v1/models. Check the address, or "
            "say what it is: tei+http://… for Text Embeddings Inference."
        ) from error
    data = answer.get("data") if isinstance(answer, dict) else None
    return [row for row in data if isinstance(row, dict) and "id" in row] if isinstance(data, list) else []


def _usage(answer: Json) -> int | None:
    usage = answer.get("usage") or {}
    count = usage.get("prompt_tokens") or usage.get("total_tokens")
    return count if isinstance(count, int) else None


def _quantization(ftype: str) -> str:
    """llama.cpp's name of a file's type ("Q4_K - Medium", "all F32") as it is written everywhere else."""
    found = _FTYPE.match(ftype)
    if not found:
        return ""
    name, size = found.groups()
    return name if name in QUANTIZATIONS or size is None else f"{name}_{size[0]}"
