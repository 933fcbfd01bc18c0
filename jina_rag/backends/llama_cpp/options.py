"""How llama.cpp is to run."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LlamaCppOptions:
    """How llama.cpp is to run. None of this changes what a vector means.

    Raises ValueError for a value that can't be meant.

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
        if self.n_threads is not None:
            _check_number("n_threads", self.n_threads, least=1, advice="None takes every core.")
        _check_number("batch_tokens", self.batch_tokens, least=1, advice="512 suits most machines.")
        _check_number("n_gpu_layers", self.n_gpu_layers, least=-1, advice="-1 takes all.")
        if self.flash_attention not in ("auto", "on", "off"):
            raise ValueError(f"flash_attention must be 'auto', 'on' or 'off', not {self.flash_attention!r}.")
        if type(self.use_mmap) is not bool:
            raise ValueError(f"use_mmap must be True or False, not {self.use_mmap!r}.")


def _check_number(name: str, value: object, *, least: int, advice: str) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {value!r}. {advice}")
