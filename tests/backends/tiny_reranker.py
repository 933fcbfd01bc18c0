"""A BERT cross-encoder of two layers with random weights, as a GGUF file, and the same network in numpy.

llama.cpp runs the file like a full-sized one; the numpy network is written from BERT's paper and knows nothing of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

WORDS = tuple(
    "mars looks red because of iron rust saturn has rings made ice venus clouds the is what planet".split()  # noqa: SIM905
)
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz.?", "##s", "##ing")
PAD, UNKNOWN, CLS, SEP, MASK = range(5)


@dataclass(frozen=True, kw_only=True)
class Shape:
    width: int = 32
    heads: int = 4
    layers: int = 2
    feed_forward: int = 64
    context: int = 48
    segments: int = 1
    labels: tuple[str, ...] = ()
    head: bool = True


SHAPE = Shape()


def weights(shape: Shape = SHAPE, *, seed: int = 0) -> dict[str, Array]:
    """By their GGUF names; matrices have shape (outputs, inputs)."""
    rng = np.random.default_rng(seed)

    def normal(*size: int) -> Array:
        return rng.standard_normal(size, dtype=np.float32)

    def dense(name: str, outputs: int, inputs: int) -> dict[str, Array]:
        return {
            f"{name}.weight": normal(outputs, inputs) / np.float32(inputs**0.5),
            f"{name}.bias": normal(outputs) / 4,
        }

    def norm(name: str) -> dict[str, Array]:
        return {f"{name}.weight": 1 + normal(shape.width) / 8, f"{name}.bias": normal(shape.width) / 8}

    width = shape.width
    found = {
        "token_embd.weight": normal(len(VOCABULARY), width),
        "token_types.weight": normal(shape.segments, width),
        "position_embd.weight": normal(shape.context, width) / 2,
        **norm("token_embd_norm"),
    }
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            found |= dense(f"{block}.{name}", width, width)
        found |= norm(f"{block}.attn_output_norm") | norm(f"{block}.layer_output_norm")
        found |= dense(f"{block}.ffn_up", shape.feed_forward, width) | dense(
            f"{block}.ffn_down", width, shape.feed_forward
        )
    if shape.head:
        found |= dense("cls", width, width) | dense("cls.output", max(1, len(shape.labels)), width)
    return found


def write(path: Path, shape: Shape = SHAPE, *, seed: int = 0) -> Path:
    """The file, float32, about 100 KB."""
    from gguf import GGUFWriter, PoolingType, TokenType

    writer = GGUFWriter(path, "bert")
    writer.add_name(path.stem)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_token_type_count(shape.segments)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")
    writer.add_token_list([_gguf_token(word) for word in VOCABULARY])
    writer.add_token_types([TokenType.CONTROL] * 5 + [TokenType.NORMAL] * (len(VOCABULARY) - 5))
    writer.add_pad_token_id(PAD)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_mask_token_id(MASK)
    if shape.labels:
        writer.add_classifier_output_labels(list(shape.labels))
    for name, value in weights(shape, seed=seed).items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_token(word: str) -> str:
    if word.startswith("["):
        return word
    return word[2:] if word.startswith("##") else f"\u2581{word}"


def tokens(text: str) -> list[int]:
    """Of texts made of the vocabulary's words; others are unknown."""
    words = text.lower().replace(".", " . ").replace("?", " ? ").split()
    return [VOCABULARY.index(word) if word in VOCABULARY else UNKNOWN for word in words]


def score(ids: list[int], shape: Shape = SHAPE, *, seed: int = 0) -> float:
    """What the network gives a pair, by its first label."""
    return float(outputs(ids, shape, seed=seed)[0])


def outputs(ids: list[int], shape: Shape = SHAPE, *, seed: int = 0) -> Array:
    """What the network gives a pair, by label."""
    w = weights(shape, seed=seed)
    x = w["token_embd.weight"][ids] + w["token_types.weight"][0] + w["position_embd.weight"][: len(ids)]
    x = _norm(x, w, "token_embd_norm")
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        x = _norm(x + _attention(x, w, block, shape.heads), w, f"{block}.attn_output_norm")
        inner = _dense(_gelu(_dense(x, w, f"{block}.ffn_up")), w, f"{block}.ffn_down")
        x = _norm(x + inner, w, f"{block}.layer_output_norm")
    return _dense(np.tanh(_dense(x[0], w, "cls")), w, "cls.output")


def _attention(x: Array, w: dict[str, Array], block: str, heads: int) -> Array:
    n, width = x.shape
    q, k, v = (_dense(x, w, f"{block}.attn_{name}").reshape(n, heads, -1).swapaxes(0, 1) for name in "qkv")
    likeness = q @ k.swapaxes(1, 2) / np.sqrt(width / heads)
    shares = np.exp(likeness - likeness.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ v
    return _dense(mixed.swapaxes(0, 1).reshape(n, width), w, f"{block}.attn_output")


def _dense(x: Array, w: dict[str, Array], name: str) -> Array:
    return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])


def _norm(x: Array, w: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
