"""`Embedder`: texts in, unit vectors out, with the right prompt before each and no text cut unasked."""

import asyncio
import os
from collections.abc import Iterable, Iterator, KeysView, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Literal, Self

import numpy as np

from jina_rag.agreement import AGREEMENT, vectors_agree
from jina_rag.backends.base import EmbeddingBackend, ProgressCallback
from jina_rag.backends.llama_cpp.backend import LlamaCppBackend
from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.closeable import Closeable
from jina_rag.config import EmbedderConfig
from jina_rag.errors import BackendError, FingerprintMismatchError, InvalidTextError, TextError, text_positions_from
from jina_rag.fingerprint import Fingerprint
from jina_rag.idle_timer import IdleTimer
from jina_rag.models import DEFAULT_MODEL, InputType, KnownModelName, ModelSpec, get_model_spec, parse_model_name
from jina_rag.vectors import FloatArray, cosine_similarity, truncate_dimensions

_SMALL_CALL_CHARACTERS = 4096
"""An asynchronous call on so little text, a question say, has threads of its own."""


@dataclass(frozen=True)
class EmbeddingResult:
    """What `Embedder.embed` gives back for n texts.

    Attributes:
        vectors: float32 of shape (n, d), unit length, in the order of the texts.
        token_counts: How many tokens of each text were read, prompt and special tokens included.
        truncated: Positions of the texts that were cut; always empty unless `truncate` was asked for.
    """

    vectors: FloatArray
    token_counts: tuple[int, ...]
    truncated: tuple[int, ...]


