"""A chat model in this process, through llama-cpp-python."""

import codecs
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Condition, Lock
from time import monotonic
from typing import Any

import numpy as np

from jina_rag.backends.base import MIN_SHARE_OF_YES_AND_NO, Message, WaitCallback
from jina_rag.backends.llama_cpp.chat_template import ChatTemplate
from jina_rag.backends.llama_cpp.library import collected_errors, reason, route_log
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.backends.reasoning import OPENING, without_reasoning
from jina_rag.errors import GenerationError, ModelLoadError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.machine import available_cores

CONTEXT_TOKENS = 4096
"""Room for the question, a handful of passages and the answer."""

MAX_ANSWER_TOKENS = 512

PROMPT_TOKENS_AT_A_TIME = 64
"""So much of a prompt is read between two moments at which the reader may stop it."""

_SECONDS_TO_WAIT = 300.0
_SECONDS_BETWEEN_SIGNS = 0.1  # how long a reader who waits may be deaf to being stopped


class LlamaCppChatModel:
    """A chat model in a GGUF file, loaded when it is first needed. Answers are written one after the other."""

    def __init__(
        self, path: Path | str, *, n_ctx: int = CONTEXT_TOKENS, options: LlamaCppOptions | None = None
    ) -> None:
        """Name a file; it is not loaded yet.

        Args:
            path: A chat model, ending in .gguf; its chat template is taken from the file.
            n_ctx: How many tokens it may read and write at once; less if the model was trained for less.
            options: How llama.cpp is to run. By default a GPU takes the whole model, as for embeddings.

        Raises:
            GenerationError: there is no such file.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise GenerationError(f"There is no language model {self.path}. Check the path.")
        self._n_ctx = n_ctx
        self._options = options or LlamaCppOptions()
        self._loaded: _LoadedChatModel | None = None
        self._load_lock = Lock()
        self._queue = FifoQueue()  # llama.cpp aborts the process when two threads use one context

    @property
    def name(self) -> str:
        """The file's name, without its ending."""
        return self.path.stem

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether the messages leave room for an answer of `MAX_ANSWER_TOKENS`, by the model's own tokens."""
        model = self._load()
        with self._translated_errors():
            n_tokens = len(model.tokenize(messages))
        return n_tokens + MAX_ANSWER_TOKENS <= model.n_ctx

    def stream(self, messages: Sequence[Message], on_wait: WaitCallback | None = None) -> Iterator[str]:
        """Pieces of the next turn, the same for the same messages.

        Empty pieces come while the model waits for its turn and while it reads, so that the reader may close the
        iterator then too. Closing it stops the computation and lets the next reader in.

        Args:
            messages: The conversation so far.
            on_wait: Told how many answers come before this one, whenever that changes; 0 at the end of a wait.

        Raises:
            GenerationError: the file is no chat model, the model fails or only reasons, or other answers take too long.
        """
        place = self._queue.join()
        try:
            yield from self._wait(place, on_wait)
            yield from without_reasoning(self._answer(self._load(), messages), self.name)
        finally:
            self._queue.leave(place)

    def yes_probability(self, messages: Sequence[Message]) -> float:
        """How likely the next turn begins with Yes and not with No; nothing is written.

        One forward pass over what the model has not read yet: a prompt that begins as the last one did costs its rest
        alone. It waits in the queue of the answers.

        Raises:
            GenerationError: as for `stream`, or the model begins its turn with something else.
        """
        place = self._queue.join()
        try:
            for _ in self._wait(place, None):
                pass
            model = self._load()
            with self._translated_errors():
                return model.yes_probability(messages)
        finally:
            self._queue.leave(place)

    def close(self) -> None:
        """Give back the memory, once an answer that is being written is whole; the next one loads the model again."""
        with self._load_lock:
            self._loaded = None  # who still uses it holds it; then llama-cpp-python frees it

    def _wait(self, place: object, on_wait: WaitCallback | None) -> Iterator[str]:
        deadline = monotonic() + _SECONDS_TO_WAIT
        reported = 0
        while n_ahead := self._queue.wait(place, _SECONDS_BETWEEN_SIGNS):
            if on_wait and n_ahead != reported:
                on_wait(n_ahead)
            reported = n_ahead
            if monotonic() > deadline:
                raise GenerationError(f"{self.name} is still busy with another answer. Try again later.")
            yield ""
        if reported and on_wait:
            on_wait(0)

    def _answer(self, model: "_LoadedChatModel", messages: Sequence[Message]) -> Generator[str]:
        with self._translated_errors():
            yield from model.answer(messages)

    def _load(self) -> "_LoadedChatModel":
        with self._load_lock, self._translated_errors():
            if self._loaded is None:
                self._loaded = _LoadedChatModel(self.path, self._n_ctx, self._options)
            return self._loaded

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, ModelLoadError) as error:  # the first two are llama-cpp-python's
            loading = self._loaded is None
            raise GenerationError(
                f"{self.path} can't be loaded ({error}). Name a GGUF file of a chat model."
                if loading
                else f"{self.name} could not answer ({error}). Try another language model."
            ) from error


