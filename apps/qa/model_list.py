"""The models that there are, those that are on this machine, and what can write answers; nothing here draws."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from jina_rag.errors import GenerationError
from jina_rag.formatting import file_size
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import QUANTIZABLE, DownloadableModel, ModelSpec, list_models
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions, make_generator
from jina_rag.rag.answering.chat_servers import discover
from jina_rag.rag_models import find_row, list_all_models, list_chat_models, list_rerankers

LLM_KINDS = {
    "auto": "Automatic: what runs on this computer, else a downloaded model",
    "none": "Passages only (no language model)",
    "here": "A model on this computer",
    "smollm2": "SmolLM2-135M (bundled, very small)",
    "file": "A GGUF file of a chat model on this computer",
    "server": "Ollama, LM Studio or another OpenAI-compatible server at an address",
}
"""What can write answers, and what the page calls it."""

FOR_VISITORS = ("auto", "none", "smollm2")
"""Visitors must not name this computer's files and addresses."""

LLM_NOTES = {
    "auto": "Ollama, LM Studio, llama-server, vLLM and Jan are found by themselves when they run on this computer.",
    "none": "Fast, and nothing is invented: you see the passages that fit your question best.",
    "here": "Questions and passages stay on this computer.",
    "smollm2": (
        "For a try only: it is very small, knows English alone and often gets things wrong. Check what the app says of "
        "each citation, or take a larger model."
    ),
    "file": "It runs inside this app. A model of 4 billion parameters in Q4_K_M takes about 3 GB of memory.",
    "server": (
        "Questions, and the passages found for them, are sent to this address; if it is not on this computer, they "
        "leave it. The key is the one in OPENAI_API_KEY when the app starts."
    ),
}

JUDGES = {
    "none": "No judge: only quotations are checked, and whether numbers and names are in the passages",
    "llm": "The answer model reads its claims and the passages once more, which takes longer",
}
"""What may check claims that are not quoted, and what the page calls it; a command line may name another."""

_TEST_QUESTION = "What is this about?"


_KINDS = {"embedding": "to embed", "chat": "to answer", "reranker": "to rerank"}


def downloadable() -> list[DownloadableModel]:
    """The models that come from the hub."""
    return [spec for spec in list_all_models() if spec.repo_id]


def download_label(spec: DownloadableModel) -> str:
    """A model in the list of those to download."""
    return f"{spec.name} ({_KINDS[spec.kind]})"


def chat_models_here() -> dict[str, str]:
    """The chat models that servers on this computer have and those that were downloaded, by setting, with labels."""
    served = {
        setting: f"{model} ({server.program})"
        for server in discover()
        for setting, model in zip(server.settings, server.models, strict=True)
    }
    rows = [row for row in list_chat_models() if is_on_this_machine(row)]
    return served | {row.name: f"{row.name} (downloaded)" for row in rows}


def answering_rows() -> list[dict[str, object]]:
    """The chat models and rerankers to download, a row for each."""
    return [
        {
            "Model": row.name,
            "Made": _KINDS[row.kind],
            "On this computer": is_on_this_machine(row),
            "Licence": row.license,
            "Max tokens": row.max_input_tokens,
            "Size": size_label(row, row.default_quantization),
        }
        for row in (*list_chat_models(), *list_rerankers())
    ]


def on_this_machine(spec: ModelSpec) -> list[str]:
    """The quantisations of a model that need no download, as its card orders them, then those that were made here."""
    offered = [file.quantization for file in spec.files]
    made = [name for name in QUANTIZABLE if spec.quantized_from and spec.repo_id and name not in offered]
    return [name for name in (*offered, *made) if is_on_this_machine(spec, name)]


def models_here() -> Iterator[str]:
    """Every model that needs no download, as `NAME:QUANTISATION`."""
    return (f"{spec.name}:{name}" for spec in list_models() for name in on_this_machine(spec))


def rows(in_use: str | None) -> list[dict[str, object]]:
    """The catalogue, a row for each model; `in_use` is the name of the one that the index has."""
    return [_row(spec, in_use) for spec in list_models()]


def _row(spec: ModelSpec, in_use: str | None) -> dict[str, object]:
    default = spec.file()
    return {
        "Model": spec.name,
        "In use": spec.name == in_use,
        "On this computer": ", ".join(on_this_machine(spec)),
        "Licence": spec.license,
        "Made for": spec.task or "general",
        "Dimensions": spec.dimensions,
        "Truncates to": ", ".join(map(str, spec.matryoshka_dimensions[:-1])),
        "Max tokens": spec.max_input_tokens,
        "Size": f"{file_size(default.size_bytes)} ({default.quantization})" if default.size_bytes else "",
        "Quantisations": ", ".join(file.quantization for file in spec.files),
    }


def size_label(spec: DownloadableModel, quantization: str) -> str:
    """A quantisation in a list of choices, with its size where that is published."""
    n_bytes = spec.file(quantization).size_bytes
    return f"{quantization}, {file_size(n_bytes)}" if n_bytes else quantization


def why_in_use(made_with: str, first_choice: str) -> str:
    """Why an index has the model that it has, and which a new one would use."""
    kept = "Vectors of different models can't be compared, so a library keeps its model until you switch it."
    return kept if made_with == first_choice else f"{kept} A new library would use {first_choice}."


def kind_of(setting: str) -> str:
    """Which of `LLM_KINDS` a setting for `make_generator` is."""
    if setting in ("auto", "none", "smollm2"):
        return setting
    if find_row(setting, list_chat_models()):
        return "here"
    return "server" if setting.startswith(("http://", "https://")) else "file"


def llm_name(setting: str) -> str:
    """What the page calls a setting for `make_generator`."""
    return LLM_KINDS.get(setting, setting)


def llm_setting(kind: str, path: str = "", address: str = "", model: str = "", here: str | None = None) -> str:
    """What was chosen and typed, as `make_generator` takes it.

    Raises:
        GenerationError: something that is needed was not typed, or there is no such file.
    """
    if kind == "here":
        if not here:
            raise GenerationError("No chat model was found here. Start Ollama or LM Studio, or download a model below.")
        return here
    if kind == "file":
        file = Path(path.strip()).expanduser()
        if file.suffix.lower() != ".gguf" or not file.is_file():
            raise GenerationError(f"There is no GGUF file {path.strip()!r}. Type the whole path of a .gguf file.")
        return str(file)
    if kind == "server":
        if not address.strip().startswith(("http://", "https://")):
            raise GenerationError("Type the server's address, such as http://localhost:11434/v1.")
        return f"{address.strip()}#{model.strip()}" if model.strip() else address.strip()
    return kind


@dataclass(frozen=True)
class LlmTrial:
    """That something can write answers: what it is called, its first words and the seconds until they came."""

    name: str
    words: str
    seconds: float


def try_llm(setting: str, index: DocumentIndex) -> LlmTrial:
    """Let it begin an answer from one passage of the index.

    Raises:
        GenerationError: it can't be reached, is no chat model, or says nothing; or the setting is "none".
        MissingDependencyError: a package that it needs is not installed.
    """
    generator = make_generator(setting)
    if generator is None:
        raise GenerationError("There is no language model to try. Choose one.")
    passages = Retriever(index).retrieve(_TEST_QUESTION, SearchOptions(k=1))
    began, words = perf_counter(), ""
    for piece in generator.stream(_TEST_QUESTION, passages):  # left early, it is closed, and the model stops
        words += piece
        if len(words.split()) > 3:
            break
    if not words.strip():
        raise GenerationError(f"{generator.name} answers with nothing. Take another model.")
    return LlmTrial(generator.name, words.strip(), perf_counter() - began)
