"""Requests to a server that may be slow, busy, restarting or not what it says it is.

A request is tried again, after a growing and jittered wait, when the server cannot be reached, is busy (429, for as
long as `Retry-After` asks) or fails (5xx); never when it refuses. Redirects are not followed, because the key would go
along. A key is read from the environment or a file when a connection is made, and stands in no message, log or pickle.
"""

import json
import logging
import math
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import finalize

from jina_rag.errors import BackendError, BackendUnavailableError, MissingDependencyError

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

CONNECT_TIMEOUT_S = 5.0
FIRST_RETRY_S = 10.0
"""For a server's first answer, in seconds: a wrong address should be told quickly."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
MAX_ANSWER_BYTES = 1 << 30
"""A thousand vectors of 1,024 numbers written out take 20 MB; more than this is no answer to anything asked here."""

_BUSY, _TOO_LARGE = 429, 413
_NOT_PASSING = (501, 505)  # a server that cannot do it now cannot do it in a minute either
_MESSAGE_LENGTH = 300

_logger = logging.getLogger("jina_rag")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait, in seconds.

    Attributes:
        timeout_s: For one answer, from the first byte sent to the last one read.
        total_s: For a server that is away or busy, over all tries of one request.
    """

    timeout_s: float = 120.0
    total_s: float = 90.0


@dataclass(frozen=True, kw_only=True)
class KeySource:
    """Where a key is read from: the environment variable, or a file. Never the key itself."""

    variable: str
    file: Path | None = None

    def read(self) -> str | None:
        """The key, or None where there is none.

        Raises:
            BackendError: the file cannot be read, or what was found cannot be a key.
        """
        try:
            key = self.file.read_text(encoding="utf-8") if self.file else os.environ.get(self.variable, "")
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"The key's file {self.file} cannot be read. Check its path and permissions.") from error
        key = key.strip()
        if not (key.isascii() and key.isprintable()):
            raise BackendError(
                f"What {self} holds cannot be a key: it has characters that no header takes. Set it anew."
            )
        return key or None

    def __str__(self) -> str:
        return f"the file {self.file}" if self.file else f"the environment variable {self.variable}"


class StatusError(BackendError):
    """The server understood, and said no.

    Attributes:
        status: The HTTP status.
        text: What the server said, without the key.
    """

    status: int = 0
    text: str = ""

    @classmethod
    def make(cls, message: str, status: int, text: str = "") -> "StatusError":
        """An error whose attributes survive pickling."""
        error = cls(message)
        error.status, error.text = status, text
        return error

    @property
    def is_too_large(self) -> bool:
        """Whether fewer texts at a time would help."""
        return self.status == _TOO_LARGE


class RetryableError(Exception):
    """What may be over at the next try; `retried` makes a `BackendUnavailableError` of the last one."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Reply:
    """A server's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, where: str) -> Any:  # noqa: ANN401 - it is the server's
        """The body as JSON.

        Raises:
            BackendError: it is something else.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BackendError(
                f"{where} did not answer in JSON but with {self.excerpt()!r}. Is a proxy in between, or something else "
                "at that address?"
            ) from error

    def field(self, name: str, where: str) -> Any:  # noqa: ANN401
        """One field of a JSON object.

        Raises:
            BackendError: the body is something else, or doesn't have it.
        """
        body = self.json(where)
        if not isinstance(body, dict) or name not in body:
            raise BackendError(
                f"{where} answered without {name!r}: {self.excerpt()!r}. Check what serves that address."
            )
        return body[name]

    def json_or_none(self) -> Any:  # noqa: ANN401
        """The body as JSON, or None if it is something else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def excerpt(self) -> str:
        """What an error's body says, in any of the shapes that servers use; a few words of any other."""
        text = _message(self.json_or_none())
        if text is None:
            text = re.sub(r"<[^>]*>", " ", self.body[:4096].decode("utf-8", "replace"))
        text = " ".join(text.split())
        return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + "…"


