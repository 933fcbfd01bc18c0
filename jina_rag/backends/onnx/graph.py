"""A network as an ONNX graph over packed texts, with its weights in a file beside it.

Texts of a batch lie one behind another, T tokens in all, so nothing is padded where most of the work is. For the
attention they are put into R rows of S places, each row one or more texts; a token sees those of its own text. The
queries go through it in blocks, so that the memory for scores grows with the length of a text and not with its square.

What goes in:

    states   float32 (T, width)            the tokens' rows of the embedding table, summed up where there are several
    cosines  float32 (T, 1, head width)    of the rotary embedding; sines likewise; neither where there is none
    places   int64 (R, S)                  which token is at each place, any at those that are left over
    texts    int32 (R, S)                  the number of its text, -1 at those that are left over
    back     int64 (T,)                    each token's place, counted over all rows
    block    int64 (1,)                    how many queries go through the attention at once; divides S
    wanted   int64 (N,)                    the tokens whose states are to come out

and out comes `vectors`, float32 (N, width): their states after the last layer, normalised as the network does.

int8 is for the matrix products alone: weights in 64 steps on each side of zero with a scale for each output, states in
127 with a scale for each token. With no more steps two products add up within 16 bits, which processors without VNNI
compute in ("Quantize ONNX models" of ONNX Runtime's documentation, on U8S8 and saturation). Before that, both are
rotated by a Hadamard matrix, which the product cancels, so that the few large numbers of a state are spread over many
(QuaRot: Ashkboos et al. 2024, arXiv:2404.00456).
"""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jina_rag.backends.onnx.network import Network
from jina_rag.backends.onnx.weights import Weights
from jina_rag.backends.remote.address import Precision
from jina_rag.errors import MissingDependencyError
from jina_rag.vectors import FloatArray

GRAPH_VERSION = 1
"""Changes whenever the graph of a file does, so that one that is kept on the disk is made again."""

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"

_OPSET = 20  # the first with Gelu; ONNX Runtime 1.18 and later read it
_MICROSOFT = "com.microsoft"
_INLINE_BYTES = 2**14  # smaller constants are in the graph itself
_ALIGNMENT = 2**16  # what every system can map
_LARGEST_ROTATION = 64
_STATE_STEPS = 127
_WEIGHT_STEPS = 64
_LEAST_SCALE = np.float32(1e-20)  # of a row of zeros
_HIDDEN = np.float32(-1e30)  # added to a score; infinity would make a row of nothing else not a number


def write_graph(folder: Path, network: Network, weights: Weights, precision: Precision) -> None:
    """Write the graph and its weights into an existing folder, one tensor in memory at a time.

    Raises:
        MissingDependencyError: the package onnx is not installed.
        ModelLoadError: a tensor is stored in a way that llama.cpp alone reads.
        OSError: the disk is full, or the folder can't be written.
    """
    try:
        from onnx import save_model
    except ImportError as error:
        raise MissingDependencyError.for_extra("onnx", "onnx") from error
    with (folder / WEIGHTS_FILE).open("wb") as file:
        model = _Builder(file, network, weights, precision).model()
        file.flush()
        os.fsync(file.fileno())  # else a crash of the machine may leave a file of zeros under the name of a whole one
    save_model(model, folder / GRAPH_FILE)


def hadamard(width: int) -> FloatArray:
    """A symmetric orthogonal matrix of 1 and -1, scaled: as wide as a power of two that divides a width, 64 at most."""
    size = min(width & -width, _LARGEST_ROTATION)
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(size), np.float32)


