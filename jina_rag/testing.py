"""Doubles for tests, ours and yours: an engine without a model, and a real but tiny model.

`fake_embedder()` needs nothing at all. `write_tiny_gguf()` writes a Qwen3 of two layers with random weights and a
small byte-pair vocabulary, which llama.cpp loads and runs like the full-sized one.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jina_rag.backends.base import BackendResult, ProgressCallback, encode_utf8, limit_tokens
from jina_rag.embedder import Embedder
from jina_rag.models import ModelSpec, Pooling, Prompts
from jina_rag.vectors import FloatArray

_JINA_PROMPTS = Prompts(query="Query: ", document="Document: ")
_WORD = re.compile(r"\w+|[^\w\s]")

FAKE_SPEC = ModelSpec(
    name="fake",
    dimensions=64,
    max_input_tokens=512,
    pooling="mean",
    license="Apache-2.0",
    prompts=_JINA_PROMPTS,
    matryoshka_dimensions=(16, 32, 64),
)


class FakeBackend:
    """An engine that needs no model: a text's vector is the sum of one fixed random vector for each of its words.

    Texts that share words are therefore similar, other texts are not, and the same text always gives the same vector.
    """

    def __init__(self, dimensions: int = FAKE_SPEC.dimensions) -> None:
        self.dimensions = dimensions
        self.identity = f"fake-{dimensions}"

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Sum word vectors; a word counts as a token, and one more token opens each text."""
        tokens, truncated = limit_tokens(
            [self.token_ids(text) for text in texts], max_tokens=max_tokens, n_suffix_tokens=0, truncate=truncate
        )
        vectors = np.stack([np.sum([self.token_vector(token) for token in ids], axis=0) for ids in tokens])
        if on_progress:
            on_progress(len(texts))
        return BackendResult(vectors.astype(np.float32), tuple(map(len, tokens)), truncated)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words and punctuation marks, and one."""
        return [len(self.token_ids(text)) for text in texts]

    def close(self) -> None:
        """Nothing to give back."""

    def token_ids(self, text: str) -> list[int]:
        """A number for each word and punctuation mark, after a first one of 0."""
        (encoded,) = encode_utf8([text.lower()])
        words = _WORD.findall(encoded.decode())
        return [0, *(int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) for word in words)]

    def token_vector(self, token: int) -> FloatArray:
        """The random vector that a token stands for, shape (d,)."""
        return _random_vector(token, self.dimensions)


@lru_cache(maxsize=65_536)  # texts share words, and to seed a generator takes ten times as long as to add a vector
def _random_vector(seed: int, dimensions: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(dimensions, dtype=np.float32)


def fake_embedder(dimensions: int | None = None, *, truncate: bool = False) -> Embedder:
    """An embedder over `FakeBackend`, with Jina's prompts and widths of 16, 32 and 64."""
    return Embedder(FakeBackend(), FAKE_SPEC, dimensions=dimensions, truncate=truncate)


@dataclass(frozen=True, kw_only=True)
class Qwen3Shape:
    """The sizes of a Qwen3 model; the defaults are tiny."""

    layers: int = 2
    width: int = 64
    query_heads: int = 4
    key_heads: int = 2
    head_width: int = 16
    feed_forward: int = 128
    context: int = 4096
    rope_theta: float = 1_000_000.0
    rms_epsilon: float = 1e-6


TINY_SHAPE = Qwen3Shape()
TINY_SPEC = ModelSpec(
    name="tiny-qwen3",
    dimensions=TINY_SHAPE.width,
    max_input_tokens=TINY_SHAPE.context,
    pooling="last",
    license="Apache-2.0",
    prompts=_JINA_PROMPTS,
    normal_form="NFC",
    matryoshka_dimensions=(8, 16, 32, 64),
)

END_OF_TEXT = "<|endoftext|>"
_MERGES = """
Ġ t|h e|i n|e r|a n|o n|r e|e n|Ġt he|o r|a t|Ġ a|e s|in g|Ġ o|Ġ s|Ġ w|Ġ d|o u|a r|i s|Ġ p|Ġo f|i t|Ġa n|Ġan d|Ġ in
Q u|e r|Qu er|Quer y|D o|c u|m en|t :|Do cu|Docu men|Documen t|Ġ l|l l|Ġ m|a s|e d|Ġ (|Ġt o|ã ģ|ã Ĥ|Ġ ð|ð Ł|Ł ĺ|1 9|2 0
""".replace("\n", "|").strip("|")


def tiny_merges() -> list[str]:
    """The tiny vocabulary's byte-pair merges, each two parts and a blank between, in order of rank."""
    return list(dict.fromkeys(merge for merge in _MERGES.split("|") if merge))


def tiny_vocabulary() -> list[str]:
    """The tiny vocabulary's tokens in order of their ids: 256 bytes, what the merges make, and one special token."""
    merged = [merge.replace(" ", "") for merge in tiny_merges()]
    return [*_byte_alphabet(), *merged, END_OF_TEXT]


