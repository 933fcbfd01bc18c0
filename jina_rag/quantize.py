"""Storing a model's weights in another type, with llama.cpp's own quantiser.

The model cards don't ship every type that llama.cpp runs, and which one is quickest depends on the processor: see
`jina-rag eval DATASET --sweep`. What is made here stays on this machine, in the cache, and is from then on one
more quantisation of its model: `Embedder.from_pretrained(name, quantization="BF16")`.

The quantiser runs in a process of its own: it can be stopped, and some files make llama.cpp end the process.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jina_rag.errors import ModelLoadError, ModelNotFoundError, UnknownModelError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.machine import CACHE_VARIABLE, available_cores
from jina_rag.models import QUANTIZABLE

QuantizeProgress = Callable[[int, int], None]
"""Called with how many of the file's tensors are done, and how many there are."""

_UNQUANTIZED = {0: "F32", 1: "F16", 32: "BF16"}  # of the numbers that llama.cpp writes as general.file_type
_TENSOR_LINE = re.compile(r"^\[ *(\d+)/ *(\d+)\]")
_SIZE_LINE = re.compile(r"quant size *= *([\d.]+) MiB")
_HEADER_BYTES = 32 * 2**20  # vocabulary and names, which the quantiser's own estimate leaves out


@dataclass(frozen=True, kw_only=True)
class QuantizedFile:
    """What `quantize_file` made.

    Attributes:
        path: The new file.
        quantization: How its weights are stored.
        source_bytes: Size of the file it was made from.
        size_bytes: Its own size.
        seconds: What it took.
    """

    path: Path
    quantization: str
    source_bytes: int
    size_bytes: int
    seconds: float


def quantize_file(
    source: Path,
    target: Path,
    quantization: str,
    *,
    allow_requantize: bool = False,
    force: bool = False,
    on_progress: QuantizeProgress | None = None,
) -> QuantizedFile:
    """Write the weights of a GGUF file in another type; the target appears whole or not at all.

    Args:
        source: A GGUF file, best in F32, F16 or BF16.
        target: The new file; its folder is made if need be.
        quantization: One of `QUANTIZABLE`.
        allow_requantize: Take a source that is quantised already; its losses stay, and new ones come.
        force: Replace the target if there is one.
        on_progress: Called after each tensor.

    Raises:
        UnknownModelError: there is no such type.
        ModelNotFoundError: there is no such source, or no room for the target.
        ModelLoadError: the source is quantised already or cannot be quantised, or the result cannot be loaded.
    """
    quantization = checked_type(quantization)
    started = time.monotonic()
    _check_source(source, read_gguf_header(source), allow_requantize=allow_requantize)
    _check_target(source, target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="quantizing-") as folder:
            written = Path(folder) / target.name
            _check_space(source, written, quantization, allow_requantize=allow_requantize)
            _run(source, written, quantization, allow_requantize=allow_requantize, on_progress=on_progress)
            _check_loads(written)
            written.replace(target)
    except OSError as error:
        if isinstance(error, ModelNotFoundError):
            raise
        raise ModelNotFoundError(
            f"{target} could not be written ({error.strerror or error}). Make room or name another file; the cache is "
            f"moved with the environment variable {CACHE_VARIABLE}."
        ) from error
    return QuantizedFile(
        path=target,
        quantization=quantization,
        source_bytes=source.stat().st_size,
        size_bytes=target.stat().st_size,
        seconds=time.monotonic() - started,
    )


def checked_type(quantization: str) -> str:
    """The name of a type in upper case.

    Raises:
        UnknownModelError: it is not in `QUANTIZABLE`.
    """
    if (wanted := quantization.upper()) in QUANTIZABLE:
        return wanted
    raise UnknownModelError(
        f"{quantization!r} is no type that is made here. Choose one of: {', '.join(QUANTIZABLE)}. (Smaller ones need "
        "statistics of the model at work, which only its authors publish: take theirs.)"
    )


