"""What can be set about a server, with the defaults, and the two rules that its address must keep."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from jina_rag.connection_limits import ConnectionLimits
from jina_rag.errors import ServerSettingsError
from jina_rag.machine import is_loopback

DefaultPrompt: TypeAlias = Literal["auto", "document", "query", "none"]


@dataclass(frozen=True, kw_only=True)
class ServerSettings(ConnectionLimits):
    """How a server listens, what it accepts and how much of it. All defaults are here and in `ConnectionLimits`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        api_keys: Keys of which a client must send one; none lets everybody in who can reach the address.
        allow_without_key: Listen beyond this machine although there is no key.
        served_names: More names by which clients may ask for the model, and for the reranker at its addresses.
        reranker_names: More names by which clients may ask for the reranker alone.
        default_prompt: The prompt of a request that names none; "auto" is "document", except before a text that
            already begins with one of the model's own prompts.
        truncate: Cut texts that are too long, where a request doesn't say, instead of refusing them.
        max_batch_tokens: Tokens that one call of the engine takes from the waiting requests: best as many as it
            computes at a time.
        max_client_batch_size: Texts in one request.
        max_request_tokens: Tokens in one request, after cutting.
        max_request_characters: Characters in one request, which are counted before the tokens.
        max_body_bytes: Bytes of a request's body.
        max_bytes_in_flight: Bytes of all requests' bodies and answers; a lone answer may exceed it.
        max_concurrent_requests: Requests that are waiting or computed at a time.
        max_queue_tokens: Tokens that wait or are computed; a lone request may exceed it.
        body_timeout: Seconds in which a request's body must have come.
        idle_timeout: Seconds until a connection without a request is closed: longer than proxies keep theirs, or they
            send into one that is being closed.
        drain_timeout: Seconds that a stopping server gives to the requests it took.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    allow_without_key: bool = False
    served_names: tuple[str, ...] = ()
    reranker_names: tuple[str, ...] = ()
    default_prompt: DefaultPrompt = "auto"
    truncate: bool = False
    max_batch_tokens: int = 512
    max_client_batch_size: int = 2048
    max_request_tokens: int = 300_000
    max_request_characters: int = 3_000_000
    max_body_bytes: int = 8 * 2**20
    max_bytes_in_flight: int = 512 * 2**20
    max_concurrent_requests: int = 512
    max_queue_tokens: int = 300_000
    body_timeout: float = 60.0
    idle_timeout: int = 75
    drain_timeout: float = 120.0

    def __post_init__(self) -> None:
        if self.default_prompt not in get_args(DefaultPrompt):
            names = ", ".join(get_args(DefaultPrompt))
            raise ServerSettingsError(f"There is no default prompt {self.default_prompt!r}. Choose one of: {names}.")
        if any(not key.isascii() or not key.isprintable() or " " in key or not key for key in self.api_keys):
            raise ServerSettingsError(
                "An API key may only hold printable ASCII characters without blanks. Make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        if not (self.is_local or self.api_keys or self.allow_without_key):
            raise ServerSettingsError(
                f"{self.host} can be reached from other machines, and no API key is set. Put one into a file and pass "
                "--api-key-file FILE, or set JINA_RAG_SERVER_API_KEY; pass --allow-without-key if something else "
                "keeps strangers out."
            )

    @property
    def is_local(self) -> bool:
        """Whether the address can be reached from this machine alone."""
        return is_loopback(self.host)


def read_api_keys(path: Path) -> tuple[str, ...]:
    """The keys in a file, one on each line; empty lines don't count.

    Raises:
        ServerSettingsError: there is no such file, or no key in it.
    """
    try:
        lines = path.read_text("ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ServerSettingsError(f"The API keys cannot be read from {path} ({error}). Name another file.") from error
    if keys := tuple(line.strip() for line in lines if line.strip()):
        return keys
    raise ServerSettingsError(f"There is no API key in {path}. Write one on a line, or leave out --api-key-file.")
