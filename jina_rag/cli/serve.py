"""Serving a model to other programs: `serve`."""

import os
import shlex
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jina_rag.cli.app import SERVERS, app
from jina_rag.cli.opening import load_embedder
from jina_rag.cli.options import DimensionsOption, ModelOption, QuantizationOption, backend_option, complete_rerankers
from jina_rag.cli.output import print_notice
from jina_rag.cli.progress import working
from jina_rag.errors import MissingDependencyError
from jina_rag.rag_models import RerankerSpec, find_row, list_rerankers
from jina_rag.server.settings import ServerSettings, read_api_keys

if TYPE_CHECKING:
    from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
    from jina_rag.embedder import Embedder

API_KEY_VARIABLE = "JINA_RAG_SERVER_API_KEY"


def _option(name: str, help_text: str, **more: Any) -> Any:  # noqa: ANN401 - what typer takes and gives
    """An option that can also be set as JINA_RAG_SERVER_NAME."""
    variable = f"JINA_RAG_SERVER_{name.removeprefix('--').replace('-', '_').upper()}"
    return typer.Option(name, envvar=variable, help=help_text, **more)


@app.command(rich_help_panel=SERVERS)
def serve(
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: Annotated[str | None, backend_option("JINA_RAG_SERVER_BACKEND")] = None,
    host: Annotated[str, _option("--host", "Address to listen on.")] = ServerSettings.host,
    port: Annotated[
        int, _option("--port", "Port to listen on; 0 takes a free one.", min=0, max=65_535)
    ] = ServerSettings.port,
    api_key_file: Annotated[
        Path | None,
        _option("--api-key-file", f"File with API keys, one a line. A single key may stand in {API_KEY_VARIABLE}."),
    ] = None,
    allow_without_key: Annotated[
        bool,
        _option("--allow-without-key", "Listen beyond this machine without a key: something else keeps strangers out."),
    ] = ServerSettings.allow_without_key,
    served_name: Annotated[
        list[str] | None,
        _option("--served-name", "One more name by which clients may ask for a model; may be repeated."),
    ] = None,
    default_prompt: Annotated[
        str,
        _option(
            "--default-prompt",
            "Prompt of a request that names none: document, query, none, or auto, which is document except before a "
            "text that begins with one of the model's prompts.",
            metavar="auto|document|query|none",
        ),
    ] = ServerSettings.default_prompt,
    reranker: Annotated[
        str | None,
        _option(
            "--reranker",
            "A reranking model to serve beside it: one that `jina-rag models` lists, or one in a file.",
            metavar="NAME|PATH.gguf",
            autocompletion=complete_rerankers,
        ),
    ] = None,
    truncate: Annotated[
        bool, _option("--truncate", "Cut texts that are too long, where a request doesn't say, instead of refusing.")
    ] = ServerSettings.truncate,
    max_batch_tokens: Annotated[
        int, _option("--max-batch-tokens", "Tokens of waiting requests that one call of the engine takes.", min=1)
    ] = ServerSettings.max_batch_tokens,
    max_client_batch_size: Annotated[
        int, _option("--max-client-batch-size", "Texts in one request.", min=1)
    ] = ServerSettings.max_client_batch_size,
    max_request_tokens: Annotated[
        int, _option("--max-request-tokens", "Tokens in one request.", min=1)
    ] = ServerSettings.max_request_tokens,
    max_request_characters: Annotated[
        int, _option("--max-request-characters", "Characters in one request.", min=1)
    ] = ServerSettings.max_request_characters,
    max_body_bytes: Annotated[
        int, _option("--max-body-bytes", "Bytes of a request's body.", min=1024)
    ] = ServerSettings.max_body_bytes,
    max_bytes_in_flight: Annotated[
        int, _option("--max-bytes-in-flight", "Bytes of all requests and answers; more get status 429.", min=1024)
    ] = ServerSettings.max_bytes_in_flight,
    max_connections: Annotated[
        int, _option("--max-connections", "Connections; one more closes the one that has waited longest.", min=1)
    ] = ServerSettings.max_connections,
    max_concurrent_requests: Annotated[
        int, _option("--max-concurrent-requests", "Requests at a time; more get status 429.", min=1)
    ] = ServerSettings.max_concurrent_requests,
    max_queue_tokens: Annotated[
        int, _option("--max-queue-tokens", "Tokens waiting or being computed; more get status 429.", min=1)
    ] = ServerSettings.max_queue_tokens,
    drain_timeout: Annotated[
        float, _option("--drain-timeout", "Seconds that a stopping server gives to requests it took.", min=0)
    ] = ServerSettings.drain_timeout,
) -> None:
    """Serve a model over HTTP, as OpenAI's embeddings API and as Text Embeddings Inference; a reranker also as Jina's.

    The server's own options can also be set in the environment, as JINA_RAG_SERVER_PORT for --port.
    """
    row = find_row(reranker, list_rerankers()) if reranker else None
    settings = _settings(
        api_key_file,
        reranker_names=row[0].names if row else (),
        host=host,
        port=port,
        allow_without_key=allow_without_key,
        served_names=tuple(served_name or ()),
        default_prompt=default_prompt,
        truncate=truncate,
        max_batch_tokens=max_batch_tokens,
        max_client_batch_size=max_client_batch_size,
        max_request_tokens=max_request_tokens,
        max_request_characters=max_request_characters,
        max_body_bytes=max_body_bytes,
        max_bytes_in_flight=max_bytes_in_flight,
        max_connections=max_connections,
        max_concurrent_requests=max_concurrent_requests,
        max_queue_tokens=max_queue_tokens,
        drain_timeout=drain_timeout,
    )
    from jina_rag.server.app import run
    from jina_rag.server.logs import log_as_json

    with (
        load_embedder(model, quantization, dimensions, backend) as embedder,
        closing(_load_reranker(reranker, row)) if reranker else nullcontext() as reranking,
    ):
        embedder.embed_query("ready?")  # the first call makes room to compute in
        log_as_json()
        run(
            embedder, settings, reranking, on_ready=lambda address: _print_ready(address, embedder, reranking, settings)
        )