def _check_source(source: Path, header: GgufHeader, *, allow_requantize: bool) -> None:
    # Files that don't say are left to the quantiser, which looks at every tensor.
    file_type = header.metadata.get("general.file_type", 0)
    if file_type not in _UNQUANTIZED and not allow_requantize:
        raise _already_quantized(source)


def _already_quantized(source: Path) -> ModelLoadError:
    return ModelLoadError(
        f"{source} is quantised already, and doing it again adds its losses to the new ones. Start from the model's "
        "F16 file, or insist with --allow-requantize (allow_requantize=True)."
    )


def _check_target(source: Path, target: Path, *, force: bool) -> None:
    if target.exists() and target.samefile(source):
        raise ModelLoadError(f"{target} is the source itself. Name another file for the result.")
    if target.exists() and not force:
        raise ModelLoadError(f"{target} is there already. Name another file, or replace it with --force (force=True).")


def _check_space(source: Path, target: Path, quantization: str, *, allow_requantize: bool) -> None:
    lines = _run(source, target, quantization, allow_requantize=allow_requantize, dry_run=True)
    found = _SIZE_LINE.search("\n".join(lines))
    needed = int(float(found[1]) * 2**20) + _HEADER_BYTES if found else source.stat().st_size
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise ModelNotFoundError(
            f"The {quantization} file takes about {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free. Make room, "
            f"or name a target elsewhere; the cache is moved with the environment variable {CACHE_VARIABLE}."
        )


def _check_loads(path: Path) -> None:
    from jina_rag.backends.llama_cpp.backend import LlamaCppBackend

    backend = LlamaCppBackend(path, pooling="mean")  # only to load it, so any pooling does
    if backend.dimensions < 1:
        raise ModelLoadError(f"{path.name} was made and gives no vectors. Quantise the file of an embedding model.")
    backend.close()


def _run(
    source: Path,
    target: Path,
    quantization: str,
    *,
    allow_requantize: bool,
    dry_run: bool = False,
    on_progress: QuantizeProgress | None = None,
) -> list[str]:
    """Run the quantiser in a process of its own; gives the last lines that it wrote.

    Raises:
        ModelLoadError: it failed.
    """
    switches = [name for name, on in (("requantize", allow_requantize), ("dry-run", dry_run)) if on]
    command = [sys.executable, "-P", "-m", "jina_rag.quantize", str(source), str(target), quantization, *switches]
    lines: deque[str] = deque(maxlen=20)
    with subprocess.Popen(  # noqa: S603 - our own module, and arguments that no shell reads
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace"
    ) as run:
        assert run.stderr is not None
        try:
            for line in run.stderr:
                lines.append(line.strip())
                if on_progress and (found := _TENSOR_LINE.match(line)):
                    on_progress(int(found[1]), int(found[2]))
        except BaseException:  # whatever stops us must stop the process too
            run.kill()
            raise
    if run.returncode:
        raise _explained(source, list(lines), run.returncode)
    return list(lines)


def _explained(source: Path, lines: list[str], code: int) -> ModelLoadError:
    if any("requantizing from type" in line for line in lines):
        return _already_quantized(source)
    reason = next((line for line in reversed(lines) if "fail" in line or "rror" in line), lines[-1] if lines else "")
    return ModelLoadError(
        f"llama.cpp's quantiser could not store {source} so ({reason or 'it does not say why'}; code {code}). Check "
        "that the disk has room and the file is an embedding model, or try another type."
    )


def _quantize_here(source: str, target: str, quantization: str, *switches: str) -> int:
    """What the child process does; llama.cpp reports on stderr."""
    from llama_cpp import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantization}")
    parameters.nthread = available_cores()
    parameters.allow_requantize = "requantize" in switches
    parameters.dry_run = "dry-run" in switches
    code: int = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    return code


if __name__ == "__main__":
    sys.exit(_quantize_here(*sys.argv[1:]))
