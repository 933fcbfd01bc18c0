"""The tiny model's tokenizer as Hugging Face's library builds Qwen's own, for comparing tokens."""

from typing import Any

from jina_rag.testing import END_OF_TEXT, tiny_merges, tiny_vocabulary

# Qwen2's and Qwen3's tokenizer.json: "pre_tokenizer".
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer() -> Any:
    """NFC, Qwen's pattern, byte-level pairs, and the end-of-text token recognised wherever it stands."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {token: index for index, token in enumerate(tiny_vocabulary())}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(first, second) for first, second in map(str.split, tiny_merges())]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer
