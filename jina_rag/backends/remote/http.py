"""Requests to a server that may be slow, busy, restarting or something else than expected.

A request is sent again, after a growing and jittered wait, when the server cannot be reached, is busy (429, for as
long as `Retry-After` asks) or fails (5xx); never when it refuses. Redirects are not followed, because the key would go
along. A key is read from the environment or a file when a connection is made, and appears in no message, log or pickle.
"""

import json
import logging
import math
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import finalize

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.errors import BackendError, BackendUnavailableError, MissingDependencyError
from jina_rag.machine import is_loopback

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

CONNECT_TIMEOUT_S = 5.0
FIRST_ANSWER_TIMEOUT_S = 10.0
"""For a server's first response, in seconds: a wrong address should be reported quickly."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
MAX_RESPONSE_BYTES = 1 << 30
"""A thousand vectors of 1,024 numbers in JSON take 20 MB; no response to a request of ours is larger than this."""

_logger = logging.getLogger("jina_rag")

Result = TypeVar("Result")


class StatusError(BackendError):
    """The server refuses the request.

    Attributes:
        status: The HTTP status.
        reason: What the server says.
    """

    status: int = 0
    reason: str = ""

    @classmethod
    def make(cls, message: str, status: int, reason: str = "") -> "StatusError":
        """An error whose attributes survive pickling."""
        error = cls(message)
        error.status, error.reason = status, reason
        return error


class RetryableError(Exception):
    """A failure that may be over at the next try; `RetryPolicy` makes a `BackendUnavailableError` of the last one.

    Attributes:
        wait_s: Seconds that the server asks to wait; None where it doesn't say.
        is_busy: The server is there, and has too much to do.
    """

    def __init__(self, reason: str, *, wait_s: float | None = None, is_busy: bool = False) -> None:
        super().__init__(reason)
        self.wait_s, self.is_busy = wait_s, is_busy


class RetryPolicy:
    """Exponential backoff with jitter, no longer than an address allows.

    Attributes:
        interrupted_at: When the server was away last, by `time.monotonic`; it may hold another model since.
    """

    def __init__(self, address: BackendAddress) -> None:
        """Raises: MissingDependencyError: tenacity is not installed."""
        try:
            import tenacity
        except ImportError as error:
            raise MissingDependencyError.for_extra("tenacity", "http") from error
        self._tenacity = tenacity
        self._address = address
        self.interrupted_at = -math.inf

    def run(self, send: Callable[[], Result], *, at_most_s: float = math.inf, cancelled: Event | None = None) -> Result:
        """Call until it works, until it raises something else than `RetryableError`, or until the time is over.

        Args:
            send: What to call.
            at_most_s: Seconds in which to try, if the address allows more; no try is begun after them.
            cancelled: Set by another thread, it ends the waiting.

        Raises:
            BackendUnavailableError: every try failed.
        """
        tenacity, cancelled = self._tenacity, cancelled or Event()
        began = time.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            wait=self._wait,
            stop=tenacity.stop_any(
                tenacity.stop_before_delay(min(self._address.retry_timeout, at_most_s)),
                tenacity.stop_when_event_set(cancelled),
            ),
            sleep=tenacity.sleep_using_event(cancelled),
            after=self._after,
            reraise=True,
        )
        try:
            result: Result = retrying(send)
        except RetryableError as error:
            n_tries = retrying.statistics["attempt_number"]
            raise BackendUnavailableError(
                f"{self._address} cannot be used: {error} ({n_tries} {'try' if n_tries == 1 else 'tries'} in "
                f"{time.monotonic() - began:.0f} s). Check that it runs, and try again."
            ) from error
        return result

    def _wait(self, state: "RetryCallState") -> float:
        backoff: float = self._tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait_s if isinstance(error, RetryableError) else None
        # A little after what was asked for, so that clients that were sent away together don't return together.
        return backoff if asked is None else asked + min(backoff, FIRST_WAIT_S)

    def _after(self, state: "RetryCallState") -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RetryableError):
            if not error.is_busy:
                self.interrupted_at = time.monotonic()
            _logger.info("%s: %s", self._address, error)


@dataclass(frozen=True)
class Response:
    """A server's response, read to its end."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - it is the server's
        """The body as JSON.

        Raises:
            BackendError: it is something else.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BackendError(
                f"{self.url} did not answer in JSON but with {self.excerpt()!r}. Is a proxy in between, or something "
                "else at that address?"
            ) from error

    def field(self, name: str) -> Any:  # noqa: ANN401
        """One field of a JSON object.

        Raises:
            BackendError: the body is something else, or doesn't have it.
        """
        body = self.json()
        if not isinstance(body, dict) or name not in body:
            raise BackendError(
                f"{self.url} answered without {name!r}: {self.excerpt()!r}. Check which server is at that address."
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
        text = _error_message(self.json_or_none())
        if text is None:
            text = re.sub(r"<[^>]*>", " ", self.body[:4096].decode("utf-8", "replace"))
        text = " ".join(text.split())
        return text if len(text) <= 300 else f"{text[:300]}…"


class HttpConnection:
    """Pooled connections to one server."""

    def __init__(
        self,
        address: BackendAddress,
        *,
        n_connections: int,
        key_header: str | None = "Authorization",
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        """Open nothing yet.

        Args:
            address: Where the server is, how long to wait for it, and where its key is.
            n_connections: How many requests there may be at a time.
            key_header: The header for the key; "Authorization" takes it as a bearer token, None sends no key.
            max_response_bytes: A longer response is refused.

        Raises:
            MissingDependencyError: httpx or tenacity is not installed.
            BackendError: the key cannot be read.
        """
        try:
            import httpx
        except ImportError as error:
            raise MissingDependencyError.for_extra("httpx", "http") from error
        self.policy = RetryPolicy(address)
        self._address = address
        self._key = address.key.read() if key_header else None
        self._max_response_bytes = max_response_bytes
        parts = urlsplit(address.url)
        if self._key and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            _logger.warning("The key for %s is sent unencrypted. Use https unless the network is private.", address)
        self._client = httpx.Client(
            headers=self._key_headers(key_header),
            timeout=httpx.Timeout(address.timeout, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=n_connections, max_keepalive_connections=n_connections),
            follow_redirects=False,
        )
        finalize(self, self._client.close)

    def get(self, path: str, *, at_most_s: float = math.inf) -> Response:
        """Ask for something, for no longer than `at_most_s`. Raises as `post` does."""
        return self.request("GET", path, at_most_s=at_most_s)

    def request(self, method: str, path: str, content: bytes | None = None, *, at_most_s: float = math.inf) -> Response:
        """Send JSON that is ready, by any method, and try for no longer than `at_most_s`. Raises as `post` does."""
        return self.policy.run(lambda: self._send(method, path, content), at_most_s=at_most_s)

    def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        cancelled: Event | None = None,
        permanent: re.Pattern[str] | None = None,
    ) -> Response:
        """Send JSON and read the whole response.

        Args:
            path: Below the server's address.
            body: What to send.
            cancelled: Set by another thread, it ends the waiting for a server that is away.
            permanent: The text of a 5xx response that would come again at every try.

        Raises:
            StatusError: the server refuses the request.
            BackendUnavailableError: it could not be reached or was busy until the time was over.
            BackendError: it redirects, or cannot be trusted.
        """
        content = json.dumps(body, ensure_ascii=False).encode()
        return self.policy.run(lambda: self._send("POST", path, content, permanent), cancelled=cancelled)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _key_headers(self, name: str | None) -> dict[str, str]:
        if not (name and self._key):
            return {}
        return {name: f"Bearer {self._key}" if name.lower() == "authorization" else self._key}

    def _send(
        self, method: str, path: str, content: bytes | None = None, permanent: re.Pattern[str] | None = None
    ) -> Response:
        url, deadline = self._address.url, time.monotonic() + self._address.timeout
        headers = {"Content-Type": "application/json"} if content is not None else {}
        with (
            _httpx_errors_as_ours(url),
            self._client.stream(method, url + path, content=content, headers=headers) as response,
        ):
            body = _read_body(response, deadline, self._max_response_bytes)
        reply = Response(url, response.status_code, response.headers, body)
        if not 200 <= reply.status < 300:
            text = reply.excerpt()
            raise self._error(reply, text.replace(self._key, "***") if self._key else text, permanent)
        return reply

    def _error(self, reply: Response, text: str, permanent: re.Pattern[str] | None) -> Exception:
        url, status = reply.url, reply.status
        if 300 <= status < 400:
            target = urlsplit(reply.headers.get("location", "")).netloc or "another address of its own"
            return BackendError(
                f"{url} redirects to {target}, and a key must not follow. If you trust it, name that address."
            )
        if is_retryable(status) and not (permanent and permanent.search(text)):
            return RetryableError(
                f"it answers {status}: {text}", wait_s=retry_after_s(reply.headers), is_busy=status == 429
            )
        if status in (401, 403):
            which = "another key" if self._key else "a key"
            return StatusError.make(
                f"{url} needs {which} ({status}{text and f': {text}'}). Put it in {self._address.key}.", status, text
            )
        return StatusError.make(
            f"{url} refuses the request ({status}: {text}). Check its settings and the model's name there.",
            status,
            text,
        )


def is_retryable(status: int) -> bool:
    """Whether a later try may succeed: not implemented (501) and version not supported (505) don't pass."""
    return status == 429 or (status >= 500 and status not in (501, 505))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, a number or a date; None where it is missing or neither."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


@contextmanager
def _httpx_errors_as_ours(url: str) -> Iterator[None]:
    import httpx

    messages = {
        httpx.ConnectTimeout: "it cannot be reached in time",
        httpx.TimeoutException: "it takes too long to answer",
    }
    try:
        yield
    except httpx.HTTPError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise BackendError(
                    f"{url} has a certificate that this machine does not trust ({cause.verify_message}). If it is your "
                    "own server, name its authority's file in the environment variable SSL_CERT_FILE."
                ) from error
            cause = cause.__cause__ or cause.__context__
        known = (message for kind, message in messages.items() if isinstance(error, kind))
        raise RetryableError(next(known, str(error) or type(error).__name__)) from error


def _read_body(response: "httpx.Response", deadline: float, at_most: int) -> bytes:
    """The body, unless it takes too long: httpx's own limit never ends a response that comes byte by byte."""
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > at_most:
            raise BackendError(f"The response of {response.url.host} is larger than any can be. Check the address.")
        if time.monotonic() > deadline:
            raise RetryableError("it takes too long to answer")
    return bytes(body)


def _error_message(body: Any) -> str | None:  # noqa: ANN401
    """The message in an error's body: OpenAI's, TEI's, Jina's, Elastic's, FastAPI's and Chroma's shapes."""
    if not isinstance(body, dict):
        return None
    for name in ("message", "error", "detail", "reason"):
        value = body.get(name)
        if isinstance(value, dict) and (inner := _error_message(value)):
            return inner
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            return json.dumps(value, ensure_ascii=False)
    return None
