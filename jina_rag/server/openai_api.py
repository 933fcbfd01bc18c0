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
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from jina_rag.server.documentation import REFUSALS, OpenAIError
from jina_rag.server.prompts import SpelledPrompt, choose_prompt
from jina_rag.server.service import Embedded, EmbeddingService, EmbedRequest
from jina_rag.server.transport import ParsedRoute, log_result


def _check_input(value: object) -> list[str]:
    texts: Any = [value] if isinstance(value, str) else value
    kinds = set(map(type, texts)) if isinstance(texts, list) else set()
    if kinds == {str}:
        return list(texts)
    if kinds and kinds <= {int, list}:
        raise PydanticCustomError(
            "tokens",
            "holds token ids, and they would be those of another model's vocabulary. Send texts; in LangChain's "
            "OpenAIEmbeddings set check_embedding_ctx_length=False.",
        )
    raise PydanticCustomError("texts", "must be a string or a list of strings, at least one.")


Texts = Annotated[
    list[str],
    PlainValidator(_check_input),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "description": "A text or a list of texts. Arrays of token ids are refused with status 400.",
        }
    ),
]


class EmbeddingsBody(BaseModel):
    """What to embed, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: Texts
    model: Annotated[
        str, Field(description="A name that /v1/models lists; :query, :document or :none picks the prompt.")
    ]
    dimensions: Annotated[int | None, Field(ge=1, description="A width that the model was trained for.")] = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="base64 is of little-endian float32.")
    ] = None
    user: Annotated[str | None, Field(description="Accepted for OpenAI's clients; nothing is done with it.")] = None
    prompt_name: Annotated[
        SpelledPrompt | None, Field(description="query, document or none (the texts carry their prompt).")
    ] = None
    input_type: Annotated[SpelledPrompt | None, Field(description="The same, as Elastic and Cohere call it.")] = None
    task: Annotated[SpelledPrompt | None, Field(description="The same, as Jina calls it.")] = None
    truncate: Annotated[bool | None, Field(description="Cut texts that are too long instead of refusing them.")] = None
    normalize: Annotated[bool | None, Field(description="Vectors of unit length; true unless false is sent.")] = None


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
        prompt = choose_prompt(
            {"prompt_name": body.prompt_name, "input_type": body.input_type, "task": body.task},
            service.names.find(body.model),
        )
        embedded = await service.embed(
            EmbedRequest(
                texts=body.input,
                param="input",
                prompt=prompt,
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