class Embedder(Closeable):
    """An embedding model, ready to use. Safe to call from many threads; pickles as its configuration.

    Examples:
        >>> embedder = Embedder.from_pretrained("all-MiniLM-L6-v2")
        >>> question = embedder.embed_query("Which planet is red?")
        >>> passages = embedder.embed_documents(["Mars looks red because of rust.", "Venus is covered in clouds."])
        >>> passages.shape
        (2, 384)
        >>> int(embedder.similarity(question, passages).argmax())
        0
    """

    def __init__(
        self,
        backend: EmbeddingBackend,
        spec: ModelSpec,
        *,
        quantization: str = "",
        dimensions: int | None = None,
        truncate: bool = False,
        weights: str | None = None,
        keep_alive: float | None = None,
    ) -> None:
        """Take ready parts; `from_pretrained` and `from_file` pass them.

        Args:
            backend: The engine, with the model in it.
            spec: The model's row: prompts, limits, trained widths.
            quantization: How the weights are stored, for the fingerprint.
            dimensions: Cut vectors to this width; None keeps the full one.
            truncate: Cut texts that are too long, and say so in the result, instead of refusing them.
            weights: For the fingerprint, in place of the engine's own identity: see `with_fingerprint_of`.
            keep_alive: Seconds without use after which the model's memory is given back; the next call loads the model
                again. None keeps it.

        Raises:
            InvalidDimensionsError: the model was not trained for `dimensions`.
            BackendError: the engine's vectors are not as wide as the row says.
        """
        self.dimensions = spec.check_dimensions(dimensions)
        self.spec = spec
        self.quantization = quantization
        self.truncate = truncate
        self._backend = backend
        self._weights = weights
        self._keep_alive = keep_alive
        self._idle_timer = None if keep_alive is None else IdleTimer(keep_alive, backend.close)
        if backend.dimensions != spec.dimensions:
            raise BackendError(
                f"The engine gives vectors of {backend.dimensions} dimensions and {spec.name} has {spec.dimensions}. "
                "Name the model whose weights these are."
            )

    @classmethod
    def from_pretrained(
        cls,
        model: KnownModelName | str = DEFAULT_MODEL,
        *,
        quantization: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
        options: LlamaCppOptions | None = None,
        cache_dir: Path | str | None = None,
        backend: str | None = None,
        keep_alive: float | None = None,
    ) -> Self:
        """A model by its name; its file is downloaded from the hub if it is not on this machine yet.

        With a server's address or torch as the `backend` nothing is downloaded: they have the model.

        Args:
            model: A name or alias from `list_models()`, `name:QUANTIZATION`, or "auto": the default model where its
                file is at hand or can be downloaded, else the bundled one. With a backend, "auto" is what that holds.
            quantization: How the weights are stored; None takes the model's default, or what the backend says.
            dimensions: Cut vectors to this width; None keeps the full one.
            truncate: Cut texts that are too long instead of refusing them.
            options: How llama.cpp is to run.
            cache_dir: Where the hub keeps its files; None for its usual place.
            backend: Another engine, such as "http://host:8080", "jina", "sentence-transformers" or "onnx", or "auto"
                for the faster of llama.cpp and ONNX Runtime: see `jina_rag.backends.remote.address`. None is llama.cpp
                in this process.
            keep_alive: Seconds without use after which the model's memory is given back; None keeps it.

        Raises:
            UnknownModelError, InvalidDimensionsError: the name, quantisation or dimensions do not exist.
            ModelNotFoundError: the file is not here and could not be downloaded.
            ModelLoadError, ChecksumError: the file cannot be used.
            UnknownBackendError: the backend's setting names no engine, or llama.cpp's settings come with it.
            BackendUnavailableError: the backend does not answer.
            BackendError: it cannot be used for this model.
        """
        return cls.from_config(
            EmbedderConfig(
                model=model,
                quantization=quantization,
                dimensions=dimensions,
                truncate=truncate,
                options=options or LlamaCppOptions(),
                cache_dir=cache_dir,
                backend=backend,
                keep_alive=keep_alive,
            )
        )

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        spec: ModelSpec | KnownModelName | str,
        *,
        quantization: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
        options: LlamaCppOptions | None = None,
        backend: str | None = None,
        keep_alive: float | None = None,
    ) -> Self:
        """A GGUF file on this machine, with the row (or the name of the row) that describes it.

        Args:
            path: The file.
            spec: The row, or the name of a known one.
            quantization: How the weights are stored; None takes what the file's header says.
            dimensions: Cut vectors to this width; None keeps the full one.
            truncate: Cut texts that are too long instead of refusing them.
            options: How llama.cpp is to run.
            backend: "onnx", with its settings, to run the file with ONNX Runtime; "auto" for the faster one; None is
                llama.cpp.
            keep_alive: Seconds without use after which the model's memory is given back; None keeps it.

        Raises:
            UnknownModelError, InvalidDimensionsError: the name or the dimensions do not exist.
            UnknownBackendError: `backend` names no engine that runs files.
            ModelNotFoundError: there is no such file.
            ModelLoadError: it is not a whole GGUF file of an embedding model, or its vectors have another width.
        """
        row = get_model_spec(spec) if isinstance(spec, str) else spec
        engine: GgufBackend
        if backend is None:
            engine = LlamaCppBackend(Path(path), pooling=row.pooling, options=options, closing_token=row.closing_token)
        else:
            from jina_rag.backends.registry import make_file_backend

            engine = make_file_backend(backend, Path(path), row)
        stored = quantization or engine.quantization
        return cls(engine, row, quantization=stored, dimensions=dimensions, truncate=truncate, keep_alive=keep_alive)

    @classmethod
    def from_config(cls, config: EmbedderConfig) -> Self:
        """The embedder of stored settings: a backend's, a file's, or a named model's. Raises as those do."""
        config = config.resolved()
        if config.backend is not None and not config.runs_file:
            return cls._from_backend(config, config.backend)
        path, model, quantization = config.path, config.model, config.quantization
        if path is None:
            from jina_rag.model_files import choose_model, ensure_model_file

            cache_dir = Path(config.cache_dir) if config.cache_dir else None
            model = choose_model(cache_dir=cache_dir) if model == "auto" else model
            spec, quantization = parse_model_name(model, quantization)
            spec.check_dimensions(config.dimensions)  # before a download, not after
            quantization = spec.file(quantization).quantization
            path = ensure_model_file(spec, quantization, cache_dir=cache_dir)
        return cls.from_file(
            path,
            model,
            quantization=quantization,
            dimensions=config.dimensions,
            truncate=config.truncate,
            options=config.options,
            backend=config.backend,
            keep_alive=config.keep_alive,
        )

    @classmethod
    def _from_backend(cls, config: EmbedderConfig, setting: str) -> Self:
        from jina_rag.backends.registry import make_backend, served_model

        model = served_model(setting).name if config.model == "auto" else config.model
        spec, stated = parse_model_name(model, config.quantization)
        spec.check_dimensions(config.dimensions)  # before anything is sent
        backend = make_backend(setting, spec)
        served = backend.server_info
        if stated and served.quantization and stated != served.quantization:
            raise BackendError(
                f"The engine has {spec.name} in {served.quantization}, not {stated}. Leave the quantisation out, or "
                "have the engine load the other file."
            )
        limit = min(spec.max_input_tokens, served.max_input_tokens or spec.max_input_tokens)
        return cls(
            backend,
            replace(spec, max_input_tokens=limit),
            quantization=stated or served.quantization.upper(),
            dimensions=config.dimensions,
            truncate=config.truncate,
            keep_alive=config.keep_alive,
        )

    @property
    def backend(self) -> EmbeddingBackend:
        """The engine, which takes texts with their prompts and gives pooled states, neither cut nor normalised."""
        return self._backend

    @property
    def max_input_tokens(self) -> int:
        """The longest input in tokens, prompt and special tokens included."""
        return self.spec.max_input_tokens

    @property
    def fingerprint(self) -> Fingerprint:
        """What an index of these vectors must remember."""
        return Fingerprint(
            model=self.spec.name,
            quantization=self.quantization,
            weights=self._weights or self._backend.identity,
            dimensions=self.dimensions,
            query_prompt=self.spec.prompts.query,
            document_prompt=self.spec.prompts.document,
            pooling=self.spec.pooling,
        )

    def embed_query(self, text: str) -> FloatArray:
        """The vector of a question: float32 of shape (d,), unit length. Raises as `embed` does."""
        vector: FloatArray = self.embed([text], "query").vectors[0]
        return vector

    def embed_documents(self, texts: Iterable[str]) -> FloatArray:
        """The vectors of passages: float32 of shape (n, d), unit length. Raises as `embed` does."""
        return self.embed(texts, "document").vectors

    async def aembed_query(self, text: str) -> FloatArray:
        """`embed_query` without holding up the event loop."""
        vector: FloatArray = (await self.aembed([text], "query")).vectors[0]
        return vector

    async def aembed_documents(self, texts: Iterable[str]) -> FloatArray:
        """`embed_documents` without holding up the event loop."""
        return (await self.aembed(texts, "document")).vectors

    def stream_documents(self, texts: Iterable[str], *, batch_size: int = 256) -> Iterator[FloatArray]:
        """The vectors of any number of passages, batch after batch, in memory that doesn't grow with their number.

        Args:
            texts: An iterator may give them as they come; no more than a batch is taken ahead.
            batch_size: How many texts to embed at a time; the last batch may have fewer.

        Yields:
            The vectors of the next texts, float32 of shape (n, d) with n up to `batch_size`, unit length.

        Raises:
            JinaRagError: as `embed`; a text is named by its position among all of them.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size}.")
        _refuse_what_is_no_list(texts)
        return self._stream(iter(texts), batch_size)

    def _stream(self, texts: Iterator[str], batch_size: int) -> Iterator[FloatArray]:
        position = 0
        while batch := list(islice(texts, batch_size)):
            with text_positions_from(position):
                vectors = self.embed_documents(batch)
            position += len(batch)
            yield vectors

    def embed(
        self, texts: Iterable[str], input_type: InputType, *, on_progress: ProgressCallback | None = None
    ) -> EmbeddingResult:
        """Embed texts as what they are: questions or passages.

        A text is never stripped or altered, only given the model's prompt.

        Args:
            texts: Any number of them, in a list, an iterator or a column of a table; none gives shape (0, d).
            input_type: "query" or "document": decides the prompt.
            on_progress: Called after each batch with how many more texts are done. What it raises ends the call.

        Raises:
            InputTooLongError: a text has too many tokens and `truncate` is off.
            InvalidTextError: a text is no string, or cannot be written as UTF-8.
            BackendError: the engine failed, or gave values that are no vector.
            TypeError: `texts` is one string, bytes, a set, a mapping or a whole table.
            ValueError: there is no such `input_type`.
        """
        prompt, texts = self.spec.prompts[input_type], _as_list(texts)
        if not texts:
            return EmbeddingResult(np.empty((0, self.dimensions), np.float32), (), ())
        with self._idle_timer.busy() if self._idle_timer else nullcontext():
            try:
                result = self._backend.embed(
                    [prompt + text for text in texts],
                    max_tokens=self.max_input_tokens,
                    truncate=self.truncate,
                    on_progress=on_progress,
                )
            except TextError as error:
                error.text = texts[error.index]
                raise
        vectors = truncate_dimensions(result.vectors, self.dimensions)
        _check_unit_length(vectors)
        return EmbeddingResult(vectors, result.token_counts, result.truncated)

    async def aembed(self, texts: Iterable[str], input_type: InputType) -> EmbeddingResult:
        """`embed` without holding up the event loop; a task that is cancelled ends it after the batch at hand."""
        texts = _as_list(texts)
        cancelled = Event()

        def check(_: int) -> None:
            if cancelled.is_set():
                raise asyncio.CancelledError

        # A question must not wait for a thread until documents are done.
        is_small = sum(len(text) for text in texts) <= _SMALL_CALL_CHARACTERS
        threads = _threads("small" if is_small else "large")
        work = partial(self.embed, texts, input_type, on_progress=check)
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def count_tokens(self, texts: Iterable[str], input_type: InputType = "document") -> list[int]:
        """How many tokens each text takes, prompt and special tokens included."""
        prompt = self.spec.prompts[input_type]
        with self._idle_timer.busy() if self._idle_timer else nullcontext():
            return self._backend.count_tokens([prompt + text for text in _as_list(texts)])

    def similarity(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Cosine of every vector of `a` with every vector of `b`: (m, d) and (n, d) give (m, n)."""
        return cosine_similarity(a, b)

    def with_fingerprint_of(self, other: "Embedder", *, least: float = AGREEMENT) -> Self:
        """This engine under the fingerprint of another that gives the same vectors, for collections made with that.

        Two engines that run the same weights may name them differently, so their fingerprints differ. Here both embed
        the same few texts, and only if the vectors agree is the one taken for the other.

        Args:
            other: The embedder that the collection was made with.
            least: The lowest cosine that passes.

        Raises:
            FingerprintMismatchError: the models differ, or some vector does by more than `least` allows.
        """
        cosine = vectors_agree(self, other)
        if cosine < least:
            raise FingerprintMismatchError(
                f"The vectors of {self!r} and {other!r} don't agree: the cosine of one text is {cosine:.4f}, and "
                f"{least} is needed. Load the same file in both, with the pooling of the model's card; or keep to the "
                "engine that the vectors were made with."
            )
        return type(self)(
            self._backend,
            self.spec,
            quantization=other.quantization,
            dimensions=self.dimensions,
            truncate=self.truncate,
            weights=other.fingerprint.weights,
            keep_alive=self._keep_alive,
        )

    def close(self) -> None:
        """Give back the model's memory, unless another embedder uses it too; the next call loads it again."""
        self._backend.close()

    def __repr__(self) -> str:
        quantization = f":{self.quantization}" if self.quantization else ""
        return f"Embedder({self.spec.name}{quantization}, dimensions={self.dimensions})"