def _load_reranker(setting: str, row: tuple[RerankerSpec, str | None] | None) -> "LlamaCppReranker":
    from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
    from jina_rag.model_files import downloaded_file

    reranker = LlamaCppReranker(downloaded_file(*row) if row else Path(setting).expanduser())
    with working("Loading the reranker"):
        reranker.score("ready?", ["ready?"])  # what is wrong with the file is said now
    return reranker


def _settings(api_key_file: Path | None, **fields: Any) -> ServerSettings:  # noqa: ANN401
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError.for_extra(str(error.name), "server") from error
    from_file = read_api_keys(api_key_file) if api_key_file else ()
    key = os.environ.get(API_KEY_VARIABLE)
    return ServerSettings(api_keys=(*from_file, key) if key else from_file, **fields)


def _print_ready(
    address: str, embedder: "Embedder", reranker: "LlamaCppReranker | None", settings: ServerSettings
) -> None:
    key = " -H 'Authorization: Bearer YOUR_KEY'" if settings.api_keys else ""
    body = f'{{"model": "{embedder.spec.name}:query", "input": "Which planet is red?"}}'
    print_notice(f"{embedder!r} at {address} (OpenAI: {address}/v1; TEI: {address}). Stop with Ctrl-C.")
    print_notice(f"Try: curl {address}/v1/embeddings -H 'Content-Type: application/json'{key} -d {shlex.quote(body)}")
    if reranker:
        print_notice(f"{reranker.name} reranks at {address}/v1/rerank (Jina, Cohere) and {address}/rerank (TEI).")
    print_notice(f"All addresses: {address}/docs")
