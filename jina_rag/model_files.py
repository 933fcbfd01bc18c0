"""A model's file by its name: found on this machine, else downloaded or made."""

import logging
from collections.abc import Callable
from pathlib import Path

from jina_rag.bundled import bundled_package_installed, convert_bundled_model
from jina_rag.download import download_model_file, why_unreachable
from jina_rag.errors import ModelNotFoundError, UnknownModelError
from jina_rag.formatting import file_size
from jina_rag.locations import find_model_file, quantized_model_path
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, DownloadableModel, ModelSpec, get_model_spec
from jina_rag.quantize import QuantizedFile, QuantizeProgress, checked_type, quantize_file

_logger = logging.getLogger("jina_rag")


def ensure_model_file(
    spec: DownloadableModel,
    quantization: str | None = None,
    *,
    cache_dir: Path | None = None,
    force: bool = False,
    allow_unverified: bool = False,
    show_progress: bool = True,
    on_notice: Callable[[str], None] | None = None,
) -> Path:
    """The GGUF file of a model: the one on this machine, else downloaded, or written from an installed package.

    A file that is found is not opened; the engine checks it when it loads it.

    Args:
        spec: The model's row.
        quantization: How the weights are stored; None takes the model's default.
        cache_dir: Where the hub keeps its files; None for its usual place.
        force: Download or make the file again although it is here.
        allow_unverified: Take a download that nobody publishes a checksum of.
        show_progress: Draw a bar on stderr while it is downloaded, if that is a terminal.
        on_notice: Takes the licence notice before a first download; None logs it as a warning.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the file is not here and could not be downloaded, or has to be quantised first.
        ChecksumError: the downloaded file is not the published one, and has been removed; or it has no checksum.
        ModelLoadError: the downloaded file is damaged.
        MissingDependencyError: the model comes with a package that is not installed.
    """
    file = spec.file(quantization)
    if file.path is not None:
        return file.path
    found = None if force else find_model_file(spec, file.quantization, cache_dir=cache_dir)
    if found is not None:
        return found
    if spec.repo_id is None:
        if not file.made_here:
            return convert_bundled_model(spec, file.quantization)
        source = ensure_model_file(spec, spec.quantized_from)
        # Small enough to be made at the first call; another process may have been quicker.
        return quantize_file(source, quantized_model_path(spec, file.quantization), file.quantization, force=True).path
    if file.made_here:
        raise ModelNotFoundError(
            f"{file.quantization} is no file of {spec.name}'s authors, and has not been made on this machine yet. Make "
            f"it from their {spec.quantized_from} with: jina-rag quantize {spec.name} {file.quantization}"
        )
    return download_model_file(
        spec,
        file,
        cache_dir=cache_dir,
        force=force,
        allow_unverified=allow_unverified,
        show_progress=show_progress,
        on_notice=on_notice or _logger.warning,
    )


def downloaded_file(spec: DownloadableModel, quantization: str | None = None) -> Path:
    """The file of a chat model or reranker on this machine; nothing so large is downloaded unasked.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: it is not here.
    """
    if path := find_model_file(spec, quantization):
        return path
    n_bytes = spec.file(quantization).size_bytes
    size = f" ({file_size(n_bytes)})" if n_bytes else ""
    raise ModelNotFoundError(
        f"{spec.name} is not on this machine. Download it{size} with: jina-rag download {spec.name}"
    )


def is_on_this_machine(
    spec: DownloadableModel, quantization: str | None = None, *, cache_dir: Path | None = None
) -> bool:
    """Whether `ensure_model_file` would do without the network.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the hub's cache can't be read.
    """
    if not spec.files:  # a row that only gives a file of the user's its meaning
        return False
    if find_model_file(spec, quantization, cache_dir=cache_dir) is not None:
        return True
    return spec.repo_id is None and bundled_package_installed()


def choose_model(*, cache_dir: Path | None = None) -> str:
    """The model that "auto" stands for: the default one where it can be had, else the bundled one.

    If neither can be had it is the default one, whose error then explains.
    """
    name, reason = _choice(cache_dir)
    _logger.info("auto takes %s: %s.", name, reason)
    return name


def quantize_model(
    spec: ModelSpec, quantization: str, *, force: bool = False, on_progress: QuantizeProgress | None = None
) -> QuantizedFile:
    """Make a quantisation that the model's card does not ship, from its most exact file, downloaded if need be.

    Args:
        spec: The model's row.
        quantization: One of `QUANTIZABLE`.
        force: Make it again although it is here.
        on_progress: Called after each tensor.

    Raises:
        UnknownModelError: there is no such type, or the card ships it.
        ModelNotFoundError: the exact file could not be downloaded, or there is no room.
        ModelLoadError: the result cannot be loaded, or is there already.
    """
    source = ensure_quantization_source(spec, quantization)
    target = quantized_model_path(spec, quantization)
    return quantize_file(source, target, quantization, force=force, on_progress=on_progress)


def ensure_quantization_source(
    spec: ModelSpec, quantization: str, *, on_notice: Callable[[str], None] | None = None
) -> Path:
    """The file that a quantisation is made from, downloaded if need be. Raises as `quantize_model` does."""
    file = spec.file(checked_type(quantization))
    if not file.made_here:
        raise UnknownModelError(
            f"{spec.name} comes in {file.quantization} from its authors. Download it with: "
            f"jina-rag download {spec.name}:{file.quantization}"
        )
    return ensure_model_file(spec, spec.quantized_from, on_notice=on_notice)


def _choice(cache_dir: Path | None) -> tuple[str, str]:
    spec = get_model_spec(DEFAULT_MODEL)
    if find_model_file(spec, cache_dir=cache_dir):
        return DEFAULT_MODEL, "its file is on this machine"
    problem = why_unreachable(spec)
    if problem is None:
        return DEFAULT_MODEL, "the hub answers"
    if bundled_package_installed():
        return BUNDLED_MODEL, f"the hub cannot be reached ({problem})"
    return DEFAULT_MODEL, f"the hub cannot be reached ({problem}), and the package of {BUNDLED_MODEL} is not installed"
