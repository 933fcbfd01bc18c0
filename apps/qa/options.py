"""What the command line sets for the pages."""

import argparse
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jina_rag.backends.remote.address import BACKEND_VARIABLE, JUDGE_VARIABLE, RERANKER_VARIABLE
from jina_rag.errors import ServerSettingsError, StoreError
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER
from jina_rag.rag.vector_stores import StoreAddress, is_store_address


@dataclass(frozen=True)
class Options:
    """The settings of an app.

    Attributes:
        index: The folder of the index, or the address of a vector store.
        llm: The answer model at first, as for `make_generator`; None is "auto".
        model: The embedding model of an index that is yet to be made; None takes the best that is on this machine.
        backend: The engine that the embedding model runs on; None is llama.cpp in the app.
        reranker: What puts passages in order, as for `make_reranker`; None leaves them as they were found.
        judge: What checks claims that are not quoted, as for `make_judge`; None is nothing.
        samples: Whether an index that is yet to be made begins with the sample documents.
    """

    index: Path | str = DEFAULT_INDEX_FOLDER
    llm: str | None = None
    model: str | None = None
    backend: str | None = None
    reranker: str | None = None
    judge: str | None = None
    samples: bool = True


def options() -> Options:
    """What follows `--` on Streamlit's command line.

    Raises:
        ServerSettingsError: it can't be understood.
    """
    return _parse(tuple(sys.argv[1:]))


def searches_store() -> bool:
    """Whether the app was started with a vector store in the place of an index."""
    try:
        return isinstance(options().index, str)
    except ServerSettingsError:  # the page will say so
        return False


def page_parser(prog: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser of these settings, and of those of `parents`."""
    parser = argparse.ArgumentParser(prog, description="Ask your documents.", parents=parents, allow_abbrev=False)
    parser.add_argument(
        "--index",
        type=_folder_or_store,
        default=DEFAULT_INDEX_FOLDER,
        metavar="FOLDER|STORE",
        help="the folder of the index (%(default)s, made if needed), or a vector store such as "
        "chroma://host:port/collection, which is only searched",
    )
    parser.add_argument(
        "--llm",
        help="auto (what runs on this machine, else a downloaded model; the default), none, smollm2, the name or the "
        "GGUF file of a chat model, or http://host/v1#model",
    )
    parser.add_argument("--model", help="the embedding model of a new index (the best that is on this machine)")
    parser.add_argument(
        "--backend",
        metavar="URL|llama.cpp|onnx|auto",
        default=os.environ.get(BACKEND_VARIABLE),
        help=f"the engine that the embedding model runs on (what {BACKEND_VARIABLE} names, else llama.cpp)",
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


def _folder_or_store(text: str) -> Path | str:
    if not is_store_address(text):
        return Path(text)
    try:
        StoreAddress.parse(text)
    except StoreError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


@lru_cache
def _parse(arguments: tuple[str, ...]) -> Options:
    try:
        return Options(**vars(page_parser("streamlit run streamlit_app.py --").parse_args(arguments)))
    except SystemExit as error:  # argparse has written why into the log
        raise ServerSettingsError(
            f"The app was started with settings that it does not know ({' '.join(arguments)}). Start it again with "
            "--index, --llm, --model, --backend, --reranker, --judge or --no-samples behind the two dashes."
        ) from error
