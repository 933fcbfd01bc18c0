"""Which engine embeds passages faster on this machine: measured on a model's first layers, and remembered.

Both run the same passages in turns, and the quickest round of each counts, which other programs disturb least.

A GGUF file is written that has only so many layers that both engines run it in a second; every layer costs the same.
What was measured is kept by processor, threads, versions and the shape of the layers, so a choice stays the same until
one of these changes.
"""

import hashlib
import json
import logging
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from jina_rag.backends.llama_cpp.backend import LlamaCppBackend
from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.backends.onnx.graph import GRAPH_VERSION
from jina_rag.backends.onnx.graph_cache import remove_stale
from jina_rag.backends.onnx.network import read_network
from jina_rag.backends.remote.address import Precision
from jina_rag.errors import JinaRagError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.machine import available_cores, cache_root, processor

LEAST_SPEEDUP = 1.25
"""How many times as fast as llama.cpp ONNX Runtime must be to be taken: it writes the weights once more to the disk."""

_EXACT_TYPES = ("F32", "F16", "BF16")
_WEIGHTS = 16_000_000  # of the layers that are measured, or one layer: small has 16 million in each
_DIGITS = "0123456789"
_TOKENS = 128  # of each text
_BATCH = [_DIGITS[start:] * 20 for start in range(4)]
_LEAST_ROUNDS, _ROUNDS = 2, 5
_ENOUGH_S = 0.8
_logger = logging.getLogger("jina_rag")


def choose_precision(path: Path, n_threads: int) -> Precision | None:
    """What ONNX Runtime should compute a file in; None where llama.cpp is to run it.

    A file of exact weights (F32, F16, BF16) is never rounded, so "f32" is what may be faster; a quantised one has its
    states rounded to 8 bits by llama.cpp too, so there it is "int8".

    Args:
        path: The GGUF file.
        n_threads: Threads to compute with; 0 takes every core this process may use.

    Raises:
        ModelNotFoundError, ModelLoadError: it is no whole GGUF file.
    """
    header = read_gguf_header(path)
    precision: Precision = "f32" if header.main_type in _EXACT_TYPES else "int8"
    if missing := [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]:
        _logger.info(
            "Engine auto: llama.cpp, since %s is not installed (pip install 'jina-rag[onnx]')", " and ".join(missing)
        )
        return None
    try:
        read_network(path, header)
        speedup = _remembered(path, header, precision, n_threads or available_cores())
    except (JinaRagError, OSError) as error:  # OSError: there is no room for the sample
        _logger.info("Engine auto: llama.cpp, since the engines can't be compared: %s", error)
        return None
    return precision if speedup >= LEAST_SPEEDUP else None


def _remembered(path: Path, header: GgufHeader, precision: Precision, n_threads: int) -> float:
    key = {
        "processor": processor(),
        "threads": n_threads,
        "versions": [_version(name) for name in ("onnxruntime", "llama-cpp-python")] + [GRAPH_VERSION],
        "layer": {name: [*tensor[:2]] for name, tensor in header.tensors.items() if name.startswith("blk.0.")},
        "precision": precision,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    file = cache_root() / "probes" / f"{digest}.json"
    if (known := _read(file)) is not None:
        return known
    speedup = _measure(path, header, precision, n_threads)
    _logger.info(
        "Engine auto: ONNX Runtime in %s embeds passages %.2f times as fast as llama.cpp here; %.2f is needed",
        precision,
        speedup,
        LEAST_SPEEDUP,
    )
    _write(file, {**key, "speedup": round(speedup, 3)})
    return speedup


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # as with a build for GPUs, whose package has another name
        return ""


def _read(file: Path) -> float | None:
    try:
        speedup = json.loads(file.read_text(encoding="utf-8"))["speedup"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return speedup if isinstance(speedup, float) and isfinite(speedup) else None


def _write(file: Path, measured: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as written:
            json.dump(measured, written)
        Path(written.name).replace(file)
    except OSError as error:
        _logger.info("%s can't be written (%s), so engines are compared again next time", file, error.strerror)


def _measure(path: Path, header: GgufHeader, precision: Precision, n_threads: int) -> float:
    """How many times as fast ONNX Runtime is, by the quickest of a few alternating rounds."""
    from jina_rag.backends.onnx.backend import OnnxBackend

    with tempfile.TemporaryDirectory(prefix="jina-rag-", ignore_cleanup_errors=True) as folder:
        sample = _write_sample(path, header, Path(folder) / "sample.gguf")
        engines = (
            LlamaCppBackend(sample, pooling="mean", options=LlamaCppOptions(n_threads=n_threads)),
            OnnxBackend(sample, pooling="mean", precision=precision, n_threads=n_threads),
        )
        for engine in engines:
            _seconds(engine, _BATCH[:1])  # loads it
        began = time.perf_counter()
        rounds: list[list[float]] = []
        while len(rounds) < _LEAST_ROUNDS or (len(rounds) < _ROUNDS and time.perf_counter() - began < _ENOUGH_S):
            rounds.append([_seconds(engine, _BATCH) for engine in engines])
        for engine in engines:
            engine.close()
    remove_stale()  # the sample's graph
    return min(of_llama_cpp for of_llama_cpp, _ in rounds) / min(of_onnx for _, of_onnx in rounds)


def _seconds(engine: GgufBackend, texts: list[str]) -> float:
    began = time.perf_counter()
    engine.embed(texts, max_tokens=_TOKENS, truncate=True)
    return time.perf_counter() - began


def _write_sample(path: Path, header: GgufHeader, target: Path) -> Path:
    """A GGUF file with the first layers as they are, and a vocabulary of digits.

    Every row of its last layer is computed, since both engines are read by their mean: a model's last layer costs
    less, where only a text's last row is wanted.
    """
    from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter

    of_layer = sum(prod(tensor.shape) for name, tensor in header.tensors.items() if name.startswith("blk.0."))
    count = f"{header.architecture}.block_count"
    n_layers = min(int(header.metadata[count]), max(1, _WEIGHTS // max(1, of_layer)))
    writer = GGUFWriter(target, header.architecture)
    for name, value in {**header.metadata, count: n_layers}.items():
        if not name.startswith(f"{header.architecture}.") and name != "tokenizer.ggml.token_type_count":  # BERT's
            continue
        if isinstance(value, str) or 0 <= value < 2**32:  # no engine needs another number, and not all can be written
            kind = GGUFValueType.UINT32 if type(value) is int else GGUFValueType.get_type(value)
            writer.add_key_value(name, value, kind)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")  # takes digits apart, one token each
    writer.add_token_list(list(_DIGITS))
    writer.add_token_merges(["0 1"])  # one must be there; digits that were taken apart are never merged
    for name, tensor in header.tensors.items():
        if name == "output.weight" or (name.startswith("blk.") and int(name.split(".")[1]) >= n_layers):
            continue
        *outer, _ = tensor.shape
        rows = np.memmap(path, np.uint8, "r", tensor.start, (*outer, tensor.n_bytes // prod(outer)))
        used = rows[: len(_DIGITS)] if name == "token_embd.weight" else rows
        writer.add_tensor(name, used, raw_dtype=GGMLQuantizationType(tensor.type_number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
