"""Reranking: `POST /v1/rerank` as Jina's and Cohere's services have it, Cohere's `/v2/rerank`, and TEI's `/rerank`.

Shapes follow Jina's reference, the client cohere 5.21 (`client.py`, `v2/client.py`) and text-embeddings-inference 1.9
(`router/src/http/types.rs`). As at the other addresses, a field that is not known is refused. Jina and Cohere read the
beginning of a document that is too long, and so do their addresses here, unless `truncate` is false; the answer says of
which. At TEI's a text that is too long is refused, unless the request or the server says `truncate`.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from jina_rag.server.documentation import REFUSALS
from jina_rag.server.errors import RequestError
from jina_rag.server.fields import Body, Texts, Truncate
from jina_rag.server.request_body import ParsedRoute, log_result
from jina_rag.server.reranking import Reranked, RerankRequest, RerankService
from jina_rag.server.service import EmbeddingService
from jina_rag.server.tei_api import Direction, work_headers


def _check_documents(value: object) -> list[str]:
    documents = value if isinstance(value, list) else []
    texts: list[Any] = [document.get("text") if isinstance(document, dict) else document for document in documents]
    if not texts or not all(type(text) is str for text in texts):
        raise PydanticCustomError("documents", 'must be a list of strings or of {"text": "…"}, at least one.')
    if any(len(document) > 1 for document in documents if isinstance(document, dict)):
        raise PydanticCustomError("documents", 'holds a document with other fields than "text". Leave them out.')
    return texts


Documents = Annotated[
    list[str],
    PlainValidator(_check_documents),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"text": {"type": "string"}},
                        "required": ["text"],
                        "additionalProperties": False,
                    },
                ]
            },
        }
    ),
]


class RerankFields(Body):
    """What to rank, and how much of it to give."""

    query: str
    documents: Documents
    top_n: Annotated[int | None, Field(ge=1, description="Give the best ones alone; all unless sent.")] = None
    max_tokens_per_doc: Annotated[
        int | None, Field(ge=1, description="Cohere's; only null, because documents are cut at what the model reads.")
    ] = None
    truncate: Annotated[
        bool | None, Field(description="False refuses documents that are too long; else their beginning is read.")
    ] = None


class RerankBody(RerankFields):
    """The fields of Jina's service, and of Cohere's first version."""

    model: Annotated[str | None, Field(description="The reranker's name, as /info has it.")] = None
    return_documents: Annotated[bool | None, Field(description="Give the documents back; true unless sent.")] = None


class CohereBody(RerankFields):
    """The fields of Cohere's second version."""

    model: Annotated[str, Field(description="The reranker's name, as /info has it.")]


class RankedDocument(BaseModel):
    """The text of a document."""

    text: str


class RankedItem(BaseModel):
    """One document's place in the request, and how well it answers the query, between 0 and 1."""

    index: int
    relevance_score: float
    document: RankedDocument | None = None


class RerankUsage(BaseModel):
    """Tokens that were read, the query's once for each document."""

    total_tokens: int
    prompt_tokens: int


class RerankDetails(BaseModel):
    """Documents of which only the beginning was read."""

    truncated: list[int]


class RerankAnswer(BaseModel):
    """The documents, the best first."""

    id: str
    model: str
    object: str
    usage: RerankUsage
    results: list[RankedItem]
    jina_rag: RerankDetails


class TeiRerankBody(Body):
    """What to rank, as TEI has it."""

    query: str
    texts: Texts
    truncate: Truncate = None
    truncation_direction: Direction = None
    raw_scores: Annotated[bool, Field(description="The model's own scores, without a sigmoid over logits.")] = False
    return_text: Annotated[bool, Field(description="Give the texts back.")] = False


class TeiRank(BaseModel):
    """One text's place in the request, and its score."""

    index: int
    score: float
    text: str | None = None


