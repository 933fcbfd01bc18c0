"""The address of a vector store, in one line that can be stored anywhere. A token is never part of it."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from jina_rag.backends.remote.address import read_settings
from jina_rag.errors import StoreError

Kind: TypeAlias = Literal["chroma", "chromas", "chroma+file", "lance"]

_EXAMPLES = (
    "Write chroma://HOST:PORT/COLLECTION, chromas://HOST/COLLECTION for TLS, chroma+file://FOLDER#COLLECTION or "
    "lance://FOLDER#TABLE."
)
_ADDRESS = re.compile(r"(chromas?|chroma\+file|lance)://", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,126}[A-Za-z0-9]")
_DEFAULT_NAME = "documents"
_PORTS = {"chroma": 8000, "chromas": 443}
_KEY = "CHROMA_API_KEY"
_KEY_VARIABLE = re.compile(rf"{_KEY}\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """Where a vector store is. The fields after `folder` are settings that may follow the question mark of a server's.

    Attributes:
        kind: The beginning of the address.
        name: Of the collection or table.
        host: Of the server; empty for a folder.
        port: Of the server; 0 for a folder.
        folder: The folder; None for a server.
        tenant: Chroma's.
        database: Chroma's.
        key_env: The environment variable that holds the token; its name begins with CHROMA_API_KEY. Empty sends none.
        key_header: The header that takes it there; "Authorization", for a proxy, takes it as a bearer token.
        timeout: Seconds to wait for one response.
        retry_timeout: Seconds in which to try again when the server is away or busy.
    """

    kind: Kind
    name: str
    host: str = ""
    port: int = 0
    folder: Path | None = None
    tenant: str = "default_tenant"
    database: str = "default_database"
    key_env: str = ""
    key_header: str = "X-Chroma-Token"
    timeout: float = 120.0
    retry_timeout: float = 90.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address in a line such as "chroma://localhost:8000/documents".

        Raises:
            StoreError: it names no store, has a setting that doesn't exist, or holds a password.
        """
        found = _ADDRESS.match(text.strip())
        if not found:
            raise StoreError(f"{text!r} is no address of a vector store. {_EXAMPLES}")
        kind: Any = found[1].lower()
        if kind in _PORTS:
            return cls(kind=kind, **_server(kind, text.strip()))
        folder, _, name = text.strip()[found.end() :].partition("#")
        if not folder:
            raise StoreError(f"{text!r} names no folder. {_EXAMPLES}")
        return cls(kind=kind, folder=Path(folder).expanduser(), name=_checked_name(name or _DEFAULT_NAME))

    @property
    def url(self) -> str:
        """The server's address as HTTP clients know it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.kind == 'chromas' else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        if self.folder is not None:
            return f"{self.kind}://{self.folder}#{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}/{self.name}"


def is_store_address(text: object) -> bool:
    """Whether a setting that names an index is the address of a vector store, and no folder of an index."""
    return isinstance(text, str) and bool(_ADDRESS.match(text.strip()))


_SETTINGS: dict[str, Any] = {
    field.name: field.default
    for field in fields(StoreAddress)
    if field.name in ("tenant", "database", "key_env", "key_header", "timeout", "retry_timeout")
}


def _server(kind: str, text: str) -> dict[str, Any]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise StoreError(f"The address of the store cannot be read ({error}). {_EXAMPLES}") from error
    if parts.username or parts.password:
        raise StoreError(
            f"The address of {host} holds a password, which would be stored and shown. Put the token into an "
            f"environment variable and name that after the address: ?key_env={_KEY}"
        )
    if not host or port == 0 or parts.fragment:
        raise StoreError(f"{text!r} names no store. {_EXAMPLES}")
    settings = read_settings(parts.query, _SETTINGS, "The address of a store", StoreError)
    for name in settings.keys() & {"tenant", "database", "key_header"}:
        _checked_name(settings[name])
    if not _KEY_VARIABLE.fullmatch(settings.get("key_env", _KEY)):
        raise StoreError(
            f"key_env can name {_KEY}, and variables that begin so, as {_KEY}_WORK: an address from elsewhere could "
            "send any other variable to its server."
        )
    return {"host": host, "port": port or _PORTS[kind], "name": _checked_name(parts.path.strip("/")), **settings}


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StoreError(
            f"{name!r} can't be the name of a collection or table: take 3 to 128 letters of ASCII, digits and signs "
            f"of ._- with a letter or digit at both ends. {_EXAMPLES}"
        )
    return name
