"""An index for agents: `mcp`."""

import os
import secrets
import socket
from contextlib import nullcontext
from typing import Annotated

import typer

from jina_rag.cli.app import SERVERS, app, examples
from jina_rag.cli.opening import open_retriever
from jina_rag.cli.options import DEFAULT_INDEX, BackendOption, IndexOption, RerankerOption
from jina_rag.cli.output import print_notice

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOKEN_VARIABLE = "JINA_RAG_MCP_TOKEN"  # noqa: S105 - its name


@app.command(
    rich_help_panel=SERVERS,
    epilog="An agent starts `jina-rag mcp` itself and talks with it over stdin and stdout. Over HTTP it is at "
    f"http://127.0.0.1:8766/mcp, with a token that is printed, or that the variable {_TOKEN_VARIABLE} holds.\n\n"
    + examples("jina-rag mcp --index ~/notes-index", "jina-rag mcp --http --port 8766"),
)
def mcp(
    index: IndexOption = DEFAULT_INDEX,
    http: Annotated[bool, typer.Option("--http", help="Answer over HTTP instead of stdin and stdout.")] = False,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen, with --http.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Its port; 0 takes a free one.")] = 8766,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Let other machines in, which call this one by NAME and have the token.",
        ),
    ] = None,
    reranker: RerankerOption = None,
    backend: BackendOption = None,
) -> None:
    """Let agents search and read the documents, over the Model Context Protocol."""
    from jina_rag.machine import is_loopback
    from jina_rag.mcp_server import HTTP_PATH, make_server, run_http

    if http and not is_loopback(host) and not allow_host:
        raise typer.BadParameter(
            f"{host} can be reached from other machines. If that is what you want, say by which name they call this "
            "one: --allow-host NAME.",
            param_hint="--host",
        )
    given = os.environ.get(_TOKEN_VARIABLE, "")
    if given and (len(given) < 20 or not given.isascii() or not given.isprintable()):
        raise typer.BadParameter(
            f"The token in {_TOKEN_VARIABLE} must have at least 20 characters, all of them ASCII. Unset it to have one "
            "made.",
            param_hint="--http",
        )
    token = given or secrets.token_urlsafe(32)
    with (
        _bound(host, port) if http else nullcontext() as listener,
        open_retriever(index, backend, reranker) as retriever,
    ):
        _ = retriever.index  # what is wrong with it is better known before a client comes
        server = make_server(retriever)
        if listener is None:
            server.run("stdio")
            return
        place = f"http://{host}:{listener.getsockname()[1]}{HTTP_PATH}"
        print_notice(f"Agents find {index} at {place} with this header. Press Ctrl-C to stop.")
        typer.echo(f"Authorization: Bearer {'$' + _TOKEN_VARIABLE if given else token}", err=True)
        run_http(server, listener, [*_LOOPBACK, *(allow_host or ())], token=token)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise typer.BadParameter(
            f"Nothing can listen at {host}:{port} ({error.strerror}). Name another --port, or 0 for a free one.",
            param_hint="--port",
        ) from error