def rerank_router(service: EmbeddingService, reranking: RerankService | None) -> APIRouter:
    """The routes, over a reranker; without one they say how to get one."""
    router = APIRouter(tags=["Rerank"], route_class=ParsedRoute)

    async def rank(body: RerankFields, model: str | None, *, with_documents: bool, request: Request) -> Response:
        served = _served(reranking)
        served.check_name(model)
        if body.max_tokens_per_doc is not None:
            raise RequestError(
                "validation",
                "`max_tokens_per_doc` is not offered: documents are cut at what the model reads. Leave it out.",
                param="max_tokens_per_doc",
            )
        reranked = await served.rerank(
            RerankRequest(
                query=body.query, texts=body.documents, param="documents", truncate=body.truncate is not False
            )
        )
        log_result(request.scope, reranked)
        rows = _rows(reranked, "relevance_score", top_n=body.top_n)
        if with_documents:
            rows = [{**row, "document": {"text": body.documents[row["index"]]}} for row in rows]
        n_tokens = sum(reranked.token_counts)
        answer = {
            "id": request.scope["jina_rag"]["request_id"],
            "model": model or served.reranker.name,
            "object": "list",
            "usage": {"total_tokens": n_tokens, "prompt_tokens": n_tokens},
            "results": rows,
            "jina_rag": {"truncated": reranked.truncated},
        }
        content = await service.run(_size(body.documents, with_documents), orjson.dumps, answer)
        return Response(content, media_type="application/json")

    @router.post("/v1/rerank", response_model=RerankAnswer, responses=REFUSALS["rerank"])
    async def rerank(body: RerankBody, request: Request) -> Response:
        """Rank documents by how well they answer a query, as Jina's service and Cohere's first version do."""
        return await rank(body, body.model, with_documents=body.return_documents is not False, request=request)

    @router.post("/v2/rerank", response_model=RerankAnswer, responses=REFUSALS["rerank"])
    async def rerank_v2(body: CohereBody, request: Request) -> Response:
        """Rank documents by how well they answer a query, as Cohere's second version does."""
        return await rank(body, body.model, with_documents=False, request=request)

    @router.post("/rerank", response_model=list[TeiRank], responses=REFUSALS["tei_rerank"])
    async def rerank_texts(body: TeiRerankBody, request: Request) -> Response:
        """Rank texts by how well they answer a query, as TEI does."""
        served = _served(reranking)
        if body.truncation_direction in ("Left", "left"):
            raise RequestError(
                "validation",
                "`truncation_direction`: a reranker reads the beginning of a text. Send Right.",
                param="truncation_direction",
            )
        truncate = service.settings.truncate if body.truncate is None else body.truncate
        reranked = await served.rerank(
            RerankRequest(query=body.query, texts=body.texts, param="texts", truncate=truncate)
        )
        log_result(request.scope, reranked)
        rows = _rows(reranked, "score", raw=body.raw_scores)
        if body.return_text:
            rows = [{**row, "text": body.texts[row["index"]]} for row in rows]
        content = await service.run(_size(body.texts, body.return_text), orjson.dumps, rows)
        n_characters = sum(map(len, body.texts)) + len(body.texts) * len(body.query)
        return Response(content, headers=work_headers(reranked, n_characters), media_type="application/json")

    return router


def _served(reranking: RerankService | None) -> RerankService:
    if reranking is None:
        raise RequestError(
            "not_found",
            "This server has no reranker. Start it with one: jina-rag serve --reranker NAME, or a GGUF file",
        )
    return reranking


def _rows(reranked: Reranked, name: str, *, raw: bool = False, top_n: int | None = None) -> list[dict[str, Any]]:
    scores = (reranked.scores if raw else reranked.relevances).tolist()
    return [{"index": index, name: scores[index]} for index in reranked.order[:top_n]]


def _size(texts: Sequence[str], is_given_back: bool) -> int:
    return sum(map(len, texts)) if is_given_back else len(texts)