def tiny_weights(shape: Qwen3Shape = TINY_SHAPE, *, vocabulary_size: int, seed: int = 0) -> dict[str, FloatArray]:
    """Random weights by their GGUF names, float32; matrices have shape (outputs, inputs)."""
    rng = np.random.default_rng(seed)

    def matrix(outputs: int, inputs: int) -> FloatArray:
        return rng.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(np.sqrt(inputs))

    def gain(size: int) -> FloatArray:
        return np.float32(1) + rng.standard_normal(size, dtype=np.float32) / np.float32(10)

    queries, keys = shape.query_heads * shape.head_width, shape.key_heads * shape.head_width
    weights = {"token_embd.weight": matrix(vocabulary_size, shape.width), "output_norm.weight": gain(shape.width)}
    for layer in range(shape.layers):
        weights |= {
            f"blk.{layer}.{name}.weight": value
            for name, value in {
                "attn_norm": gain(shape.width),
                "attn_q": matrix(queries, shape.width),
                "attn_q_norm": gain(shape.head_width),
                "attn_k": matrix(keys, shape.width),
                "attn_k_norm": gain(shape.head_width),
                "attn_v": matrix(keys, shape.width),
                "attn_output": matrix(shape.width, queries),
                "ffn_norm": gain(shape.width),
                "ffn_gate": matrix(shape.feed_forward, shape.width),
                "ffn_up": matrix(shape.feed_forward, shape.width),
                "ffn_down": matrix(shape.width, shape.feed_forward),
            }.items()
        }
    return weights


def write_tiny_gguf(path: Path, *, seed: int = 0) -> Path:
    """Write the tiny model, float32, about 600 KB; `Embedder.from_file(path, TINY_SPEC)` runs it."""
    vocabulary = tiny_vocabulary()
    return write_qwen3_gguf(
        path, TINY_SHAPE, tiny_weights(vocabulary_size=len(vocabulary), seed=seed), vocabulary, tiny_merges()
    )


def write_qwen3_gguf(
    path: Path,
    shape: Qwen3Shape,
    weights: dict[str, FloatArray],
    vocabulary: list[str],
    merges: list[str],
    *,
    half: bool = False,
    rerank_template: str = "",
    add_eos: bool | None = None,
    pooling: Pooling | None = None,
    bidirectional: bool = False,
) -> Path:
    """Write any Qwen3 with tied embeddings, whose last vocabulary entry is its end-of-text token.

    Args:
        path: Where to; its folder must exist.
        shape: The sizes.
        weights: Float32, by their GGUF names.
        vocabulary: Byte-level tokens in order of their ids.
        merges: Pairs in order of rank.
        half: Store the matrices as float16.
        rerank_template: How it joins question and passage, if `cls.output.weight` makes a reranker of it that says
            "yes" or "no".
        add_eos: Whether the header says that texts end with the end-of-text token; None leaves it out.
        pooling: What the header says of it; None leaves it out.
        bidirectional: Write a EuroBERT: the same network, but that each token attends to those after it too, and
            without norms of queries and keys.
    """
    from gguf import GGUFWriter, PoolingType, TokenType

    writer = GGUFWriter(path, "eurobert" if bidirectional else "qwen3")
    if bidirectional:
        norms = ("_q_norm.weight", "_k_norm.weight")
        weights = {name: value for name, value in weights.items() if not name.endswith(norms)}
        writer.add_causal_attention(False)
    writer.add_name(path.stem)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.query_heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.rms_epsilon)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.NORMAL] * (len(vocabulary) - 1) + [TokenType.CONTROL])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(vocabulary) - 1)
    writer.add_pad_token_id(len(vocabulary) - 1)
    writer.add_add_bos_token(False)
    if add_eos is not None:
        writer.add_add_eos_token(add_eos)
    if pooling is not None:
        writer.add_pooling_type(PoolingType[pooling.upper()])
    if rerank_template:
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": rerank_template}])
    for name, value in weights.items():
        writer.add_tensor(name, value.astype(np.float16) if half and value.ndim > 1 else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _byte_alphabet() -> list[str]:
    """The letter that byte-level BPE writes for each byte: itself where it prints, else one from U+0100 upwards."""
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printing else next(others)) for byte in range(256)]


def random_texts(n: int, *, words: int, seed: int = 0) -> list[str]:
    """Texts of up to `words` made-up words, for tests that need many."""
    rng = np.random.default_rng(seed)
    syllables = np.array(["ma", "re", "ti", "so", "lun", "der", "ka", "vi", "pol", "ne"])

    def word() -> str:
        chosen: NDArray[np.str_] = rng.choice(syllables, rng.integers(1, 4))
        return "".join(chosen)

    return [" ".join(word() for _ in range(rng.integers(1, words + 1))) for _ in range(n)]
