"""The networks that can be computed here, and what a file of one must hold.

The sizes are those of llama.cpp's `src/models/{qwen3,qwen2,eurobert,bert}.cpp`. A file that holds anything else, a
tensor that nobody reads or a scaled rotation, is another network under a known name and is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from jina_rag.errors import ModelLoadError
from jina_rag.gguf_file import GgufHeader

Kind: TypeAlias = Literal["decoder", "bert"]
"""How a layer is put together: normalised before its parts, rotated and gated, or normalised behind them."""

_KINDS: dict[str, Kind] = {"qwen3": "decoder", "qwen2": "decoder", "eurobert": "decoder", "bert": "bert"}
_BIDIRECTIONAL = ("eurobert", "bert")


@dataclass(frozen=True)
class Network:
    """The sizes of a network.

    Attributes:
        kind: How its layers are put together.
        causal: Whether a token sees earlier ones alone.
        layers: How many it has.
        width: Of a token's state.
        heads: Of the queries.
        key_heads: Of keys and values, each of which serves as many queries.
        head_width: Numbers of a head.
        feed_forward: Width within a layer.
        epsilon: What normalising adds to the variance.
        rotation_base: Of the rotary embedding, by pairs half a head apart; 0.0 where positions have rows of a table.
        vocabulary: How many tokens have a row.
        positions: How many positions have one; 0 where they are rotations.
    """

    kind: Kind
    causal: bool
    layers: int
    width: int
    heads: int
    key_heads: int
    head_width: int
    feed_forward: int
    epsilon: float
    rotation_base: float
    vocabulary: int
    positions: int

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...], bool]]:
        """Name and shape of every tensor, and whether it may be missing."""
        width, optional = self.width, True
        queries, keys = self.heads * self.head_width, self.key_heads * self.head_width
        yield "token_embd.weight", (self.vocabulary, width), not optional
        if self.kind == "bert":
            yield "position_embd.weight", (self.positions, width), not optional
            yield from _norm("token_embd_norm", width, bias=True)
        else:
            yield from _norm("output_norm", width, bias=False)
        for layer in range(self.layers):
            block = f"blk.{layer}."
            for name, outputs, inputs in (
                ("attn_q", queries, width),
                ("attn_k", keys, width),
                ("attn_v", keys, width),
                ("attn_output", width, queries),
                ("ffn_up", self.feed_forward, width),
                ("ffn_down", width, self.feed_forward),
                *([("ffn_gate", self.feed_forward, width)] if self.kind == "decoder" else []),
            ):
                yield f"{block}{name}.weight", (outputs, inputs), not optional
                yield f"{block}{name}.bias", (outputs,), optional
            for name in (
                ("attn_norm", "ffn_norm") if self.kind == "decoder" else ("attn_output_norm", "layer_output_norm")
            ):
                yield from _norm(block + name, width, bias=self.kind == "bert")
            for name in ("attn_q_norm", "attn_k_norm") if self.kind == "decoder" else ():
                yield f"{block}{name}.weight", (self.head_width,), optional


def read_network(path: Path, header: GgufHeader) -> Network:
    """The network of a file, all of whose tensors have the shapes that they must have.

    Raises:
        ModelLoadError: it is one that is not computed here, or not quite the one it says.
    """
    kind = _KINDS.get(header.architecture)
    if kind is None:
        raise _unsupported(path, f"its network is {header.architecture!r}, not {', '.join(_KINDS)}")
    sizes = _Sizes(path, header)
    width, heads = sizes.count("embedding_length"), sizes.count("attention.head_count")
    network = Network(
        kind=kind,
        causal=header.architecture not in _BIDIRECTIONAL,
        layers=sizes.count("block_count"),
        width=width,
        heads=heads,
        key_heads=sizes.count("attention.head_count_kv", heads),
        head_width=sizes.count("attention.key_length", width // heads),
        feed_forward=sizes.count("feed_forward_length"),
        epsilon=sizes.number("attention.layer_norm_epsilon" if kind == "bert" else "attention.layer_norm_rms_epsilon"),
        rotation_base=0.0 if kind == "bert" else sizes.number("rope.freq_base", 10_000.0),
        vocabulary=header.vocabulary_size,
        positions=sizes.count("context_length") if kind == "bert" else 0,
    )
    _check_attention(path, header, network)
    _check_tensors(path, header, network)
    return network


class _Sizes:
    def __init__(self, path: Path, header: GgufHeader) -> None:
        self._path = path
        self._metadata = header.metadata
        self._architecture = header.architecture

    def number(self, name: str, default: float | None = None) -> float:
        value = self._metadata.get(f"{self._architecture}.{name}", default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise _unsupported(self._path, f"its {name} is {value!r}")
        return float(value)

    def count(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value < 1 or value != int(value):
            raise _unsupported(self._path, f"its {name} is {value!r}")
        return int(value)


def _norm(name: str, width: int, *, bias: bool) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    yield f"{name}.weight", (width,), False
    if bias:
        yield f"{name}.bias", (width,), False


def _check_attention(path: Path, header: GgufHeader, network: Network) -> None:
    """Refuse what changes the attention without a tensor of its own."""
    said = {name.removeprefix(f"{header.architecture}."): value for name, value in header.metadata.items()}
    as_expected: dict[str, tuple[object, ...]] = {
        "attention.causal": (network.causal,),
        "attention.value_length": (network.head_width,),
        "rope.dimension_count": (network.head_width,),
        "rope.scaling.type": ("none",),
        "rope.scaling.factor": (0, 1),
        "rope.scale_linear": (0, 1),  # its older name
        "attention.sliding_window": (0,),
    }
    for name, expected in as_expected.items():
        if name in said and said[name] not in expected:
            raise _unsupported(path, f"its {name} is {said[name]!r}")
    if network.kind == "decoder" and network.rotation_base <= 0:
        raise _unsupported(path, f"its rope.freq_base is {network.rotation_base!r}")
    if network.heads % network.key_heads or (network.rotation_base and network.head_width % 2):
        raise _unsupported(path, f"its {network.heads} heads don't share {network.key_heads} keys")


def _check_tensors(path: Path, header: GgufHeader, network: Network) -> None:
    left = dict(header.tensors)
    for name, shape, may_be_missing in network.tensors():
        tensor = left.pop(name, None)
        if tensor is None and not may_be_missing:
            raise _unsupported(path, f"it has no tensor {name!r}")
        if tensor is not None and tensor.shape != shape:
            raise _unsupported(path, f"its tensor {name!r} has the shape {tensor.shape} and should have {shape}")
    types = left.pop("token_types.weight", None) if network.kind == "bert" else None
    if types is not None and (len(types.shape) != 2 or types.shape[1] != network.width or not types.shape[0]):
        raise _unsupported(path, f"its tensor 'token_types.weight' has the shape {types.shape}")
    if unread := sorted(left.keys() - {"output.weight"}):
        raise _unsupported(path, f"its tensor {unread[0]!r} is not of this network")


def _unsupported(path: Path, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"{path} can't be run by the onnx engine: {reason}. Leave out the backend, which lets llama.cpp run it."
    )
