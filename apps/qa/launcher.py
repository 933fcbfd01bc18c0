"""`jina-rag-app`, which starts the app from wherever it is installed."""

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = "127.0.0.1"
LOOPBACK = (HERE, "localhost", "::1")


def main() -> None:
    """Serve the app until Ctrl-C or SIGTERM."""
    script = Path(__file__).with_name("streamlit_app.py")
    sys.path.insert(0, str(script.parent))  # the pages import each other by name
    from options import page_parser

    server = _server_parser()
    parser = page_parser("jina-rag-app", server)
    parser.parse_args()  # says what is wrong before anything is started
    chosen, for_pages = server.parse_known_args()
    sys.argv = [str(script), *for_pages]
    try:
        listener = socket.create_server(
            (chosen.host, chosen.port), family=socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
        )
    except OSError as error:
        parser.error(f"nothing can listen at {chosen.host} port {chosen.port} ({error.strerror}): name another --port")
    with listener:
        _serve(listener, chosen.host, chosen.allow_host)


def _serve(listener: socket.socket, host: str, allowed_hosts: Sequence[str]) -> None:
    import uvicorn
    from streamlit.config import set_option
    from streamlit_app import app

    from jina_rag.connection_limits import ConnectionLimits
    from jina_rag.connections import limited_protocol

    set_option("server.address", host)
    set_option("server.port", listener.getsockname()[1])
    set_option("server.allowedHosts", list(dict.fromkeys([*LOOPBACK, *allowed_hosts])))
    config = uvicorn.Config(
        app,
        http=limited_protocol(ConnectionLimits()),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        backlog=128,  # as many are accepted at once, before any is counted
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _server_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8501, help="where to listen (%(default)s)")
    parser.add_argument("--host", default=HERE, help="the address to listen at (%(default)s, this machine only)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name under which the app may be reached"
    )
    return parser


if __name__ == "__main__":
    main()
