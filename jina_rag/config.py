"""`EmbedderConfig`: the settings of an embedder, checked before anything is loaded."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.errors import UnknownBackendError, UnknownModelError
from jina_rag.models import DEFAULT_MODEL, KnownModelName, parse_model_name

_NAMES_ELSEWHERE = {
    "model": ("model_name", "model_id", "repo_id"),
    "model_name": ("model", "model_id", "repo_id"),
    "path": ("model_path", "model_file", "filename"),
    "cache_dir": ("cache_folder",),
    "backend": ("base_url", "api_base", "url", "endpoint", "host"),
    "dimensions": ("truncate_dim", "output_dimensionality", "embed_dim"),
    "quantization": ("dtype", "torch_dtype"),
    "options": ("n_gpu_layers", "n_threads", "n_batch", "n_ubatch", "use_mmap", "model_kwargs", "flash_attn", "device"),
    "k": ("top_k", "similarity_top_k"),
    "similarity_top_k": ("k", "top_k"),
    "file_types": ("kinds", "types", "extensions"),
    "mmr_lambda": ("lambda_mult", "diversity"),
    "index": ("folder", "persist_directory", "index_path"),
}
"""What other libraries call our settings."""


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig:
    """What it takes to make an `Embedder` again, in this process or another; for adapters that store settings.

    Attributes:
        model: A name or alias from `list_models()`, `name:QUANTIZATION`, or "auto".
        quantization: How the weights are stored; None takes the model's default, or what the file or backend says.
        dimensions: Cut vectors to this width; None keeps the full one.
        truncate: Cut texts that are too long instead of refusing them.
        options: How llama.cpp is to run.
        backend: Another engine, as for `Embedder.from_pretrained`; None is llama.cpp in this process.
        path: The model's GGUF file on this machine; None finds or downloads it by the model's name.
        cache_dir: Where the hub keeps its files; None for its usual place.
        keep_alive: Seconds without use after which the model's memory is given back; None keeps it.
    """

    model: KnownModelName | str = DEFAULT_MODEL
    quantization: str | None = None
    dimensions: int | None = None
    truncate: bool = False
    options: LlamaCppOptions = field(default_factory=LlamaCppOptions)
    backend: str | None = None
    path: Path | str | None = None
    cache_dir: Path | str | None = None
    keep_alive: float | None = None

    @property
    def runs_file(self) -> bool:
        """Whether a GGUF file runs in this process.

        Raises:
            UnknownBackendError: the backend's setting names no engine.
        """
        if self.backend is None:
            return True
        from jina_rag.backends.remote.address import FILE_ENGINES, parse_backend

        return parse_backend(self.backend).kind in FILE_ENGINES

    def check(self) -> None:
        """Refuse settings that don't fit each other or any model, without loading or downloading anything.

        "auto" passes, whatever model it will turn out to be.

        Raises:
            UnknownModelError, InvalidDimensionsError: the model, quantisation or dimensions do not exist.
            UnknownBackendError: the backend's setting names no engine, or llama.cpp's settings come with one.
            ValueError: `keep_alive` is no time.
        """
        if self.keep_alive is not None and not self.keep_alive >= 0:
            raise ValueError(f"keep_alive must be seconds, 0 or more, or None, not {self.keep_alive!r}.")
        if self.backend is not None:
            self._check_backend(self.backend)
        if self.model == "auto":
            if self.path is not None:
                raise UnknownModelError(f"{self.path} needs the name of its model: 'auto' doesn't tell its prompts.")
            return
        spec, quantization = parse_model_name(self.model, self.quantization)
        if self.runs_file and self.path is None:  # a server's or a file's weights may be stored in other ways
            spec.file(quantization)
        spec.check_dimensions(self.dimensions)

    def _check_backend(self, backend: str) -> None:
        from jina_rag.backends.remote.address import parse_backend

        parse_backend(backend)
        if self.options != LlamaCppOptions():
            raise UnknownBackendError("options are for llama.cpp in this process. Leave them out with a backend.")
        if not self.runs_file and (self.path or self.cache_dir):
            name = "path" if self.path else "cache_dir"
            raise UnknownBackendError(f"{name} is for a file run in this process. Leave it out with this backend.")

    def resolved(self) -> "EmbedderConfig":
        """The same settings in one spelling: the model's own name, its quantisation and dimensions, absolute paths.

        Raises:
            UnknownModelError, InvalidDimensionsError, UnknownBackendError: as `check` does.
        """
        self.check()
        path, cache_dir = (value and Path(value).expanduser().absolute() for value in (self.path, self.cache_dir))
        if self.model == "auto":
            return replace(self, path=path, cache_dir=cache_dir)
        spec, quantization = parse_model_name(self.model, self.quantization)
        if self.runs_file and self.path is None:
            quantization = spec.file(quantization).quantization
        return replace(
            self,
            model=spec.name,
            quantization=quantization,
            dimensions=spec.check_dimensions(self.dimensions),
            path=path,
            cache_dir=cache_dir,
        )

    def with_threads(self, n_threads: int) -> "EmbedderConfig":
        """The same with so many threads, where a file runs in this process and they are left open.

        Raises:
            UnknownBackendError: the backend's setting names no engine.
        """
        from jina_rag.backends.remote.address import parse_backend

        if self.backend is None:
            options = self.options
            return self if options.n_threads else replace(self, options=replace(options, n_threads=n_threads))
        if not self.runs_file or parse_backend(self.backend).threads:
            return self
        return replace(self, backend=f"{self.backend}{'&' if '?' in self.backend else '?'}threads={n_threads}")


def refuse_unknown_settings(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse a setting that doesn't exist, with the one that may be meant: for classes that take keyword arguments.

    Raises:
        ValueError: a name of `given` is not in `known`.
    """
    for name in given:
        if name in known:
            continue
        meant = [own for own, others in _NAMES_ELSEWHERE.items() if own in known and name in others]
        meant = meant or get_close_matches(name, known, n=1)
        hint = f"Did you mean {meant[0]!r}?" if meant else f"Settings are: {', '.join(known)}."
        raise ValueError(f"There is no setting {name!r}. {hint}")
