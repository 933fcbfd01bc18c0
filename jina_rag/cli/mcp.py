"""An index for agents: `mcp`."""

import socket
from contextlib import nullcontext
from typing import Annotated

import typer

from jina_rag.cli.app import SERVERS, app, examples
from jina_rag.cli.opening import open_retriever
from jina_rag.cli.options import DEFAULT_INDEX, BackendOption, IndexOption, RerankerOption
from jina_rag.cli.output import print_notice

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@app.command(
    rich_help_panel=SERVERS,
    epilog="An agent starts `jina-rag mcp` itself and talks with it over stdin and stdout. Over HTTP it is at "
    "http://127.0.0.1:8766/mcp.\n\n"
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
            help="Let other machines in, which call this one by NAME. There is no login: all who reach the address can "
            "read the documents.",
        ),
    ] = None,
    reranker: RerankerOption = None,
    backend: BackendOption = None,
) -> None:
    """Let agents search and read the documents, over the Model Context Protocol."""
    from jina_rag.mcp_server import HTTP_PATH, is_loopback, make_server, run_http

    if http and not is_loopback(host) and not allow_host:
        raise typer.BadParameter(
            f"{host} can be reached from other machines, and there is no login. If that is what you want, say by which "
            "name they call this one: --allow-host NAME.",
            param_hint="--host",
        )
    with (
        _bound(host, port) if http else nullcontext() as listener,
        open_retriever(index, backend, reranker) as retriever,
    ):
        server = make_server(retriever)
        if listener is None:
            server.run("stdio")
            return
        print_notice(
            f"Agents find {index} at http://{host}:{listener.getsockname()[1]}{HTTP_PATH}. Press Ctrl-C to stop."
        )
        run_http(server, listener, [*_LOOPBACK, *(allow_host or ())])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise typer.BadParameter(
            f"Nothing can listen at {host}:{port} ({error.strerror}). Name another --port, or 0 for a free one.",
            param_hint="--port",
        ) from error