def _as_list(texts: Iterable[str]) -> list[str]:
    _refuse_what_is_no_list(texts)
    listed = list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            found = "None" if text is None else f"{text!r:.50} of type {type(text).__name__}"
            raise InvalidTextError(index, f"is {found}, not a string. Leave it out, or make it a string first.")
    return listed


def _refuse_what_is_no_list(texts: object) -> None:
    kind = type(texts).__name__
    if isinstance(texts, str | bytes | bytearray):
        raise TypeError(f"A list of texts is needed, not one {kind}. For one question there is embed_query().")
    if isinstance(texts, Mapping | Set) and not isinstance(texts, KeysView):
        raise TypeError(f"A list of texts is needed, not a {kind}, whose order says nothing. Pass list(...) of it.")
    if getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"A list of texts is needed, not a {kind} of {texts.ndim} dimensions. Pass one column.")  # type: ignore[attr-defined]
    if not isinstance(texts, Iterable):
        raise TypeError(f"A list of texts is needed, not a {kind}.")


def _check_unit_length(vectors: FloatArray) -> None:
    lengths = np.linalg.norm(vectors, axis=-1)
    # Not a number fails this comparison too, as it should.
    bad = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))
    if bad.size:
        raise BackendError(
            f"The engine gave no usable vector for text {bad[0]} (length {lengths[bad[0]]}). The model's file may be "
            "damaged: download it again with `jina-rag download --force`."
        )


@cache
def _threads(lane: Literal["small", "large"]) -> ThreadPoolExecutor:
    # Not asyncio's own pool: waiting for the model must not use up the threads that everything else shares.
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix=f"jina-rag-async-{lane}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # the threads stayed with the parent
