"""Why a request is refused, and how OpenAI's and TEI's addresses each say so.

Both APIs know the same reasons and write them differently. Shapes and status codes follow OpenAI's client
(`openai/_exceptions.py`) and text-embeddings-inference 1.9 (`router/src/http/server.rs`).
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from starlette.responses import Response

Reason: TypeAlias = Literal[
    "validation", "empty", "too_long", "model_not_found", "unauthorized", "forbidden", "not_found", "method",
    "body_timeout", "body_too_large", "media_type", "overloaded", "backend", "internal", "unavailable",
]  # fmt: skip


class _Wording(NamedTuple):
    openai_status: int
    openai_type: str
    openai_code: str | None
    tei_status: int
    tei_type: str


_BAD = "invalid_request_error"
_WORDINGS: dict[Reason, _Wording] = {
    "validation": _Wording(400, _BAD, None, 422, "Validation"),
    "empty": _Wording(400, _BAD, None, 400, "Empty"),
    "too_long": _Wording(400, _BAD, "context_length_exceeded", 422, "Validation"),
    "model_not_found": _Wording(404, _BAD, "model_not_found", 404, "Validation"),
    "unauthorized": _Wording(401, _BAD, "invalid_api_key", 401, "Unauthorized"),
    "forbidden": _Wording(403, "permission_error", "host_not_allowed", 403, "Validation"),
    "not_found": _Wording(404, _BAD, "unknown_url", 404, "Validation"),
    "method": _Wording(405, _BAD, "method_not_allowed", 405, "Validation"),
    "body_timeout": _Wording(408, _BAD, "request_timeout", 408, "Validation"),
    "body_too_large": _Wording(413, _BAD, "request_too_large", 413, "Validation"),
    "media_type": _Wording(415, _BAD, "unsupported_media_type", 415, "Validation"),
    "overloaded": _Wording(429, "overloaded", "rate_limit_exceeded", 429, "Overloaded"),
    "backend": _Wording(500, "server_error", "backend_error", 424, "Backend"),
    "internal": _Wording(500, "server_error", None, 500, "Backend"),
    "unavailable": _Wording(503, "server_error", "unavailable", 503, "Unhealthy"),
}

_MAX_RETRY_AFTER = 60

TEI_PATHS = frozenset({"/", "/embed", "/embed_all", "/similarity", "/tokenize", "/rerank", "/info", "/health", "/ping"})
RERANK_PATHS = frozenset({"/v1/rerank", "/v2/rerank", "/rerank"})


class RequestError(Exception):
    """A request that gets no vectors.

    Attributes:
        reason: Decides the status and the machine-readable type.
        message: For people; ends with what to do next, and never repeats a text or a key.
        param: The field that is at fault.
        headers: More headers of the answer.
    """

    def __init__(
        self, reason: Reason, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.param = param
        self.headers = dict(headers or {})


def overloaded(retry_after: float) -> RequestError:
    """The refusal of a request for which there is no room, for so many seconds."""
    seconds = str(min(_MAX_RETRY_AFTER, max(1, math.ceil(retry_after))))
    return RequestError(
        "overloaded",
        f"The server has as much to do as it may take. Try again in {seconds} seconds, or send less at a time.",
        headers={"Retry-After": seconds},
    )


def error_response(error: RequestError, path: str) -> Response:
    """The answer in the words of the API that the path belongs to."""
    wording = _WORDINGS[error.reason]
    if path in TEI_PATHS:
        return _json(wording.tei_status, {"error": error.message, "error_type": wording.tei_type}, error.headers)
    body = {"message": error.message, "type": wording.openai_type, "param": error.param, "code": wording.openai_code}
    answer: dict[str, Any] = {"error": body}
    if path in RERANK_PATHS:
        answer["detail"] = error.message  # where Jina's clients look for it
    return _json(wording.openai_status, answer, error.headers)


def _json(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    # ASCII only: a message may quote a field's name with half a surrogate pair in it.
    return Response(json.dumps(body), status, headers, "application/json")
