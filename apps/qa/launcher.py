"""The command line of the app: what can be set, and `jina-rag-app`, which starts it from wherever it is installed."""

import argparse
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jina_rag.backends.remote.address import BACKEND_VARIABLE, RERANKER_VARIABLE
from jina_rag.errors import ServerSettingsError
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER

HERE = "127.0.0.1"
LOOPBACK = (HERE, "localhost", "::1")


@dataclass(frozen=True)
class Options:
    """What the pages are told.

    Attributes:
        index: The folder of the index.
        llm: What writes answers at first, as for `make_generator`.
        model: The embedding model of an index that is yet to be made; None takes the best that is on this machine.
        backend: The engine elsewhere that the embedding model runs on; None runs it in the app.
        reranker: What puts passages in order, as for `make_reranker`; None leaves them as they were found.
        samples: Whether an index that is yet to be made begins with the sample documents.
    """

    index: Path = DEFAULT_INDEX_FOLDER
    llm: str | None = None
    model: str | None = None
    backend: str | None = None
    reranker: str | None = None
    samples: bool = True


def main() -> None:
    """Start the app; returns never, since Streamlit ends the process."""
    server = _server_parser()
    _page_parser("jina-rag-app", server).parse_args()  # says what is wrong before anything is started
    chosen, for_pages = server.parse_known_args()
    hosts = dict.fromkeys([*LOOPBACK, *chosen.allow_host])
    sys.argv = [
        *("streamlit", "run", str(Path(__file__).with_name("streamlit_app.py"))),
        *("--server.address", chosen.host, "--server.port", str(chosen.port)),
        *(word for host in hosts for word in ("--server.allowedHosts", host)),
        *("--", *for_pages),
    ]
    from streamlit.web.cli import main as run_streamlit

    run_streamlit(prog_name="streamlit")


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
            "--index, --llm, --model, --backend, --reranker or --no-samples behind the two dashes."
        ) from error


def _page_parser(prog: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog, description="Ask your documents.", parents=parents, allow_abbrev=False)
    parser.add_argument(
        "--index", type=Path, default=DEFAULT_INDEX_FOLDER, help="the folder of the index (%(default)s, made if needed)"
    )
    parser.add_argument("--llm", help="extractive, smollm2, a chat model's GGUF file, or http://host/v1#model")
    parser.add_argument("--model", help="the embedding model of a new index (the best that is on this machine)")
    parser.add_argument(
        "--backend",
        metavar="URL",
        default=os.environ.get(BACKEND_VARIABLE),
        help=f"the engine elsewhere that the embedding model runs on (what {BACKEND_VARIABLE} names, else none)",
    )
    parser.add_argument(
        "--reranker",
        metavar="sentences|PATH.gguf|URL",
        default=os.environ.get(RERANKER_VARIABLE),
        help=f"what puts passages in order (what {RERANKER_VARIABLE} names, else none)",
    )
    parser.add_argument("--no-samples", dest="samples", action="store_false", help="begin without sample documents")
    return parser


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
