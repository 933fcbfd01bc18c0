"""The command line of the app: what can be set, and `jina-rag-app`, which starts it from wherever it is installed."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jina_rag.backends.remote.address import BACKEND_VARIABLE, JUDGE_VARIABLE, RERANKER_VARIABLE
from jina_rag.errors import ServerSettingsError
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER
from jina_rag.rag.vector_stores import is_store_address

HERE = "127.0.0.1"
LOOPBACK = (HERE, "localhost", "::1")


@dataclass(frozen=True)
class Options:
    """What the command line sets for the pages.

    Attributes:
        index: The folder of the index.
        llm: The answer model at first, as for `make_generator`; None is "auto".
        model: The embedding model of an index that is yet to be made; None takes the best that is on this machine.
        backend: The engine elsewhere that the embedding model runs on; None runs it in the app.
        reranker: What puts passages in order, as for `make_reranker`; None leaves them as they were found.
        judge: What checks claims that are not quoted, as for `make_judge`; None is nothing.
        samples: Whether an index that is yet to be made begins with the sample documents.
    """

    index: Path = DEFAULT_INDEX_FOLDER
    llm: str | None = None
    model: str | None = None
    backend: str | None = None
    reranker: str | None = None
    judge: str | None = None
    samples: bool = True


def main() -> None:
    """Serve the app until Ctrl-C or SIGTERM."""
    server = _server_parser()
    parser = _page_parser("jina-rag-app", server)
    parser.parse_args()  # says what is wrong before anything is started
    chosen, for_pages = server.parse_known_args()
    script = Path(__file__).with_name("streamlit_app.py")
    sys.argv = [str(script), *for_pages]
    sys.path.insert(0, str(script.parent))  # the pages import each other by name
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


def print_addresses() -> None:
    """Print where the app is, with the token that opens it."""
    import streamlit as st
    from access import has_login
    from door import OWNER_TOKEN, TOKEN_VARIABLE, VISITOR_TOKEN

    host = st.get_option("server.address") or HERE
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    token = f"${TOKEN_VARIABLE}" if os.environ.get(TOKEN_VARIABLE) else OWNER_TOKEN
    lines = [f"Ask your documents: http://{host}:{st.get_option('server.port')}/?token={token}"]
    if not has_login():
        names = [name for name in st.get_option("server.allowedHosts") if name not in LOOPBACK]
        lines += [f"For others, after the address of {name}: /?token={VISITOR_TOKEN}" for name in names]
    sys.stdout.write("\n" + "".join(f"  {line}\n" for line in lines) + "\n")
    sys.stdout.flush()


def options() -> Options:
    """What follows `--` on Streamlit's command line.

    Raises:
        ServerSettingsError: it can't be understood.
    """
    return _parse(tuple(sys.argv[1:]))


@lru_cache
def _parse(arguments: tuple[str, ...]) -> Options:
    try:
        return Options(**vars(_page_parser("streamlit run streamlit_app.py --").parse_args(arguments)))
    except SystemExit as error:  # argparse has written why into the log
        raise ServerSettingsError(
            f"The app was started with settings that it does not know ({' '.join(arguments)}). Start it again with "
            "--index, --llm, --model, --backend, --reranker, --judge or --no-samples behind the two dashes."
        ) from error


def _page_parser(prog: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog, description="Ask your documents.", parents=parents, allow_abbrev=False)
    parser.add_argument(
        "--index",
        type=_index_folder,
        default=DEFAULT_INDEX_FOLDER,
        help="the folder of the index (%(default)s, made if needed)",
    )
    parser.add_argument(
        "--llm",
        help="auto (what runs on this machine, else a downloaded model; the default), none, smollm2, the name or the "
        "GGUF file of a chat model, or http://host/v1#model",
    )
    parser.add_argument("--model", help="the embedding model of a new index (the best that is on this machine)")
    parser.add_argument(
        "--backend",
        metavar="URL",
        default=os.environ.get(BACKEND_VARIABLE),
        help=f"the engine elsewhere that the embedding model runs on (what {BACKEND_VARIABLE} names, else none)",
    )
    parser.add_argument(
        "--reranker",
        metavar="NAME|PATH.gguf|URL",
        default=os.environ.get(RERANKER_VARIABLE),
        help=f"what puts passages in order (what {RERANKER_VARIABLE} names, else none)",
    )
    parser.add_argument(
        "--judge",
        metavar="none|llm|PATH.gguf|URL",
        default=os.environ.get(JUDGE_VARIABLE),
        help=f"what checks claims that are not quoted (what {JUDGE_VARIABLE} names, else none)",
    )
    parser.add_argument("--no-samples", dest="samples", action="store_false", help="begin without sample documents")
    return parser


def _index_folder(text: str) -> Path:
    if is_store_address(text):
        raise argparse.ArgumentTypeError(
            f"the app works on an index folder, and {text} is a vector store; search it with: jina-rag ask, or chat"
        )
    return Path(text)


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
