"""The models that there are, those that are on this machine, and what can write answers; nothing here draws."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jina_rag.errors import GenerationError
from jina_rag.formatting import file_size
from jina_rag.machine import available_memory_bytes
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import QUANTIZABLE, DownloadableModel, list_models
from jina_rag.rag.answering.chat_servers import discover
from jina_rag.rag_models import ChatModelSpec, list_all_models, list_chat_models, list_rerankers

JUDGES = {"none": "None", "llm": "The answer model, which takes longer"}

_MEMORY_PER_BYTE = 1.5
"""Of a model's file: the file itself, and what it computes with."""

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
    return served | _downloaded(list_chat_models())


def judges_here() -> dict[str, str]:
    """What may check claims that are not quoted, by setting, with labels."""
    return JUDGES | _downloaded([*list_chat_models(), *list_rerankers()])


def rerankers_here() -> dict[str, str]:
    """What may put passages in order, by setting, with labels."""
    return {"none": "None", **_downloaded(list_rerankers())}


def _downloaded(rows: Sequence[DownloadableModel]) -> dict[str, str]:
    return {row.name: f"{row.name} (downloaded)" for row in rows if is_on_this_machine(row)}


def recommended_chat_model() -> ChatModelSpec | None:
    """The best chat model to download whose file fits into this computer's memory; None if one was downloaded."""
    rows = list_chat_models()
    if any(map(is_on_this_machine, rows)):
        return None
    memory = available_memory_bytes() or 0
    fitting = (row for row in rows if (row.file().size_bytes or 0) * _MEMORY_PER_BYTE < memory)
    return next(fitting, rows[-1])


def on_this_machine(spec: DownloadableModel) -> list[str]:
    """The quantisations of a model that need no download, as its card orders them, then those that were made here."""
    offered = [file.quantization for file in spec.files]
    made = [name for name in QUANTIZABLE if spec.quantized_from and spec.repo_id and name not in offered]
    return [name for name in (*offered, *made) if is_on_this_machine(spec, name)]


def models_here() -> Iterator[str]:
    """Every model that needs no download, as `NAME:QUANTISATION`."""
    return (f"{spec.name}:{name}" for spec in list_models() for name in on_this_machine(spec))


def size_label(spec: DownloadableModel, quantization: str) -> str:
    """A quantisation in a list of choices, with its size where that is published."""
    n_bytes = spec.file(quantization).size_bytes
    return f"{quantization}, {file_size(n_bytes)}" if n_bytes else quantization


def why_in_use(made_with: str, first_choice: str) -> str:
    """Why an index has the model that it has, and which a new one would use."""
    kept = "Vectors of different models can't be compared, so a library keeps its model until you switch it."
    return kept if made_with == first_choice else f"{kept} A new library would use {first_choice}."


def typed_setting(*, path: str = "", address: str = "", model: str = "") -> str:
    """What was typed, as `make_generator` takes it.

    Raises:
        GenerationError: it is no address, or there is no such file.
    """
    if address.strip():
        if not address.strip().startswith(("http://", "https://")):
            raise GenerationError("An address begins with http:// or https://, such as http://localhost:11434/v1.")
        return f"{address.strip()}#{model.strip()}" if model.strip() else address.strip()
    file = Path(path.strip()).expanduser()
    if file.suffix.lower() != ".gguf" or not file.is_file():
        raise GenerationError(
            f"There is no GGUF file {path.strip()!r}. Type the whole path of a .gguf file."
            if path.strip()
            else "Type an address or a path first."
        )
    return str(file)
