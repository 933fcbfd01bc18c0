"""Where model files are on this machine: nothing here makes or downloads one."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from jina_rag.bundled import bundled_model_path
from jina_rag.errors import ModelNotFoundError
from jina_rag.machine import cache_root
from jina_rag.models import DownloadableModel

_SHA256 = re.compile(r"[0-9a-f]{64}")


def find_model_file(
    spec: DownloadableModel, quantization: str | None = None, *, cache_dir: Path | None = None
) -> Path | None:
    """The GGUF file of a model on this machine; None if it has to be downloaded or made first.

    Args:
        spec: The model's row.
        quantization: How the weights are stored; None takes the model's default.
        cache_dir: Where the hub keeps its files; None for its usual place.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the hub's cache can't be read.
    """
    file = spec.file(quantization)
    if file.path is not None:
        return file.path if file.path.is_file() else None
    if spec.repo_id and not file.made_here:
        return _cached_download(spec, spec.repo_id, file.filename, cache_dir or hub_cache())
    path = quantized_model_path(spec, file.quantization) if file.made_here else bundled_model_path(file.filename)
    return path if path.is_file() else None


def quantized_model_path(spec: DownloadableModel, quantization: str) -> Path:
    """Where a quantisation that is made on this machine belongs, whether it is there or not."""
    filename = spec.file(quantization).filename
    if spec.repo_id is None:
        return bundled_model_path(filename)
    # Upstream has replaced files before: what was made of the old ones is not taken for the new ones'.
    return cache_root() / "quantized" / (spec.revision or "main")[:12] / filename


def hub_cache() -> Path:
    """The folder that the hub's client keeps its files in."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; known at once for a file in the hub's cache, else read once per process.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _sha256_in_link(path) or computed_sha256(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def computed_sha256(path: Path, size_bytes: int, mtime_ns: int) -> str:  # noqa: ARG001 - a changed file differs in them
    """The SHA-256 of a file's bytes, computed once for each size and time of change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cached_download(spec: DownloadableModel, repo_id: str, filename: str, cache_dir: Path) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(repo_id, filename, cache_dir, spec.revision or "main")
    except OSError as error:
        raise ModelNotFoundError(
            f"{error.filename or cache_dir} cannot be used ({error.strerror}). Check its permissions, or name another "
            "folder for the hub's cache in HF_HOME."
        ) from error
    return Path(path) if isinstance(path, str) else None  # it may also be a note that there is no such file


def _sha256_in_link(path: Path) -> str | None:
    """The name of the blob behind a file in the hub's cache, if it is a SHA-256.

    Only one link is followed: the blob may be a link too, into a store whose names look the same and are another hash.
    """
    blob = path.readlink() if path.is_symlink() else path
    is_blob = blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name)
    return blob.name if is_blob else None
