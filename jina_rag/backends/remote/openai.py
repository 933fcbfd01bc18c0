"""Servers that speak OpenAI's embeddings API: llama-server, vLLM, llama-cpp-python's, LocalAI, and `jina-rag serve`.

They share `POST /v1/embeddings` and little else, so a server is recognised by `owned_by` in `/v1/models` and then
treated as its kind: how it counts tokens, whether it takes tokens for a text, what it does with one that is too long.
Prompts are in the texts already and vectors are asked for whole. Any server may cut silently: the number of tokens that
it reports is compared with what it was sent.

Sources: llama.cpp `tools/server/server-context.cpp`, llama_cpp `server/app.py`, vLLM `entrypoints/pooling/embed`.
"""

import base64
import binascii
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from threading import Event
from typing import Any, ClassVar, TypeAlias
from unicodedata import normalize as unicode_normalize

import numpy as np

from jina_rag.backends.base import limit_tokens
from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import (
    EmbeddingResponse,
    Engine,
    HttpEngine,
    RemoteInput,
    ServerInfo,
    rows_to_vectors,
    surely_fits,
)
from jina_rag.backends.remote.http import FIRST_ANSWER_TIMEOUT_S, HttpConnection, Response, StatusError
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
        BackendError: the server has no such model, or speaks another protocol.
    """
    http = HttpConnection(address, n_connections=2 * address.concurrency)
    model = _find_model(list_models(http, address, at_most_s=FIRST_ANSWER_TIMEOUT_S), address, spec)
    return _KINDS.get(str(model.get("owned_by")), OpenAIEngine)(http, address, spec)


def list_models(http: HttpConnection, address: BackendAddress, *, at_most_s: float = math.inf) -> list[Json]:
    """What the server lists in `/v1/models`.

    Raises:
        BackendUnavailableError: it does not answer.
        BackendError: it has no such list.
    """
    try:
        body = http.get("/v1/models", at_most_s=at_most_s).json()
    except StatusError as error:
        if error.status != 404:
            raise
        raise BackendError(
            f"{address} is no embedding server that is known here: it has no /v1/models. Check the address, or say "
            "what it is: tei+http://… for Text Embeddings Inference."
        ) from error
    data = body.get("data") if isinstance(body, dict) else None
    return [row for row in data if isinstance(row, dict) and "id" in row] if isinstance(data, list) else []


def _find_model(models: Sequence[Json], address: BackendAddress, spec: ModelSpec) -> Json:
    """The model that the user named, or whose name we know, or that is the only one."""
    wanted = {address.model} if address.model else {spec.name, *spec.aliases}
    for model in models:
        if model["id"] in wanted:
            return model
    if len(models) == 1 and not address.model:
        return models[0]
    offered = ", ".join(str(model["id"]) for model in models[:10]) or "none"
    raise BackendError(
        f"{address} has no model {address.model or spec.name!r}; it has: {offered}. Name one after the address: "
        "?model=NAME"
    )


class OpenAIEngine(HttpEngine):
    """Any server of which only the API is known. It counts no tokens, so a local tokenizer must."""

    owner: ClassVar[str | None] = None
    kind: ClassVar[str] = "openai"
    model: str = ""

    def describe(self) -> ServerInfo:
        """Ask `/v1/models`."""
        model = _find_model(list_models(self.http, self.address), self.address, self.spec)
        if self.owner is not None and model.get("owned_by") != self.owner:
            raise BackendError(f"{self.address} is another kind of server now. Create the embedder again.")
        self.model = str(model["id"])
        self.check_model(self.model)
        return self.read_info(model)

    def read_info(self, model: Json) -> ServerInfo:  # noqa: ARG002 - others have something to read there
        """What the model's entry in the list says."""
        return ServerInfo(kind=self.kind, name=self.model, identity=f"{self.kind}/{self.model}")

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`."""
        body = {"model": self.model, "input": [each.payload for each in inputs], **self.request_fields(inputs)}
        response = self.http.post("/v1/embeddings", body, cancelled=cancelled, permanent=_PHYSICAL_BATCH)
        vectors, counts = read_embeddings(response), self.read_token_counts(response)
        n_tokens = self.exact_count(_usage(response.json()), inputs) if counts is None else sum(counts)
        return EmbeddingResponse(vectors=vectors, n_tokens=n_tokens, token_counts=counts)

    def request_fields(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        """The fields of a request besides model and texts."""
        self.refuse_cuts(inputs)
        return {"encoding_format": "float"}

    def exact_count(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:
        """The server's count, if it proves anything: of an unknown server only that it read too little does."""
        return usage if usage and usage < sum(each.n_read or 0 for each in inputs) else None

    def read_token_counts(self, response: Response) -> tuple[int, ...] | None:  # noqa: ARG002 - ours has them
        """The tokens of each text, if the response has them."""
        return None


class _JinaRag(OpenAIEngine):
    """`jina-rag serve`: it says all there is to know, and cuts only when told to."""

    owner = "jina_rag"
    kind = "jina_rag"
    max_input_tokens: int | None = None

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts; only those that may be too long are counted, for the response has the counts of all."""
        doubtful = [text for text in texts if not surely_fits(text, max_tokens)]
        counts = dict(zip(doubtful, self.count_tokens(doubtful), strict=True)) if doubtful else {}
        return [RemoteInput(payload=text, n_tokens=counts.get(text), max_tokens=max_tokens) for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        body = {"inputs": list(texts), "add_special_tokens": True, "prompt_name": "none"}
        return [len(ids) for ids in self.http.post("/tokenize", body).json()]

    def read_info(self, model: Json) -> ServerInfo:
        info = model["jina_rag"]
        if info["pooling"] != self.spec.pooling:
            raise BackendError(
                f"{self.address} pools {info['pooling']} and {self.spec.name} needs {self.spec.pooling}. Name the "
                "model that it serves."
            )
        self.max_input_tokens = info["max_input_tokens"]
        return ServerInfo(
            kind=self.kind,
            name=self.model,
            identity=info["weights"],  # the same as in process, because it is the same engine
            quantization=info["quantization"],
            dimensions=info["dimensions"],
            max_input_tokens=self.max_input_tokens,
            max_batch_texts=min(info["max_batch_size"], 64),
            max_batch_tokens=min(info["max_request_tokens"], 16_384),  # so that several requests share the work
            max_batch_bytes=info["max_body_bytes"] // 2,  # JSON may write a letter in six
        )

    def request_fields(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        truncate = self.needs_cut(inputs, self.max_input_tokens)
        return {"encoding_format": "base64", "prompt_name": "none", "truncate": truncate, "normalize": False}

    def read_token_counts(self, response: Response) -> tuple[int, ...]:
        return tuple(response.field("jina_rag")["token_counts"])


class _TokenEngine(OpenAIEngine, ABC):
    """A server that returns a text's tokens and takes tokens for a text, so that what it reads is known exactly."""

    n_suffix_tokens: int | None = None

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The text's tokens, special ones included."""

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """The texts' tokens, cut before the closing special ones where they are too many."""
        tokens = [self.tokenize(text) for text in texts]
        if [] in tokens:
            raise InvalidTextError(tokens.index([]), "is empty, and this model adds no token to it. Leave it out.")
        if self.n_suffix_tokens is None and any(len(ids) > max_tokens for ids in tokens):
            # What an empty text and a letter end with alike are the special tokens that follow a text.
            empty, letter = self.tokenize(""), self.tokenize("a")
            same = [one == other for one, other in zip(reversed(empty), reversed(letter), strict=False)]
            self.n_suffix_tokens = same.index(False) if False in same else len(same)
        limited, _ = limit_tokens(
            tokens, max_tokens=max_tokens, n_suffix_tokens=self.n_suffix_tokens or 0, truncate=True
        )
        return [
            RemoteInput(payload=tuple(kept), n_tokens=len(ids), max_tokens=max_tokens)
            for kept, ids in zip(limited, tokens, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/tokenize`."""
        return [len(self.tokenize(text)) for text in texts]

    def request_fields(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:  # noqa: ARG002 - they are cut already
        return {"encoding_format": "base64"}

    def exact_count(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:  # noqa: ARG002
        return usage


class _LlamaServer(_TokenEngine):
    """llama.cpp's own server. It doesn't report its pooling: start it with the `--pooling` of the model card."""

    owner = "llamacpp"
    kind = "llama-server"

    def tokenize(self, text: str) -> list[int]:
        if self.spec.normal_form:
            text = unicode_normalize(self.spec.normal_form, text)
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens: list[int] = self.http.post("/tokenize", body).field("tokens")
        return tokens

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        try:
            return super().send(inputs, cancelled)
        except StatusError as error:
            if not (found := _PHYSICAL_BATCH.search(str(error))):
                raise
            raise BackendError(
                f"{self.address} must read a text of {found[1]} tokens at once and its physical batch is {found[2]}. "
                f"Start llama-server with -b {self.spec.max_input_tokens} -ub {self.spec.max_input_tokens}."
            ) from error

    def read_info(self, model: Json) -> ServerInfo:
        meta: Json = model.get("meta") or {}
        name = PurePath(self.model).name  # the server's folders are no part of a model's identity
        quantization = _quantization(str(meta.get("ftype", "")))
        # Fine-tuned siblings are equally large, so the name counts; the size tells files of one name apart.
        size = f"{meta.get('n_params')} parameters/{meta.get('size')} bytes"
        return ServerInfo(
            kind=self.kind,
            name=name,
            identity=f"{self.kind}/{name}/{quantization}/{size}",
            quantization=quantization,
            dimensions=meta.get("n_embd"),
            max_input_tokens=meta["n_ctx"] - 1 if meta.get("n_ctx") else None,  # a causal model needs one more
        )


class _Vllm(_TokenEngine):
    """vLLM, started with `--runner pooling`."""

    owner = "vllm"
    kind = "vllm"

    def tokenize(self, text: str) -> list[int]:
        body = {"model": self.model, "prompt": text, "add_special_tokens": True}
        tokens: list[int] = self.http.post("/tokenize", body).field("tokens")
        return tokens

    def read_info(self, model: Json) -> ServerInfo:
        return ServerInfo(
            kind=self.kind,
            name=self.model,
            # `root` is the repository or folder that was loaded; `id` may be any name.
            identity=f"{self.kind}/{model.get('root') or self.model}",
            max_input_tokens=model.get("max_model_len"),
            max_batch_texts=64,
        )


class _LlamaCppPython(OpenAIEngine):
    """llama-cpp-python's server, which cuts a text to its batch and doesn't say so; its usage shows it."""

    owner = "me"
    kind = "llama-cpp-python"

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, all counted, so that a cut is noticed."""
        return [
            RemoteInput(payload=text, n_tokens=count, max_tokens=max_tokens)
            for text, count in zip(texts, self.count_tokens(texts), strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Ask `/extras/tokenize/count`."""
        bodies = ({"model": self.model, "input": text} for text in texts)
        return [self.http.post("/extras/tokenize/count", body).field("count") for body in bodies]

    def read_info(self, model: Json) -> ServerInfo:  # noqa: ARG002
        name = PurePath(self.model).name
        return ServerInfo(kind=self.kind, name=name, identity=f"{self.kind}/{name}")

    def request_fields(self, inputs: Sequence[RemoteInput]) -> dict[str, object]:
        self.refuse_cuts(inputs)
        return {}

    def exact_count(self, usage: int | None, inputs: Sequence[RemoteInput]) -> int | None:  # noqa: ARG002
        return usage


_KINDS: dict[str, type[OpenAIEngine]] = {
    str(kind.owner): kind for kind in (_JinaRag, _LlamaServer, _Vllm, _LlamaCppPython)
}


def read_embeddings(response: Response) -> FloatArray:
    """The vectors of a response in OpenAI's shape, ordered by their `index`.

    Raises:
        BackendError: it has another shape, or not one vector for each text.
    """
    body = response.json()
    try:
        items = {item["index"]: item["embedding"] for item in body["data"]}
        rows = [
            np.frombuffer(base64.b64decode(row, validate=True), "<f4") if isinstance(row, str) else row
            for row in (items[index] for index in range(len(body["data"])))
        ]
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise BackendError(
            f"{response.url} did not answer with one embedding for each index ({type(error).__name__}: {error}). Is "
            "it an embedding server?"
        ) from error
    return rows_to_vectors(rows, response.url)


def _usage(body: Json) -> int | None:
    usage = body.get("usage") or {}
    count = usage.get("prompt_tokens") or usage.get("total_tokens")
    return count if isinstance(count, int) else None


def _quantization(ftype: str) -> str:
    """llama.cpp's name of a file's type ("Q4_K - Medium", "all F32") as it is written everywhere else."""
    found = _FTYPE.match(ftype)
    if not found:
        return ""
    name, size = found.groups()
    return name if name in QUANTIZATIONS or size is None else f"{name}_{size[0]}"