class FifoQueue:
    """Who comes first is served first; one at a time."""

    def __init__(self) -> None:
        """An empty queue."""
        self._places: deque[object] = deque()
        self._changed = Condition()

    def join(self) -> object:
        """A place at the end of the queue, to be given back with `leave`."""
        place = object()
        with self._changed:
            self._places.append(place)
        return place

    def wait(self, place: object, seconds: float) -> int:
        """How many are before this place, once it is nobody or after some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._places[0] is place, seconds)
            return self._places.index(place)

    def leave(self, place: object) -> None:
        """Let the next one in."""
        with self._changed:
            self._places.remove(place)
            self._changed.notify_all()


class _LoadedChatModel:
    """llama.cpp's model and context, and the template that makes a prompt of messages."""

    def __init__(self, path: Path, n_ctx: int, options: LlamaCppOptions) -> None:
        route_log()  # before llama_cpp is imported by anything else: how its threads wait is settled then
        from llama_cpp import Llama, llama_model_n_ctx_train

        header = read_gguf_header(path)  # llama.cpp must never see a damaged file: some make it abort the process
        self._template = _chat_template(header)
        cores = available_cores()  # left alone, it counts those of the whole machine
        with collected_errors() as errors:
            try:
                self._llama: Any = Llama(
                    str(path),
                    n_ctx=n_ctx,
                    n_gpu_layers=options.n_gpu_layers,
                    n_threads=options.n_threads or max(1, cores // 2),
                    n_threads_batch=options.n_threads or cores,
                    use_mmap=options.use_mmap,
                    verbose=False,
                )
            except ValueError as error:
                raise ValueError(reason(errors) if errors else str(error)) from error
        self.n_ctx: int = min(self._llama.n_ctx(), llama_model_n_ctx_train(self._llama.model))
        self._special = self._find_special()
        self._bos_token = self._text_of(self._llama.token_bos())
        yes, no = self._first_tokens("Yes"), self._first_tokens("No")
        self._yes, self._no = list(yes - no), list(no - yes)

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        """The prompt as tokens. Control tokens come from the template alone, never from what somebody wrote."""
        turns: Any = [{**message, "content": self._without_control(message["content"])} for message in messages]
        prompt = self._template.render(turns, bos_token=self._bos_token).encode("utf-8", "replace")
        tokens: list[int] = self._llama.tokenize(prompt, add_bos=False, special=True)
        return tokens

    def answer(self, messages: Sequence[Message]) -> Iterator[str]:
        """Read the prompt bit by bit, then write until the model ends its turn or the context is full."""
        llama, prompt = self._llama, self.tokenize(messages)
        end: bytes = llama.detokenize(prompt[-8:], special=True)
        if end.decode("utf-8", "replace").rstrip().endswith(OPENING):
            yield OPENING  # a template that has begun the reasoning itself
        # In whole steps, so that a prompt is computed in the same batches each time and the answer stays the same.
        for _ in self._read(prompt, len(prompt) - 1, multiple_of=PROMPT_TOKENS_AT_A_TIME):
            yield ""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a letter may be cut in two by tokens
        limit = min(MAX_ANSWER_TOKENS, self.n_ctx - len(prompt))
        for token in islice(llama.generate(prompt, temp=0.0, repeat_penalty=1.0), limit):
            if self._ends(token):
                break
            yield decoder.decode(llama.detokenize([token], prev_tokens=prompt))
        yield decoder.decode(b"", final=True)

    def yes_probability(self, messages: Sequence[Message]) -> float:
        """Read the prompt and compare the two words as its next token, in any spelling of theirs."""
        prompt = self.tokenize(messages)
        for _ in self._read(prompt, len(prompt)):
            pass
        yes, no = self._shares(self._yes), self._shares(self._no)
        if yes + no < MIN_SHARE_OF_YES_AND_NO:
            raise ValueError("it answers neither Yes nor No at once, as models that think first do")
        return yes / (yes + no)

    def _read(self, prompt: list[int], stop: int, *, multiple_of: int = 1) -> Iterator[None]:
        """Read a prompt up to a token, without the beginning that is in the key-value cache already."""
        if len(prompt) >= self.n_ctx:
            raise ValueError(f"the conversation has {len(prompt)} tokens and it reads {self.n_ctx}")
        for start in range(self._keep_prefix(prompt[: stop - 1], multiple_of), stop, PROMPT_TOKENS_AT_A_TIME):
            self._llama.eval(prompt[start : min(start + PROMPT_TOKENS_AT_A_TIME, stop)])
            yield

    def _keep_prefix(self, prompt: list[int], multiple_of: int) -> int:
        """Cut the cache to the longest prefix that it shares with this prompt, and say how many tokens that has."""
        from llama_cpp import llama_get_memory, llama_memory_seq_rm

        llama = self._llama
        n_shared = 0
        for token, read in zip(prompt, llama.input_ids[: llama.n_tokens].tolist(), strict=False):
            if token != read:
                break
            n_shared += 1
        n_shared -= n_shared % multiple_of
        # A recurrent memory can't be cut, only cleared.
        if n_shared and llama_memory_seq_rm(llama_get_memory(llama.ctx), -1, n_shared, -1):
            llama.n_tokens = n_shared
        else:
            llama.reset()
        return int(llama.n_tokens)

    def _first_tokens(self, word: str) -> set[int]:
        """The tokens that a word may begin with: capitalised or not, with a blank before it or without."""
        spellings = (f"{blank}{form}" for blank in ("", " ") for form in (word, word.lower(), word.upper()))
        return {self._llama.tokenize(each.encode(), add_bos=False)[0] for each in spellings}

    def _shares(self, tokens: list[int]) -> float:
        """How likely the next token is one of these, by the softmax over the vocabulary."""
        from llama_cpp import llama_get_logits_ith

        logits = np.ctypeslib.as_array(llama_get_logits_ith(self._llama.ctx, -1), (self._llama.n_vocab(),))
        weights = np.exp(logits.astype(np.float64) - logits.max())
        return float(weights[tokens].sum() / weights.sum())

    def _ends(self, token: int) -> bool:
        from llama_cpp import llama_model_get_vocab, llama_vocab_is_eog

        return bool(llama_vocab_is_eog(llama_model_get_vocab(self._llama.model), token))

    def _find_special(self) -> tuple[str, ...]:
        """The spellings of tokens that steer the model, such as <|im_end|>."""
        from llama_cpp import llama_model_get_vocab, llama_vocab_is_control, llama_vocab_n_tokens

        vocabulary = llama_model_get_vocab(self._llama.model)
        tokens = range(llama_vocab_n_tokens(vocabulary))
        found = (self._text_of(token) for token in tokens if llama_vocab_is_control(vocabulary, token))
        return tuple(sorted((text for text in found if len(text) > 1), key=len, reverse=True))

    def _text_of(self, token: int) -> str:
        from llama_cpp import llama_model_get_vocab, llama_vocab_get_text

        text: bytes = llama_vocab_get_text(llama_model_get_vocab(self._llama.model), token) if token >= 0 else b""
        return text.decode("utf-8", "replace")

    def _without_control(self, content: str) -> str:
        for text in self._special:
            content = content.replace(text, f"{text[0]} {text[1:]}")
        return content


def _chat_template(header: GgufHeader) -> ChatTemplate:
    """The template of a file, which has passed its limits before llama-cpp-python compiles it too."""
    key = "tokenizer.chat_template"
    template = header.metadata.get(key)
    if not template:
        raise ValueError("it has no chat template")
    others = [str(value) for name, value in header.metadata.items() if name.startswith(f"{key}.")]
    return ChatTemplate(str(template), *others)
