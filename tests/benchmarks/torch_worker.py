"""Qwen3 in torch, in the small model's shape with random weights: a peer for `tests.benchmarks.peers`.

    TORCH_PYTHON tests/benchmarks/torch_worker.py bfloat16|float32|int8

Runs in an environment of its own, with torch and transformers and nothing of this project. It is given tokens, so its
time holds no tokenising; there is no output head (`AutoModel`), and the state of the last token is the vector.
"""

import ctypes
import gc
import json
import os
import sys
import time
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3Model

THREADS = 2
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "int8": torch.float32}


def load(kind: str) -> torch.nn.Module:
    """The model in one of the types; int8 is `quantize_dynamic` with a scale for each channel of the weights."""
    config = Qwen3Config(
        num_hidden_layers=28,
        hidden_size=1024,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        vocab_size=151_936,
        max_position_embeddings=40_960,
        rope_parameters={"rope_type": "default", "rope_theta": 3_500_000.0},
        tie_word_embeddings=True,
        use_cache=False,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[kind])  # made in its type, so that no larger copy counts as memory
    model = Qwen3Model(config).eval()
    torch.set_default_dtype(torch.float32)
    if kind == "int8":
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        model = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig})
    return model


def embed(model: torch.nn.Module, tokens: list[list[int]], batch_size: int) -> list[torch.Tensor]:
    """Unit vectors, shortest texts first, in batches padded at the end."""
    vectors = []
    ordered = sorted(tokens, key=len)
    for start in range(0, len(ordered), batch_size):
        part = ordered[start : start + batch_size]
        longest = max(map(len, part))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in part])
        last = torch.tensor([len(row) - 1 for row in part])
        # Later tokens can't change a causal state, so only a batch that is padded needs a mask at all.
        mask = None if len(part) == 1 else (torch.arange(longest)[None] <= last[:, None]).long()
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors.append(torch.nn.functional.normalize(states[torch.arange(len(part)), last].float(), dim=-1))
    return vectors


def forget_peak() -> None:
    """Let the peak of memory begin here: what making random weights or converting them took is not the model's."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def main(kind: str) -> None:
    """Load, say so, and answer requests."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(THREADS)
    model = load(kind)
    forget_peak()
    answers.write("{}\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        with torch.inference_mode():
            embed(model, request["tokens"], request["batch_size"])
        answers.write(json.dumps({"seconds": time.perf_counter() - started}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
