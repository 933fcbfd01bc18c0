"""Peak memory of a long text through the small shape, and how soon one that is too long is refused.

python -m tests.benchmarks.long_text FOLDER [QUANTIZATION] [TOKENS]
"""

import resource
import sys
import time
from pathlib import Path

from jina_rag import Embedder, InputTooLongError
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

LETTERS = "".join(map(chr, range(0x21, 0x7F)))


def text_of(n_tokens: int, embedder: Embedder) -> str:
    """A text of so many tokens: its vocabulary has a token for each letter and hardly any for more."""
    text = (LETTERS * (n_tokens // len(LETTERS) + 1))[:n_tokens]
    while (surplus := embedder.count_tokens([text])[0] - n_tokens) != 0:
        text = text[:-surplus] if surplus > 0 else text + LETTERS[:-surplus]
    return text


def main(folder: Path, quantization: str, n_tokens: int) -> None:
    """Print the figures, one a line."""
    path = small_shape_gguf(folder, quantization)
    embedder = Embedder.from_file(path, SPEC, quantization=quantization)
    embedder.embed_query("warm")
    say(f"{quantization}, loaded and one query: peak {peak_megabytes():,} MB")

    too_long = text_of(33_000, embedder)
    started = time.perf_counter()
    try:
        embedder.embed_documents([too_long])
    except InputTooLongError as error:
        say(f"33,000 tokens: refused after {time.perf_counter() - started:.2f} s: {error}")

    text = text_of(n_tokens, embedder)
    started = time.perf_counter()
    result = embedder.embed([text], "document")
    seconds = time.perf_counter() - started
    say(f"{result.token_counts[0]:,} tokens: {seconds:.0f} s, peak {peak_megabytes():,} MB")


def peak_megabytes() -> int:
    """The most memory this process has held, mapped weights included, in 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    defaults = ("Q4_K_M", "20000")
    quantization, n_tokens = (*sys.argv[2:], *defaults[len(sys.argv) - 2 :])
    main(Path(sys.argv[1]), quantization, int(n_tokens))
