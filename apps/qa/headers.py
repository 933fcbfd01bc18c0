"""The headers of every response, by which the browser loads nothing from elsewhere and sends nothing there."""

import base64
import hashlib
import re
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGE = Path(st.__file__).with_name("static") / "index.html"


def _hashes_of_inline_scripts(page: str) -> str:
    """Streamlit's page has a line of script in itself, which a policy must name by its hash."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return " ".join(f"'sha256-{digest}'" for digest in hashes)


# The front end compiles WebAssembly, styles elements in place, runs workers, and the scripts of browser.py as blobs,
# which only a script can make; nothing may come from elsewhere.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        f"script-src 'self' blob: 'wasm-unsafe-eval' {_hashes_of_inline_scripts(_PAGE.read_text('utf-8'))}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "connect-src {sockets}",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_HOST = re.compile(r"[a-z0-9.:\[\]-]+", re.IGNORECASE)


def content_security_policy(host: str) -> str:
    """The policy of a page under this name; older browsers don't take 'self' for its WebSocket."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _POLICY.replace("{sockets}", f"'self'{sockets}")


class SafetyHeaders:
    """Middleware that adds them to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                host = Headers(scope=scope).get("host", "")
                policy = {"Content-Security-Policy": content_security_policy(host)}
                MutableHeaders(scope=message).update(_HEADERS | policy)
            await send(message)

        await self.app(scope, receive, send_with_headers)
