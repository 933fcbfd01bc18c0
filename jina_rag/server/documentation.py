"""The refusals that the OpenAPI document tells of, each with the shape of its body."""

from typing import Any, Literal

from pydantic import BaseModel


class OpenAIErrorDetails(BaseModel):
    """What went wrong, for people and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """A refusal, as OpenAI's clients read it."""

    error: OpenAIErrorDetails


class RerankError(OpenAIError):
    """The same, with the message where Jina's clients read it too."""

    detail: str


class TeiError(BaseModel):
    """A refusal, as clients of Text Embeddings Inference read it."""

    error: str
    error_type: Literal["Validation", "Empty", "Overloaded", "Backend", "Unhealthy", "Unauthorized"]


_DESCRIPTIONS = {
    400: "The request cannot be honoured",
    401: "The API key is missing or wrong",
    403: "The server has no key and was addressed by a name that is not this machine's",
    404: "No such model, or no reranker",
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request cannot be honoured",
    424: "The engine failed",
    429: "Too much is waiting; Retry-After says when to come again",
    500: "The engine failed",
    503: "The server is stopping",
}


def _refusals(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model, "description": _DESCRIPTIONS[status]} for status in statuses}


REFUSALS = {
    "openai": _refusals(OpenAIError, 400, 401, 403, 429, 503),
    "embeddings": _refusals(OpenAIError, 400, 401, 403, 404, 408, 413, 415, 429, 500, 503),
    "rerank": _refusals(RerankError, 400, 401, 403, 404, 408, 413, 415, 429, 500, 503),
    "tei": _refusals(TeiError, 401, 403, 429, 503),
    "embed": _refusals(TeiError, 400, 401, 403, 408, 413, 415, 422, 424, 429, 503),
    "tei_rerank": _refusals(TeiError, 400, 401, 403, 404, 408, 413, 415, 422, 424, 429, 503),
}
"""By kind of route: what `responses` in FastAPI takes."""
