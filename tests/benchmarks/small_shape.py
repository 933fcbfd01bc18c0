"""A GGUF in exactly the shape of jina-embeddings-v5-text-small, with random weights: for speed and memory.

    python -m tests.benchmarks.small_shape FOLDER [QUANTIZATION ...]

writes small-shape-F16.gguf (1.2 GB) and the named quantisations of it. What a vector costs does not depend on the
weights; what it means does, so nothing about quality follows from this file.
"""

import sys
from pathlib import Path

from jina_rag.models import ModelSpec, get_model_spec
from jina_rag.quantize import quantize_file
from jina_rag.testing import END_OF_TEXT, Qwen3Shape, tiny_merges, tiny_vocabulary, tiny_weights, write_qwen3_gguf

SHAPE = Qwen3Shape(
    layers=28,
    width=1024,
    query_heads=16,
    key_heads=8,
    head_width=128,
    feed_forward=3072,
    context=40_960,
    rope_theta=3_500_000.0,
)
VOCABULARY_SIZE = 151_936
SPEC: ModelSpec = get_model_spec("jina-v5-small")


def small_shape_gguf(folder: Path, quantization: str = "F16") -> Path:
    """The file in a quantisation, made if it is not there."""
    path = folder / f"small-shape-{quantization}.gguf"
    if path.exists():
        return path
    if quantization == "F16":
        *tokens, _ = tiny_vocabulary()
        vocabulary = [*tokens, *(f"[{index}]" for index in range(VOCABULARY_SIZE - len(tokens) - 1)), END_OF_TEXT]
        weights = tiny_weights(SHAPE, vocabulary_size=VOCABULARY_SIZE)
        return write_qwen3_gguf(path, SHAPE, weights, vocabulary, tiny_merges(), half=True)
    return quantize_file(small_shape_gguf(folder), path, quantization).path


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for quantization in sys.argv[2:] or ["F16"]:
        sys.stdout.write(f"{small_shape_gguf(folder, quantization)}\n")
