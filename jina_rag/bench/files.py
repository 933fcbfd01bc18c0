"""Which files a measurement takes: a model's by its name or path, and those to compare it with."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.errors import ModelNotFoundError
from jina_rag.models import (
    QUANTIZABLE,
    QUANTIZATIONS,
    ModelSpec,
    Pooling,
    list_models,
    parse_model_name,
)

BUNDLED_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_K_M", "Q4_0")
"""What a sweep over the bundled model's quantisations tries; those that are not here yet take a second to make."""


@dataclass(frozen=True)
class FoundModel:
    """A model's file, the row that describes it, how its weights are stored, and whether a name led to it or a path."""

    path: Path
    spec: ModelSpec
    quantization: str
    by_name: bool


def find_model(model: str = "auto", quantization: str | None = None) -> FoundModel:
    """The file of a model that is named, or the row of a file.

    A file whose name is none of the known ones gets a row made from its header: without prompts, so for speed only.

    Raises:
        UnknownModelError, ModelNotFoundError, ModelLoadError, ChecksumError, MissingDependencyError: as
            `Embedder.from_pretrained` does.
    """
    if model.endswith(".gguf"):
        return _found_file(Path(model))
    from jina_rag.model_files import choose_model, ensure_model_file

    spec, quantization = parse_model_name(choose_model() if model == "auto" else model, quantization)
    file = spec.file(quantization)
    return FoundModel(ensure_model_file(spec, file.quantization), spec, file.quantization, by_name=True)


def _found_file(path: Path) -> FoundModel:
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Check the path, or name a model of `jina-rag models`.")
    return FoundModel(path, row_of_file(path), split_name(path)[1], by_name=False)


def split_name(path: Path) -> tuple[str, str]:
    """What stands before and after the last hyphen of a file's name, if that is a quantisation."""
    known = sorted({*QUANTIZATIONS, *QUANTIZABLE, "F32"}, key=len, reverse=True)
    found = re.fullmatch(rf"(.+)-({'|'.join(known)})", path.stem, re.IGNORECASE)
    return (found[1], found[2].upper()) if found else (path.stem, "")


def row_of_file(path: Path) -> ModelSpec:
    """The row of a model's file, by its name, or one made from its header. Raises as `read_gguf_header` does."""
    from jina_rag.gguf_file import read_gguf_header

    stem, _ = split_name(path)
    for spec in list_models():
        if stem in {split_name(Path(file.filename))[0] for file in spec.files}:
            return spec
    header = read_gguf_header(path)
    poolings: dict[object, Pooling] = {1: "mean", 2: "cls"}
    metadata, prefix = header.metadata, header.architecture
    return ModelSpec(
        name=stem,
        dimensions=int(metadata.get(f"{prefix}.embedding_length", 1)),
        max_input_tokens=int(metadata.get(f"{prefix}.context_length", 512)),
        pooling=poolings.get(metadata.get(f"{prefix}.pooling_type"), "last"),
        license="",
    )


def on_this_machine(found: FoundModel, on_progress: BenchProgressCallback | None) -> list[FoundModel]:
    """The files of a model that need not be fetched, most exact first."""
    from jina_rag.model_files import ensure_model_file, is_on_this_machine

    spec = found.spec
    if not found.by_name:
        siblings = [replace(found, path=path, quantization=name) for path, name in _siblings(found.path)]
        return sorted(siblings, key=lambda model: (precision(model.quantization), model.quantization))
    if spec.repo_id is None:
        names: Sequence[str] = BUNDLED_TYPES
    else:
        names = [name for name in _types_of(spec) if is_on_this_machine(spec, name)]
    models = []
    for done, name in enumerate(names):
        if on_progress:
            on_progress(BenchProgress(f"Finding {name}", done, len(names)))
        models.append(replace(found, path=ensure_model_file(spec, name), quantization=name))
    return models


def _siblings(path: Path) -> Iterator[tuple[Path, str]]:
    """The files beside it of the same model, and how each stores the weights, as far as their names say."""
    stem, _ = split_name(path)
    for other in path.parent.glob("*.gguf"):
        other_stem, quantization = split_name(other)
        if other_stem == stem and quantization:
            yield other, quantization


def _types_of(spec: ModelSpec) -> list[str]:
    offered = {file.quantization for file in spec.files} | ({*QUANTIZABLE} if spec.quantized_from else set())
    return sorted(offered, key=lambda name: (precision(name), name))


def precision(quantization: str) -> int:
    """Rank of a type by how exactly it keeps the weights, 0 the most."""
    order = ("F32", "F16", "BF16", *QUANTIZATIONS[1:])
    if quantization in order:
        return order.index(quantization)
    bits = re.search(r"\d", quantization)  # of a type that no card ships: among those of as many bits
    same = [rank for rank, name in enumerate(order[3:], 3) if bits and bits[0] in name[:3]]
    return same[-1] if same else len(order)