class _Builder:
    def __init__(self, file: BinaryIO, network: Network, weights: Weights, precision: Precision) -> None:
        self._file = file
        self._network = network
        self._weights = weights
        self._precision = precision
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._names: dict[bytes, str] = {}  # of small constants
        self._n_names = 0

    def model(self) -> Any:  # noqa: ANN401 - onnx ships no types
        from onnx import TensorProto as Type
        from onnx import helper

        network, add = self._network, self._add
        self._add_places()
        state = "states" if network.kind == "decoder" else self._norm("states", "token_embd_norm")
        layer = self._decoder_layer if network.kind == "decoder" else self._bert_layer
        for number in range(network.layers):
            state = layer(state, f"blk.{number}.")
        state = add("Gather", state, "wanted", axis=0)
        add("Identity", self._norm(state, "output_norm") if network.kind == "decoder" else state, output="vectors")
        inputs: dict[str, tuple[int, list[str | int]]] = {
            "states": (Type.FLOAT, ["T", network.width]),
            "places": (Type.INT64, ["R", "S"]),
            "texts": (Type.INT32, ["R", "S"]),
            "back": (Type.INT64, ["T"]),
            "block": (Type.INT64, [1]),
            "wanted": (Type.INT64, ["N"]),
        }
        if network.rotation_base:
            inputs |= {name: (Type.FLOAT, ["T", 1, network.head_width]) for name in ("cosines", "sines")}
        graph = helper.make_graph(
            self._nodes,
            "jina_rag",
            [helper.make_tensor_value_info(name, *typed) for name, typed in inputs.items()],
            [helper.make_tensor_value_info("vectors", Type.FLOAT, ["N", network.width])],
            self._constants,
        )
        domains = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=10)

    def _decoder_layer(self, state: str, block: str) -> str:
        """Normalise before attention and feed-forward, as Qwen and EuroBERT do; SwiGLU."""
        add, network = self._add, self._network
        attended = self._attention(self._norm(state, f"{block}attn_norm"), block)
        state = add("Add", state, attended)
        width = network.feed_forward
        gate, up = self._linear(self._norm(state, f"{block}ffn_norm"), block, {"ffn_gate": width, "ffn_up": width})
        gated = add("Mul", add("QuickGelu", gate, domain=_MICROSOFT, alpha=1.0), up)  # of 1.0: SiLU
        return add("Add", state, *self._linear(gated, block, {"ffn_down": network.width}))

    def _bert_layer(self, state: str, block: str) -> str:
        """Normalise behind attention and feed-forward; the exact GELU."""
        add, network = self._add, self._network
        state = self._norm(add("Add", state, self._attention(state, block)), f"{block}attn_output_norm")
        (up,) = self._linear(state, block, {"ffn_up": network.feed_forward})
        (down,) = self._linear(add("Gelu", up), block, {"ffn_down": network.width})
        return self._norm(add("Add", state, down), f"{block}layer_output_norm")

    def _attention(self, state: str, block: str) -> str:
        """Scaled dot-product attention; several queries share a key where the network has fewer of these."""
        add, number, network = self._add, self._number, self._network
        heads, keys, width = network.heads, network.key_heads, network.head_width
        query, key, value = self._linear(
            state, block, {"attn_q": heads * width, "attn_k": keys * width, "attn_v": keys * width}
        )
        query = self._rotated(self._heads(query, heads, f"{block}attn_q_norm"))
        query = add("Mul", query, number(np.float32(width**-0.5)))
        key = self._rotated(self._heads(key, keys, f"{block}attn_k_norm"))
        value = self._heads(value, keys, "")
        # To rows: queries as (R, keys, queries of a key, S, width), keys with their last two swapped, values likewise.
        query = add("Reshape", add("Gather", query, "places", axis=0), number([0, 0, keys, heads // keys, width]))
        query = add("Transpose", query, perm=[0, 2, 3, 1, 4])
        key, value = (
            add("Unsqueeze", add("Gather", heads_of, "places", axis=0), number([3])) for heads_of in (key, value)
        )
        key, value = add("Transpose", key, perm=[0, 2, 3, 4, 1]), add("Transpose", value, perm=[0, 2, 3, 1, 4])
        blocks = self._in_blocks(query, key, value)  # (blocks, R, keys, queries of a key, block, width)
        attended = add("Transpose", blocks, perm=[1, 0, 4, 2, 3, 5])
        attended = add("Gather", add("Reshape", attended, number([-1, heads * width])), "back", axis=0)
        (output,) = self._linear(attended, block, {"attn_output": network.width})
        return output

    def _add_places(self) -> None:
        """What the attention of every layer needs of the rows."""
        add, number = self._add, self._number
        n_places = add("Shape", "places", start=1, end=2)
        add("Squeeze", add("Div", n_places, "block"), output="n_blocks")
        add("Range", number(np.int64(0)), add("Squeeze", n_places), number(np.int64(1)), output="order")
        add("Unsqueeze", "texts", number([1]), output="texts_of_keys")

    def _in_blocks(self, query: str, key: str, value: str) -> str:
        """What each block of queries attends to, the blocks one behind another."""
        from onnx import TensorProto as Type
        from onnx import helper

        add, number = self._add, self._number
        outside, self._nodes = self._nodes, []
        start = add("Mul", "turn", "block")
        end = add("Add", start, "block")
        queries = add("Slice", query, start, end, number([3]))
        of_queries = add("Unsqueeze", add("Slice", "texts", start, end, number([1])), number([-1]))
        seen = add("Equal", of_queries, "texts_of_keys")
        if self._network.causal:
            at = add("Unsqueeze", add("Slice", "order", start, end, number([0])), number([-1]))
            seen = add("And", seen, add("LessOrEqual", "order", at))
        mask = add("Where", seen, number(np.float32(0)), number(_HIDDEN))
        scores = add("Add", add("MatMul", queries, key), add("Unsqueeze", mask, number([1, 2])))
        attended = add("MatMul", add("Softmax", scores, axis=-1), value)
        add("Identity", "going", output="still_going")
        body = helper.make_graph(
            self._nodes,
            "block",
            [
                helper.make_tensor_value_info("turn", Type.INT64, []),
                helper.make_tensor_value_info("going", Type.BOOL, []),
            ],
            [
                helper.make_tensor_value_info("still_going", Type.BOOL, []),
                helper.make_tensor_value_info(attended, Type.FLOAT, None),
            ],
        )
        self._nodes = outside
        return add("Loop", "n_blocks", "", body=body)

    def _heads(self, state: str, heads: int, norm: str) -> str:
        """(T, heads * width) as (T, heads, width), normalised by head where the network does."""
        state = self._add("Reshape", state, self._number([0, heads, self._network.head_width]))
        return self._norm(state, norm) if f"{norm}.weight" in self._weights else state

    def _rotated(self, state: str) -> str:
        """Rotary position embedding of pairs that are half a head apart."""
        if not self._network.rotation_base:
            return state
        add = self._add
        half = self._network.head_width // 2
        first, second = self._split(state, [half, half])
        turned = add("Concat", add("Neg", second), first, axis=-1)
        return add("Add", add("Mul", state, "cosines"), add("Mul", turned, "sines"))

    def _norm(self, state: str, name: str) -> str:
        """RMSNorm, or LayerNorm where there is a bias."""
        gain, epsilon = self._constant(self._weights.array(f"{name}.weight")), self._network.epsilon
        if f"{name}.bias" not in self._weights:
            return self._add("SimplifiedLayerNormalization", state, gain, axis=-1, epsilon=epsilon)
        bias = self._constant(self._weights.array(f"{name}.bias"))
        return self._add("LayerNormalization", state, gain, bias, axis=-1, epsilon=epsilon)

    def _linear(self, state: str, block: str, widths: dict[str, int]) -> list[str]:
        """Products with matrices side by side in one, and the parts of the result by the matrices' widths."""
        add = self._add
        matrix = np.concatenate([self._weights.array(f"{block}{name}.weight") for name in widths])
        state = self._product_int8(state, matrix) if self._precision == "int8" else self._product(state, matrix)
        if any(f"{block}{name}.bias" in self._weights for name in widths):
            state = add("Add", state, self._constant(np.concatenate(self._biases(block, widths))))
        return self._split(state, list(widths.values()))

    def _biases(self, block: str, widths: dict[str, int]) -> list[FloatArray]:
        names = {name: f"{block}{name}.bias" for name in widths}
        return [
            self._weights.array(names[name]) if names[name] in self._weights else np.zeros(width, np.float32)
            for name, width in widths.items()
        ]

    def _product(self, state: str, matrix: FloatArray) -> str:
        return self._add("MatMul", state, self._constant(matrix.T))

    def _product_int8(self, state: str, matrix: FloatArray) -> str:
        add, number = self._add, self._number
        rotation = hadamard(matrix.shape[1])
        state = add("Reshape", state, number([-1, matrix.shape[1] // len(rotation), len(rotation)]))
        state = add("Reshape", add("MatMul", state, number(rotation)), number([-1, matrix.shape[1]]))
        matrix = (matrix.reshape(len(matrix), -1, len(rotation)) @ rotation).reshape(matrix.shape)
        scales = np.maximum(np.abs(matrix).max(axis=1), _LEAST_SCALE) / np.float32(_WEIGHT_STEPS)
        steps = np.rint(matrix / scales[:, None]).astype(np.int8)
        largest = add("Max", add("ReduceMax", add("Abs", state), number([-1])), number(_LEAST_SCALE))
        step, zero = number(np.float32(1 / _STATE_STEPS)), number(np.uint8(128))
        quantized = add("QuantizeLinear", add("Div", state, largest), step, zero)
        weights = self._constant(steps.T), step, self._constant(scales), zero
        return add("Mul", add("MatMulIntegerToFloat", quantized, *weights, domain=_MICROSOFT), largest)

    def _split(self, state: str, widths: list[int]) -> list[str]:
        if len(widths) == 1:
            return [state]
        names = [self._new_name() for _ in widths]
        self._add_node("Split", (state, self._number(widths)), names, axis=-1)
        return names

    def _add(self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """A node; its output has a name of its own unless one is given."""
        output = output or self._new_name()
        self._add_node(operator, inputs, [output], domain, **attributes)
        return output

    def _add_node(
        self,
        operator: str,
        inputs: tuple[str, ...],
        outputs: list[str],
        domain: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))

    def _number(self, value: object) -> str:
        """A small constant, once for each value."""
        array = np.asarray(value)
        key = array.dtype.str.encode() + repr(array.shape).encode() + array.tobytes()
        if key not in self._names:
            self._names[key] = self._constant(array)
        return self._names[key]

    def _constant(self, array: NDArray[Any]) -> str:
        """A constant, in the file of weights if it is large."""
        from onnx import TensorProto, helper, numpy_helper

        name = self._new_name()
        if array.nbytes < _INLINE_BYTES:
            self._constants.append(numpy_helper.from_array(array, name))
            return name
        self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
        place = {"location": WEIGHTS_FILE, "offset": self._file.tell(), "length": array.nbytes}
        self._file.write(np.ascontiguousarray(array).data)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, dims=array.shape, data_type=kind, data_location=TensorProto.EXTERNAL)
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._constants.append(tensor)
        return name

    def _new_name(self) -> str:
        self._n_names += 1
        return f"_{self._n_names}"