class HttpConnection:
    """Pooled connections to one server."""

    def __init__(self, url: str, key: KeySource, *, policy: RetryPolicy, n_connections: int) -> None:
        """Open nothing yet.

        Raises:
            MissingDependencyError: httpx or tenacity is not installed.
        """
        httpx = _httpx()
        self.url = url.rstrip("/")
        self.policy = policy
        self.permanent: re.Pattern[str] | None = None  # what a 5xx says that will not pass
        self.interrupted_at = -math.inf  # when the server was away last, as time.monotonic() tells it
        self._key_source = key
        self._key = key.read()
        _warn_of_open_key(self.url, self._key)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(policy.timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=n_connections, max_keepalive_connections=n_connections),
            follow_redirects=False,
        )
        finalize(self, self._client.close)

    def get(self, path: str, *, retry_s: float | None = None) -> Reply:
        """Ask for something, for no longer than `retry_s` where that is given. Raises as `post` does."""
        return self._request("GET", path, None, retry_s, None)

    def post(self, path: str, body: Mapping[str, object], *, cancelled: Event | None = None) -> Reply:
        """Send JSON and read the whole answer.

        Args:
            path: Below the server's address.
            body: What to send.
            cancelled: Set by another thread, it ends the waiting for a server that is away.

        Raises:
            StatusError: the server says that the request is wrong.
            BackendUnavailableError: it could not be reached or was busy for as long as the policy allows.
            BackendError: it redirects, or cannot be trusted.
        """
        return self._request("POST", path, json.dumps(body, ensure_ascii=False).encode(), None, cancelled)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(
        self, method: str, path: str, body: bytes | None, retry_s: float | None, cancelled: Event | None
    ) -> Reply:
        return retry(
            lambda: self._once(method, path, body),
            where=self.url,
            retry_s=min(self.policy.total_s, retry_s or self.policy.total_s),
            cancelled=cancelled or Event(),
        )

    def _once(self, method: str, path: str, body: bytes | None) -> Reply:
        httpx = _httpx()
        deadline = time.monotonic() + self.policy.timeout_s
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._client.stream(method, self.url + path, content=body, headers=headers) as response:
                reply = Reply(response.status_code, response.headers, _read(response, deadline))
        except httpx.HTTPError as error:  # of transport: statuses are judged below
            self.interrupted_at = time.monotonic()
            raise _explained(error, self.url) from error
        except RetryableError:
            self.interrupted_at = time.monotonic()
            raise
        return self._judged(reply)

    def _judged(self, reply: Reply) -> Reply:
        """The reply, if it is one to work with."""
        if 200 <= reply.status < 300:
            return reply
        text = reply.excerpt()
        if self._key:
            text = text.replace(self._key, "***")
        if 300 <= reply.status < 400:
            target = urlsplit(reply.headers.get("location", "")).netloc or "another address of its own"
            raise BackendError(
                f"{self.url} redirects to {target}, and a key must not follow. If you trust it, name that address."
            )
        if reply.status in (401, 403):
            raise StatusError.make(
                f"{self.url} wants {'another' if self._key else 'a'} key ({reply.status}"
                f"{f': {text}' if text else ''}). Put it in {self._key_source}.",
                reply.status,
                text,
            )
        if is_retryable(reply.status) and not (self.permanent and self.permanent.search(text)):
            if reply.status != _BUSY:
                self.interrupted_at = time.monotonic()
            raise RetryableError(f"it answers {reply.status}: {text}", retry_after_s(reply.headers))
        raise StatusError.make(
            f"{self.url} refuses the request ({reply.status}: {text}). Check its settings and the model's name there.",
            reply.status,
            text,
        )


def retry(send: Callable[[], Result], *, where: str, retry_s: float, cancelled: Event) -> Result:
    """Call until it works, until something other than `RetryableError` comes of it, or until the time is over.

    Args:
        send: What to call.
        where: The server, for messages.
        retry_s: Seconds in which to try; no try is begun after them.
        cancelled: Set by another thread, it ends the waiting.

    Raises:
        BackendUnavailableError: every try failed.
    """
    tenacity = _tenacity()
    began = time.monotonic()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(RetryableError),
        wait=_wait,
        stop=tenacity.stop_any(tenacity.stop_before_delay(retry_s), tenacity.stop_when_event_set(cancelled)),
        sleep=tenacity.sleep_using_event(cancelled),
        before_sleep=lambda state: _logger.info("%s: %s; trying again.", where, state.outcome.exception()),
        reraise=True,
    )
    try:
        result: Result = retrying(send)
    except RetryableError as error:
        n_tries = retrying.statistics["attempt_number"]
        raise BackendUnavailableError(
            f"{where} cannot be used: {error} ({n_tries} {'try' if n_tries == 1 else 'tries'} in "
            f"{time.monotonic() - began:.0f} s). Check that it runs, and try again."
        ) from error
    return result


def is_retryable(status: int) -> bool:
    """Whether a status says that a later try may succeed."""
    return status == _BUSY or (status >= 500 and status not in _NOT_PASSING)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, which may be a number or a date; None where it asks for nothing sensible."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _wait(state: "RetryCallState") -> float:
    tenacity = _tenacity()
    backoff: float = tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, RetryableError) else None
    # A little after what was asked for, so that clients that were sent away together don't return together.
    return backoff if asked is None else asked + min(backoff, FIRST_WAIT_S)


def _read(response: "httpx.Response", deadline: float) -> bytes:
    """The body, unless it takes too long: a server that sends a byte now and then never runs into httpx's own limit."""
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise BackendError(
                f"The answer of {response.url.host} is larger than any answer can be. Is it the right one?"
            )
        if time.monotonic() > deadline:
            raise RetryableError("it takes too long to answer")
    return b"".join(parts)


def _explained(error: "httpx.HTTPError", url: str) -> Exception:
    """What a failed connection means: something to try again, unless the server isn't who it claims to be."""
    httpx = _httpx()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return BackendError(
                f"{url} shows a certificate that this machine does not trust ({cause.verify_message}). If it is your "
                "own server, name its authority's file in the environment variable SSL_CERT_FILE."
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return RetryableError("it cannot be reached in time")
    if isinstance(error, httpx.TimeoutException):
        return RetryableError("it takes too long to answer")
    return RetryableError(str(error) or type(error).__name__)


def _message(body: Any) -> str | None:  # noqa: ANN401
    """The sentence in an error's body: OpenAI's, TEI's, Jina's, Elastic's and FastAPI's shapes."""
    if not isinstance(body, dict):
        return None
    for name in ("error", "message", "detail", "reason"):
        value = body.get(name)
        if isinstance(value, dict) and (inner := _message(value)):
            return inner
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            return json.dumps(value, ensure_ascii=False)
    return None


def _warn_of_open_key(url: str, key: str | None) -> None:
    parts = urlsplit(url)
    if key and parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        _logger.warning("The key for %s travels unencrypted. Use https where the network is not yours alone.", url)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _httpx() -> Any:  # noqa: ANN401 - the module
    try:
        import httpx
    except ImportError as error:
        raise MissingDependencyError.for_extra("httpx", "http") from error
    return httpx


def _tenacity() -> Any:  # noqa: ANN401 - the module
    try:
        import tenacity
    except ImportError as error:
        raise MissingDependencyError.for_extra("tenacity", "http") from error
    return tenacity
