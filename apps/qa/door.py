"""What every request passes before Streamlit sees it: who sends it, from where, and how much.

All accounts of a machine reach its loopback addresses, so the app prints an address with a token when it starts, as
Jupyter does; the browser keeps it in a cookie. The owner's token opens all there is, and only at a loopback name;
visitors have one of their own. Where people sign in, they need none, and nothing is uploaded before they have.
"""

import hmac
import os
import re
import secrets
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime import Runtime
from uploads import MAX_ALL_BYTES, MAX_SESSION_BYTES

from jina_rag.machine import is_loopback

TOKEN_VARIABLE = "JINA_RAG_APP_TOKEN"  # noqa: S105 - its name
OWNER_TOKEN = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
VISITOR_TOKEN = hmac.new(OWNER_TOKEN.encode(), b"visitor", "sha256").hexdigest()

_UPLOADS = "/_stcore/upload_file/"
_HEALTH = "/_stcore/health"
_BROWSER_SECONDS = 400 * 24 * 3600  # the longest that browsers keep a cookie
_ASKING = ("GET", "HEAD", "OPTIONS")

_FORBIDDEN_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Ask your documents</title>
<style>body{font:1.1rem/1.5 system-ui;max-width:36rem;margin:15vh auto;padding:0 1rem;color-scheme:light dark}</style>
<h1>This page needs its token</h1>
<p>Open the address that the app printed when it started, or type the token that stands in it:</p>
<form><input name="token" type="password" autocomplete="off" autofocus> <button>Open</button></form>
"""

_admitted: set[str] = set()


def admit(session_id: str) -> None:
    """Let a session upload files: it has drawn a page behind the sign-in."""
    if len(_admitted) > 1000:
        _admitted.intersection_update([each for each in _admitted if Runtime.instance().is_active_session(each)])
    _admitted.add(session_id)


def role_of(token: str, host: str) -> Literal["owner", "visitor"] | None:
    """Who sends a request with this token under this Host; the owner's counts as a visitor's beyond this machine."""
    if hmac.compare_digest(token.encode(), OWNER_TOKEN.encode()):
        return "owner" if is_loopback(_hostname(host)) else "visitor"
    return "visitor" if hmac.compare_digest(token.encode(), VISITOR_TOKEN.encode()) else None


def browser_cookie_name(port: int) -> str:
    """The cookie that holds a browser's own secret, by which it finds its conversations again."""
    return f"jina_rag_{port}_browser"


def cookie_name(port: int) -> str:
    """The cookie that holds the token; browsers send one port's cookies to all others, so each app has its own."""
    return f"jina_rag_{port}"


class Door:
    """Middleware that lets in who may."""

    def __init__(self, app: ASGIApp, *, has_login: Callable[[], bool]) -> None:
        """Guard an app.

        Args:
            app: What is behind the door.
            has_login: Says whether its pages ask people to sign in, so that they need no token.
        """
        self._app = app
        self._has_login = has_login()
        self._uploading: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        method: str = scope.get("method", "")
        refusal = self._refusal(request, method)
        if refusal is None and method == "PUT" and _UPLOADS in scope["path"]:
            await self._upload(request, receive, send)
        elif refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, request: HTTPConnection, method: str) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if method not in _ASKING and origin is not None and _netloc(origin) != host:
            return PlainTextResponse("A page of another site can't use this app.", 403)
        if method == "GET" and role_of(request.query_params.get("token", ""), host):
            return _with_cookie(request)
        port = (request.scope.get("server") or ("", 0))[1]
        has_token = role_of(request.cookies.get(cookie_name(port), ""), host) is not None
        if self._has_login or has_token or (method in _ASKING and request.scope["path"] == _HEALTH):
            return None
        return HTMLResponse(_FORBIDDEN_PAGE, 403)

    async def _upload(self, request: HTTPConnection, receive: Receive, send: Send) -> None:
        session_id = request.scope["path"].partition(_UPLOADS)[2].partition("/")[0]
        length = request.headers.get("content-length", "")
        if session_id not in _admitted:
            refusal = PlainTextResponse("Sign in first.", 403)
        elif not length.isdecimal():
            refusal = PlainTextResponse("An upload needs its Content-Length.", 411)
        elif not self._has_room(session_id, int(length)):
            refusal = PlainTextResponse("Too much is being uploaded at once. Add these files first.", 413)
        else:
            upload = secrets.token_hex(8)
            self._uploading[f"{session_id}/{upload}"] = int(length)
            try:
                await self._app(request.scope, receive, send)
            finally:
                del self._uploading[f"{session_id}/{upload}"]
            return
        await refusal(request.scope, receive, send)

    def _has_room(self, session_id: str, n_bytes: int) -> bool:
        """Whether a file fits beside those that are kept or on their way."""
        kept = Runtime.instance().uploaded_file_mgr.file_storage  # type: ignore[attr-defined]  # of the one in memory
        sizes = {session: sum(len(each.data) for each in list(files.values())) for session, files in list(kept.items())}
        for upload, size in self._uploading.items():
            session = upload.partition("/")[0]
            sizes[session] = sizes.get(session, 0) + size
        total, own = sum(sizes.values()), sizes.get(session_id, 0)
        return own + n_bytes <= MAX_SESSION_BYTES and total + n_bytes <= MAX_ALL_BYTES


def _with_cookie(request: HTTPConnection) -> Response:
    """The same page again, with the token in a cookie instead of the address, which histories and pictures keep."""
    left = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
    path = "/" + quote(request.scope["path"].lstrip("/\\"))
    response = RedirectResponse(f"{path}?{left}" if left else path, 303, {"Cache-Control": "no-store"})
    port = (request.scope.get("server") or ("", 0))[1]
    is_secure = request.url.scheme == "https"
    token = request.query_params["token"]
    response.set_cookie(cookie_name(port), token, httponly=True, samesite="lax", secure=is_secure)
    name = browser_cookie_name(port)
    response.set_cookie(
        name,
        kept if re.fullmatch(r"[\w-]{43}", kept := request.cookies.get(name, "")) else secrets.token_urlsafe(32),
        max_age=_BROWSER_SECONDS,
        httponly=True,
        samesite="lax",
        secure=is_secure,
    )
    return response


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
