"""The tiny models with transformers' Qwen3 and EuroBERT, and the reference texts embedded; see README.md."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from jina_rag.testing import END_OF_TEXT, TINY_SHAPE, TINY_SPEC, tiny_vocabulary, tiny_weights
from tests.reference.texts import TEXTS
from tests.reference.tiny_tokenizer import build_tokenizer

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k": "self_attn.k_proj",
    "attn_k_norm": "self_attn.k_norm",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def upstream_name(name: str) -> str:
    """A GGUF tensor's name as transformers calls it."""
    if name.startswith("blk."):
        _, layer, part, _ = name.split(".")
        return f"layers.{layer}.{LAYER_NAMES[part]}.weight"
    return {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}[name]


def build_model(*, bidirectional: bool = False) -> transformers.PreTrainedModel:
    """transformers' Qwen3 or EuroBERT with the tiny weights in it."""
    vocabulary_size = len(tiny_vocabulary())
    config_class, model_class = (
        (transformers.EuroBertConfig, transformers.EuroBertModel)
        if bidirectional
        else (transformers.Qwen3Config, transformers.Qwen3Model)
    )
    config = config_class(
        vocab_size=vocabulary_size,
        hidden_size=TINY_SHAPE.width,
        intermediate_size=TINY_SHAPE.feed_forward,
        num_hidden_layers=TINY_SHAPE.layers,
        num_attention_heads=TINY_SHAPE.query_heads,
        num_key_value_heads=TINY_SHAPE.key_heads,
        head_dim=TINY_SHAPE.head_width,
        max_position_embeddings=TINY_SHAPE.context,
        rms_norm_eps=TINY_SHAPE.rms_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": TINY_SHAPE.rope_theta},
        pad_token_id=vocabulary_size - 1,
    )
    model = model_class(config).eval()
    weights = {upstream_name(name): value for name, value in tiny_weights(vocabulary_size=vocabulary_size).items()}
    wanted = model.state_dict()  # EuroBERT has no norms of queries and keys
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items() if name in wanted})
    return model


def write_folder(folder: Path, *, bidirectional: bool = False) -> Path:
    """Write the model as a repository of sentence-transformers: weights, tokenizer, prompts and last-token pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    build_model(bidirectional=bidirectional).save_pretrained(folder / "model")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(), eos_token=END_OF_TEXT, pad_token=END_OF_TEXT, padding_side="left"
    )
    tokenizer.save_pretrained(folder / "model")
    transformer = Transformer(str(folder / "model"))
    pooling = Pooling(TINY_SHAPE.width, pooling_mode="lasttoken")
    prompts = {"query": TINY_SPEC.prompts.query, "document": TINY_SPEC.prompts.document}
    # With a default prompt, as the official repositories have it: an engine must not let it come on top of ours.
    model = SentenceTransformer(modules=[transformer, pooling], prompts=prompts, default_prompt_name="document")
    model.save(str(folder / "repository"))
    return folder / "repository"


def vectors() -> dict[str, dict[str, Any]]:
    """Tokens and vector of each text, as question and as document, by the tiny Qwen3."""
    model, tokenizer = build_model(), build_tokenizer()
    found: dict[str, dict[str, Any]] = {}
    for input_type in ("query", "document"):
        for name, text in TEXTS.items():
            ids = tokenizer.encode(TINY_SPEC.prompts[input_type] + text).ids
            with torch.no_grad():
                state = model(torch.tensor([ids])).last_hidden_state[0, -1]
            found[f"{input_type}: {name}"] = {
                "tokens": len(ids),
                "vector": [round(number, 7) for number in torch.nn.functional.normalize(state, dim=0).tolist()],
            }
    return found


def main() -> None:
    """Write tiny_qwen3.json."""
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"
    path = Path(__file__).with_name("tiny_qwen3.json")
    path.write_text(json.dumps({"made_with": made_with, "vectors": vectors()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
