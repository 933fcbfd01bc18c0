"""The API of Hugging Face's Text Embeddings Inference (TEI): `/embed`, `/similarity`, `/tokenize`, `/info`, `/health`.

Its `/rerank` is in `rerank_api`. Shapes follow text-embeddings-inference 1.9 (`router/src/http/types.rs`). Two things
differ on purpose: a text that is too long is refused unless the request or the server says `truncate`, and a field that
is not known is refused.
"""

from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from jina_rag import __version__
from jina_rag.backends.base import SupportsTokenize, Token
from jina_rag.server.budget import SHOWN_BYTES_PER_TOKEN
from jina_rag.server.documentation import REFUSALS
from jina_rag.server.errors import RequestError
from jina_rag.server.fields import Body, EmbedFields, PromptField, Texts, Truncate
from jina_rag.server.metrics import CONTENT_TYPE
from jina_rag.server.prompts import SpelledPrompt, apply_prompt, choose_prompt
from jina_rag.server.request_body import ParsedRoute, log_result
from jina_rag.server.reranking import RerankService
from jina_rag.server.service import EmbeddingService, EmbedRequest, Result, in_parts
from jina_rag.vectors import cosine_similarity

Direction = Annotated[
    Literal["Right", "right", "Left", "left"] | None, Field(description="Where to cut: Right keeps the beginning.")
]


class EmbedBody(EmbedFields):
    """What to embed, and how."""

    inputs: Texts
    truncation_direction: Direction = None


class SimilarityInputs(Body):
    """One text, and those to compare it with."""

    source_sentence: str
    sentences: Annotated[list[str], Field(min_length=1, fail_fast=True)]


class SimilarityParameters(Body):
    """How to embed them; one prompt for all."""

    truncate: Truncate = None
    truncation_direction: Direction = None
    prompt_name: PromptField = None


class SimilarityBody(Body):
    """What to compare."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizeBody(Body):
    """What to tokenize."""

    inputs: Texts
    add_special_tokens: bool = True
    prompt_name: Annotated[
        SpelledPrompt | None, Field(description="A prompt to put before; none unless one is named.")
    ] = None


class ShownToken(BaseModel):
    """One token; its place is null where the tokenizer alters the text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tei_router(service: EmbeddingService) -> APIRouter:
    """The routes, over a service."""
    router = APIRouter(tags=["TEI"], route_class=ParsedRoute)

    async def embed(body: EmbedBody, request: Request) -> Response:
        """Embed texts: always a list of vectors, also for a single text."""
        embedded = await service.embed(
            EmbedRequest(
                texts=body.inputs,
                param="inputs",
                prompt=body.prompt(),
                truncate=body.truncate,
                keep=_keep(body.truncation_direction),
                dimensions=body.dimensions,
                normalize=body.normalize is not False,
            ),
        )
        log_result(request.scope, embedded)
        content = await service.run(embedded.vectors.size, _as_json, embedded.vectors)
        return Response(
            content, headers=work_headers(embedded, sum(map(len, body.inputs))), media_type="application/json"
        )

    for path, listed in (("/embed", True), ("/", False)):
        router.post(path, response_model=list[list[float]], responses=REFUSALS["embed"], include_in_schema=listed)(
            embed
        )

    @router.post("/embed_all", status_code=422, responses=REFUSALS["embed"])
    async def embed_all() -> Response:
        """Not offered: these models were trained to be read at one place, so vectors of single tokens mean nothing."""
        raise RequestError("validation", "Vectors of single tokens are not offered. Use /embed for one vector a text.")

    @router.post("/similarity", response_model=list[float], responses=REFUSALS["embed"])
    async def similarity(body: SimilarityBody, request: Request) -> Response:
        """The cosine of one text with each of several others."""
        parameters = body.parameters or SimilarityParameters()
        texts = [body.inputs.source_sentence, *body.inputs.sentences]
        embedded = await service.embed(
            EmbedRequest(
                texts=texts,
                param="inputs",
                prompt=choose_prompt({"prompt_name": parameters.prompt_name}, None),
                truncate=parameters.truncate,
                keep=_keep(parameters.truncation_direction),
            ),
        )
        log_result(request.scope, embedded)
        cosines = cosine_similarity(embedded.vectors[0], embedded.vectors[1:])
        return Response(
            _as_json(cosines), headers=work_headers(embedded, sum(map(len, texts))), media_type="application/json"
        )

    @router.post("/tokenize", response_model=list[list[ShownToken]], responses=REFUSALS["embed"])
    async def tokenize(body: TokenizeBody) -> Response:
        """The tokens of each text. No prompt goes before it unless one is named."""
        prompt = choose_prompt({"prompt_name": body.prompt_name}, "none")
        prompts = service.embedder.spec.prompts
        texts = [apply_prompt(text, prompt, "none", prompts)[0] for text in body.inputs]
        counts = await service.count_tokens(texts, "inputs")
        service.check_request_tokens(sum(counts), "inputs")
        with service.budget.hold_answer(sum(counts) * SHOWN_BYTES_PER_TOKEN):
            shown = await _tokenize(service, texts, add_special_tokens=body.add_special_tokens)
            content = await service.run(sum(counts), orjson.dumps, shown)
        return Response(content, media_type="application/json")

    return router


def state_router(service: EmbeddingService, reranking: RerankService | None) -> APIRouter:
    """The routes that describe the server."""
    router = APIRouter(tags=["State"])
    information = _information(service, reranking)

    @router.get("/info", responses=REFUSALS["tei"])
    async def info() -> dict[str, Any]:
        """The model and the limits."""
        return information

    async def health() -> Response:
        """Status 200 while requests are taken, else 503."""
        if not service.is_ready:
            raise RequestError("unavailable", "The server takes no requests. See its log, or start it again.")
        return Response()

    for path, listed in (("/health", True), ("/ping", False), ("/", False)):
        router.get(path, response_class=Response, responses=REFUSALS["tei"], include_in_schema=listed)(health)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.render(), media_type=CONTENT_TYPE)

    return router


def work_headers(result: Result, n_characters: int) -> dict[str, str]:
    """What TEI says of a request's work: times in milliseconds, tokens and characters."""
    milliseconds = {stage: str(round(1000 * seconds)) for stage, seconds in result.seconds.items()}
    return {
        "x-compute-time": milliseconds["inference"],
        "x-compute-characters": str(n_characters),
        "x-compute-tokens": str(sum(result.token_counts)),
        "x-total-time": milliseconds["total"],
        "x-tokenization-time": milliseconds["tokenization"],
        "x-queue-time": milliseconds["queue"],
        "x-inference-time": milliseconds["inference"],
        "x-jina-rag-truncated": str(len(result.truncated)),
    }


def _information(service: EmbeddingService, reranking: RerankService | None) -> dict[str, Any]:
    spec, settings = service.embedder.spec, service.settings
    model_type: dict[str, Any] = {"embedding": {"pooling": {"last": "last_token"}.get(spec.pooling, spec.pooling)}}
    own: dict[str, Any] = {**service.description, "prompt": None}
    if reranking:  # TEI has one model, of one type
        model_type["reranker"] = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        own["reranker"] = reranking.description
    return {
        "model_id": spec.name,
        "model_sha": service.description["weights"],
        "model_dtype": service.embedder.quantization.lower() or "unknown",
        "served_model_name": service.names.listed[-1],
        "model_type": model_type,
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_input_length": spec.max_input_tokens,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_client_batch_size,
        "auto_truncate": settings.truncate,
        "tokenization_workers": 2,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "jina_rag": own,
    }


def _keep(direction: str | None) -> Literal["start", "end"]:
    return "end" if direction in ("Left", "left") else "start"


async def _tokenize(service: EmbeddingService, texts: list[str], *, add_special_tokens: bool) -> list[list[Token]]:
    backend = service.embedder.backend
    if not isinstance(backend, SupportsTokenize):
        raise RequestError(
            "validation", "This engine does not show its tokens. Ask a server that runs the model itself."
        )
    size = sum(map(len, texts))
    shown: list[list[Token]] = []
    for part in in_parts(texts):
        shown += await service.run(size, backend.tokenize, part, add_special_tokens=add_special_tokens)
    return shown


def _as_json(array: Any) -> bytes:  # noqa: ANN401 - what numpy makes of float32
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
