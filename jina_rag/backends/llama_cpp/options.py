"""How llama.cpp is to run."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LlamaCppOptions:
    """How llama.cpp is to run. None of this changes what a vector means.

    Raises ValueError for a number that can't be meant.

    Attributes:
        n_gpu_layers: Layers to put on a GPU, -1 for all; nothing happens in a build for the CPU.
        n_threads: Threads to compute with; None takes every core this process may use.
        flash_attention: "auto" lets llama.cpp decide, which takes it wherever the device can.
        batch_tokens: Tokens computed at a time. Around 512 was fastest on every CPU tried.
        use_mmap: Map the file instead of reading it, so that processes share its memory.
    """

    n_gpu_layers: int = -1
    n_threads: int | None = None
    flash_attention: Literal["auto", "on", "off"] = "auto"
    batch_tokens: int = 512
    use_mmap: bool = True

    def __post_init__(self) -> None:
        if self.n_threads is not None and self.n_threads < 1:
            raise ValueError(f"n_threads must be 1 or more, not {self.n_threads}. None takes every core.")
        if self.batch_tokens < 1:
            raise ValueError(f"batch_tokens must be 1 or more, not {self.batch_tokens}. 512 suits most machines.")
        if self.flash_attention not in ("auto", "on", "off"):
            raise ValueError(f"flash_attention must be 'auto', 'on' or 'off', not {self.flash_attention!r}.")
