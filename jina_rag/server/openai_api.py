"""OpenAI's embeddings API: `POST /v1/embeddings` (and `/embeddings`) and `GET /v1/models`.

Shapes follow OpenAI's reference and its Python client. Fields of our own are `prompt_name`, `input_type`, `task`,
`truncate` and `normalize`; `jina_rag` in the answer says what OpenAI's usage leaves out. A field that is not known is
refused, because ignoring it could give other vectors than the client believes.
"""

import base64
import time
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from jina_rag.server.documentation import REFUSALS, OpenAIError
from jina_rag.server.fields import EmbedFields, Texts
from jina_rag.server.request_body import ParsedRoute, log_result
from jina_rag.server.service import Embedded, EmbeddingService, EmbedRequest


class EmbeddingsBody(EmbedFields):
    """What to embed, and how."""

    input: Texts
    model: Annotated[
        str, Field(description="A name that /v1/models lists; :query, :document or :none picks the prompt.")
    ]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="base64 is of little-endian float32.")
    ] = None
    user: Annotated[str | None, Field(description="Accepted for OpenAI's clients; nothing is done with it.")] = None


class EmbeddingItem(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingDetails(BaseModel):
    """What OpenAI's usage leaves out."""

    token_counts: list[int]
    truncated: list[int]


class EmbeddingsAnswer(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage
    jina_rag: EmbeddingDetails


class ModelItem(BaseModel):
    """A name by which the model may be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["jina_rag"]
    jina_rag: dict[str, Any]


class ModelList(BaseModel):
    """All of these names."""

    object: Literal["list"]
    data: list[ModelItem]


def openai_router(service: EmbeddingService) -> APIRouter:
    """The routes, over a service."""
    router = APIRouter(tags=["OpenAI"], route_class=ParsedRoute)
    created = int(time.time())
    models = [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "jina_rag",
            "jina_rag": {**service.description, "prompt": prompt},
        }
        for name, prompt in service.names.with_prompts()
    ]

    async def embeddings(body: EmbeddingsBody, request: Request) -> Response:
        """Embed texts. Vectors are the same as those of `jina_rag.Embedder` with the same prompt."""
        embedded = await service.embed(
            EmbedRequest(
                texts=body.input,
                param="input",
                prompt=body.prompt(service.names.find(body.model)),
                truncate=body.truncate,
                dimensions=body.dimensions,
                normalize=body.normalize is not False,
            ),
        )
        log_result(request.scope, embedded)
        content = await service.run(embedded.vectors.size, _render, embedded, body.model, body.encoding_format)
        return Response(content, media_type="application/json")

    for path, listed in (("/v1/embeddings", True), ("/embeddings", False)):
        router.post(path, response_model=EmbeddingsAnswer, responses=REFUSALS["embeddings"], include_in_schema=listed)(
            embeddings
        )

    @router.get("/v1/models", response_model=ModelList, responses=REFUSALS["openai"])
    async def list_models() -> dict[str, Any]:
        """The names by which the model may be asked for, with all that tells its vectors from others."""
        return {"object": "list", "data": models}

    @router.get(
        "/v1/models/{model_id:path}",
        response_model=ModelItem,
        responses={**REFUSALS["openai"], 404: {"model": OpenAIError, "description": "No such model"}},
    )
    async def get_model(model_id: str) -> dict[str, Any]:
        """One of these names."""
        for model in models:
            if model["id"] == model_id:
                return model
        prompt = service.names.find(model_id)
        return {**models[0], "id": model_id, "jina_rag": {**service.description, "prompt": prompt}}

    return router


def _render(embedded: Embedded, model: str, encoding_format: str | None) -> bytes:
    n_tokens = sum(embedded.token_counts)
    vectors: list[Any] = list(embedded.vectors)
    if encoding_format == "base64":
        vectors = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in embedded.vectors]
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)],
        "model": model,
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        "jina_rag": {"token_counts": embedded.token_counts, "truncated": embedded.truncated},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
