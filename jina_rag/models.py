"""The models that jina_rag knows, each a row of data.

A row says all that the rest of the project needs to embed exactly as the model's authors do: where the file is, what
to put before a text, how to pool, how many tokens fit and which widths the vectors were trained for. To add a model,
add a row and a reference vector; no code follows from it.

Sources: the model cards of jinaai/jina-embeddings-v5-text-{small,nano}, their `config_sentence_transformers.json`
(prompts), and the records of the hub (sizes and checksums). Prompts are exact to the byte, blanks included.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from jina_rag.errors import InvalidDimensionsError, UnknownModelError

if TYPE_CHECKING:
    from pathlib import Path  # costs a tenth of `import jina_rag`

Task: TypeAlias = Literal["retrieval", "text-matching", "classification", "clustering"]
InputType: TypeAlias = Literal["query", "document"]
Pooling: TypeAlias = Literal["last", "mean", "cls"]
ModelKind: TypeAlias = Literal["embedding", "chat", "reranker"]

KnownModelName: TypeAlias = Literal[
    "jina-embeddings-v5-text-small-retrieval",
    "jina-embeddings-v5-text-nano-retrieval",
    "jina-embeddings-v5-text-small-text-matching",
    "jina-embeddings-v5-text-nano-text-matching",
    "jina-embeddings-v5-text-small-classification",
    "jina-embeddings-v5-text-nano-classification",
    "jina-embeddings-v5-text-small-clustering",
    "jina-embeddings-v5-text-nano-clustering",
    "all-MiniLM-L6-v2",
]
"""The rows that come with jina_rag, for editors to complete. Wherever it is taken, any other name may be registered."""

DEFAULT_MODEL = "jina-embeddings-v5-text-small-retrieval"
BUNDLED_MODEL = "all-MiniLM-L6-v2"

MODELS_VARIABLE = "JINA_RAG_MODELS"
"""Names a TOML file with rows of the user's own: see `register_model`."""

QUANTIZATIONS = (
    "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q2_K", "IQ2_M", "IQ2_XXS",
    "IQ1_M", "IQ1_S",
)  # fmt: skip
"""What the Jina cards offer, largest first."""

QUANTIZABLE = (
    "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q2_K",
)  # fmt: skip
"""What `jina-rag quantize` makes, largest first: the types that need no statistics of the model at work."""


@dataclass(frozen=True)
class Prompts:
    """The text that a model expects before each kind of input."""

    query: str = ""
    document: str = ""

    def __getitem__(self, input_type: InputType) -> str:
        match input_type:
            case "query":
                return self.query
            case "document":
                return self.document
        raise ValueError(f"input_type must be 'query' or 'document', not {input_type!r}.")


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One quantisation of a model: its name on the hub and, where published, its size in bytes and its SHA-256.

    One that is `made_here` is on no hub: `jina-rag quantize` makes it on this machine. One with a `path` is on this
    machine already.
    """

    quantization: str
    filename: str
    size_bytes: int | None = None
    sha256: str | None = None
    made_here: bool = False
    path: "Path | None" = None


@dataclass(frozen=True, kw_only=True)
class DownloadableModel(ABC):
    """What the row of every kind of model says.

    Attributes:
        kind: What the model does.
        name: The upstream model id, without the owner.
        max_input_tokens: The longest input, prompt and special tokens included.
        license: SPDX-like name of the weights' licence.
        files: The quantisations on offer; empty for a file that only the user has.
        default_quantization: The one taken when none is named.
        quantized_from: The one that others are made from on this machine; empty where none can be.
        repo_id: Where the files are on the hub; None for a model that comes with an installed package.
        revision: The commit of `repo_id` that the checksums belong to; None for its newest.
        aliases: Other names that find this row.
        license_notice: What a user must know before the first download; empty where nothing restricts them.
    """

    kind: ClassVar[ModelKind]

    name: str
    max_input_tokens: int
    license: str
    files: tuple[ModelFile, ...] = ()
    default_quantization: str = ""
    quantized_from: str = ""
    repo_id: str | None = None
    revision: str | None = None
    aliases: tuple[str, ...] = ()
    license_notice: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"name must be the model's name, not {self.name!r}.")
        self._check_count("max_input_tokens")

    def _check_count(self, name: str) -> None:
        if type(value := getattr(self, name)) is not int or value < 1:
            raise ValueError(f"{name} of {self.name} must be a number of 1 or more, not {value!r}.")

    @property
    @abstractmethod
    def file_usage(self) -> str:
        """How a file of the user's own takes the place of this model, for messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases in lower case, as they are compared."""
        return tuple(name.lower() for name in (self.name, *self.aliases))

    def file(self, quantization: str | None = None) -> ModelFile:
        """The file of a quantisation, the default one if none is named; upper and lower case are the same.

        What the model's authors don't offer may still be made here: see `QUANTIZABLE`.

        Raises:
            UnknownModelError: the model is not offered in this quantisation.
        """
        wanted = (quantization or self.default_quantization).upper()
        for file in self.files:
            if file.quantization == wanted:
                return file
        if self.quantized_from and wanted in QUANTIZABLE:
            exact = self.file(self.quantized_from)
            filename = exact.filename.replace(exact.quantization, wanted)
            return ModelFile(quantization=wanted, filename=filename, made_here=True)
        offered = ", ".join(file.quantization for file in self.files)
        raise UnknownModelError(
            f"{self.name} has no quantisation {quantization!r}. "
            + (f"Choose one of: {offered}." if offered else f"It has no published files: use {self.file_usage}.")
        )


Row = TypeVar("Row", bound=DownloadableModel)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(DownloadableModel):
    """All that is needed to embed with one model, besides what `DownloadableModel` has.

    Attributes:
        dimensions: Width of the full vector.
        pooling: Which token's state becomes the vector.
        normal_form: What the model's own tokenizer does to Unicode first, for servers that leave it out (llama-server);
            in process the file's pre-tokenizer decides. None for nothing.
        prompts: What goes before a query and before a document.
        closing_token: The special token that the model's own tokenizer puts after each text, which files may leave
            out; "" for none, None where the file is to say.
        matryoshka_dimensions: The widths that the model was trained to be cut to, ascending, the full one included.
        task: What the weights were tuned for; None for a general model.
    """

    kind: ClassVar[ModelKind] = "embedding"

    dimensions: int
    pooling: Pooling
    prompts: Prompts = Prompts()
    closing_token: str | None = None
    normal_form: Literal["NFC"] | None = None
    matryoshka_dimensions: tuple[int, ...] = ()
    task: Task | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_count("dimensions")
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling of {self.name} must be one of {get_args(Pooling)}, not {self.pooling!r}.")

    @property
    def file_usage(self) -> str:
        """How a file of the user's own takes the place of this model, for messages."""
        return f"Embedder.from_file(path, {self.name!r})"

    def check_dimensions(self, dimensions: int | None) -> int:
        """`dimensions` if the model was trained for that width, or the full width for None.

        Raises:
            InvalidDimensionsError: the model was not trained for it.
        """
        trained = self.matryoshka_dimensions or (self.dimensions,)
        if dimensions is None:
            return self.dimensions
        if dimensions not in trained:
            widths = ", ".join(map(str, trained))
            raise InvalidDimensionsError(
                f"{self.name} was not trained for {dimensions} dimensions. Choose one of: {widths}."
            )
        return dimensions


def get_model_spec(name: KnownModelName | str) -> ModelSpec:
    """The row of a model, by its name or an alias, with or without `:QUANTIZATION` after it.

    Raises:
        UnknownModelError: no row has this name; the message lists those that exist.
    """
    return parse_model_name(name)[0]


def parse_model_name(name: KnownModelName | str, quantization: str | None = None) -> tuple[ModelSpec, str | None]:
    """A name as llama.cpp's `-hf` takes it, `[owner/]model[:QUANTIZATION]`, as a row and a quantisation.

    Args:
        name: The name.
        quantization: One that is named beside it; None if none is.

    Raises:
        UnknownModelError: no such model, it has no such quantisation, or the two name different ones.
    """
    _read_models_file()
    spec = _find_row(base_name(name))
    if spec is None:
        known = "\n  ".join(spec.name for spec in list_models())
        raise UnknownModelError(
            f"There is no model {base_name(name)!r}. Choose one of:\n  {known}\nor make a row of your own known with "
            "jina_rag.register_model(spec)."
        )
    return spec, parse_quantization(spec, name, quantization)


def base_name(name: str) -> str:
    """A model's name as names are compared, without the quantisation that may follow it."""
    return name.partition(":")[0].strip().lower()


def parse_quantization(spec: DownloadableModel, name: str, quantization: str | None) -> str | None:
    """The quantisation that is named after a colon or beside the name; None if none is.

    Raises:
        UnknownModelError: the model has no such quantisation, or the two name different ones.
    """
    _, colon, suffix = name.strip().partition(":")
    if not colon:
        return quantization and quantization.upper()
    named = spec.file(suffix).quantization
    if quantization and quantization.upper() != named:
        raise UnknownModelError(f"{name!r} names {named} and quantization={quantization!r} another. Leave one out.")
    return named


def list_models() -> tuple[ModelSpec, ...]:
    """All rows, in the order in which a newcomer should meet them, registered ones last."""
    _read_models_file()
    return tuple({row.name: row for row in (*MODELS, *_registered.values())}.values())


def register_model(spec: ModelSpec, path: "Path | str | None" = None) -> ModelSpec:
    """Make a row of your own known by its name and aliases, wherever this process takes the name of a model.

    A later call replaces the row. For other processes, name in JINA_RAG_MODELS a TOML file with a table `[[models]]`
    for each row: the fields of `ModelSpec`, and `path`. See `jina_rag.rag_models` for chat models and rerankers.

    Args:
        spec: The row. Its files are on the hub if it has a `repo_id`, or on this machine if they have a `path`. A row
            of `list_models()` is taken with other files and nothing else changed.
        path: A GGUF file on this machine, which becomes the row's default under the quantisation its header names.

    Returns:
        The row as it is known now.

    Raises:
        ValueError: the name or an alias belongs to another row.
        ModelNotFoundError, ModelLoadError: `path` is no GGUF file.
    """
    if path is not None:
        spec = with_file(spec, path)
    for name in spec.names:
        row = _ROWS_BY_NAME.get(name) or _find_row(name)
        others = row is not None and row.name != spec.name
        changed = row in MODELS and _without_files(row) != _without_files(spec)
        if name == "auto" or ":" in name or others or changed:
            raise ValueError(f"{name!r} can't name {spec.name}: it means something else already. Choose another name.")
    _registered[spec.name] = spec
    return spec


def _find_row(name: str) -> ModelSpec | None:
    own = (row for row in list(_registered.values()) if name in row.names)
    return next(own, None) or _ROWS_BY_NAME.get(name)


def _without_files(spec: ModelSpec) -> ModelSpec:
    return replace(spec, files=(), default_quantization="")


def with_file(spec: Row, path: "Path | str") -> Row:
    """A row with a GGUF file on this machine as its default, under the quantisation that the file's header names."""
    from pathlib import Path

    from jina_rag.gguf_file import read_gguf_header

    path = Path(path).expanduser().absolute()
    file = ModelFile(quantization=read_gguf_header(path).quantization, filename=path.name, path=path)
    others = tuple(other for other in spec.files if other.quantization != file.quantization)
    return replace(spec, files=(file, *others), default_quantization=file.quantization)


@cache
def _read_models_file() -> None:
    """Register the embedding models of the file that JINA_RAG_MODELS names, at the first look for a name."""
    with explained_models_file() as rows:
        for row in rows:
            if row.pop("kind", "embedding") == "embedding":
                path = row.pop("path", None)
                known = _ROWS_BY_NAME[row["name"].lower()] if row.keys() == {"name"} else None
                register_model(known or _spec_of(row), path)


@contextmanager
def explained_models_file() -> Iterator[list[dict[str, Any]]]:
    """The rows of the file that JINA_RAG_MODELS names, none without one; what is wrong with them is explained.

    Raises:
        UnknownModelError: the file can't be read, or its rows were not understood within the block.
    """
    file = os.environ.get(MODELS_VARIABLE)
    try:
        yield _rows_of(file) if file else []
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnknownModelError(
            f"{file}, which {MODELS_VARIABLE} names, can't be read ({type(error).__name__}: {error}). Write a table "
            "[[models]] for each model, with the fields of jina_rag.ModelSpec."
        ) from error


def _rows_of(file: str) -> list[dict[str, Any]]:
    import tomllib  # most processes need none
    from pathlib import Path

    return list(tomllib.loads(Path(file).expanduser().read_text("utf-8"))["models"])


def _spec_of(fields: dict[str, Any]) -> ModelSpec:
    return ModelSpec(**{**row_values(fields), "prompts": Prompts(**fields.get("prompts", {}))})


def row_values(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row as a file has them, as the fields of the row."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return {**values, "files": tuple(ModelFile(**file) for file in values.get("files", ()))}


def _jina_v5(
    size: Literal["small", "nano"], task: Task, *, revision: str | None = None, published: tuple[ModelFile, ...] = ()
) -> ModelSpec:
    """A row of the jina-embeddings-v5-text family; the rows differ only in what stands here."""
    dimensions, max_input_tokens = (1024, 32_768) if size == "small" else (768, 8_192)
    family, name = f"jina-embeddings-v5-text-{size}", f"jina-embeddings-v5-text-{size}-{task}"
    files = {q: ModelFile(quantization=q, filename=f"v5-{size}-{task}-{q}.gguf") for q in QUANTIZATIONS}
    files |= {file.quantization: file for file in published}
    aliases = [f"jinaai/{name}", f"{name}-GGUF", f"jinaai/{name}-GGUF", f"jina-v5-{size}-{task}"]
    if task == "retrieval":
        aliases += [family, f"jinaai/{family}", f"jina-v5-{size}"]
    return ModelSpec(
        name=name,
        dimensions=dimensions,
        max_input_tokens=max_input_tokens,
        pooling="last",
        license="CC-BY-NC-4.0",
        license_notice=(
            f"The weights of {name} are under CC-BY-NC-4.0: free for non-commercial use only "
            "(https://creativecommons.org/licenses/by-nc/4.0/)."
        ),
        # Only retrieval tells questions from passages; the other adapters were trained on "Document: " alone.
        prompts=Prompts(query="Query: " if task == "retrieval" else "Document: ", document="Document: "),
        closing_token="<|end_of_text|>" if size == "nano" else None,
        normal_form="NFC" if size == "small" else None,  # Qwen's tokenizer.json: "normalizer"; nano's has none
        matryoshka_dimensions=tuple(width for width in (32, 64, 128, 256, 512, 768, 1024) if width <= dimensions),
        files=tuple(files.values()),
        default_quantization="Q4_K_M",
        quantized_from="F16",
        task=task,
        repo_id=f"jinaai/{name}-GGUF",
        revision=revision,
        aliases=tuple(aliases),
    )


def _jina_v5_models() -> Iterator[ModelSpec]:
    # Upstream replaced these files once, so the rows with checksums name the commit that the checksums belong to.
    yield _jina_v5(
        "small",
        "retrieval",
        revision="78b0ebcb4c870fdfef409e578b65288b49a4fa90",
        published=(
            ModelFile(
                quantization="Q8_0",
                filename="v5-small-retrieval-Q8_0.gguf",
                size_bytes=639_447_424,
                sha256="b759677362414e664160ffb017fbc74c300feaa4ad4085f69f2cc1bfa12ccb71",
            ),
            ModelFile(
                quantization="Q4_K_M",
                filename="v5-small-retrieval-Q4_K_M.gguf",
                size_bytes=396_705_152,
                sha256="9440cf89f3e8a7a31a42e11b87e106dd5b344af4e0e3b6b21a96136cc8686e21",
            ),
        ),
    )
    yield _jina_v5(
        "nano",
        "retrieval",
        revision="59cfaceeeb7d738c404659435af4c0da74d06c96",
        published=(
            ModelFile(
                quantization="Q8_0",
                filename="v5-nano-retrieval-Q8_0.gguf",
                size_bytes=232_883_776,
                sha256="86b6e6279e9b9e71389f02a082764a2ac2b15a50e37482c26f98d69092f12442",
            ),
        ),
    )
    for task in get_args(Task):
        if task != "retrieval":
            yield _jina_v5("small", task)
            yield _jina_v5("nano", task)


MODELS: tuple[ModelSpec, ...] = (
    *_jina_v5_models(),
    ModelSpec(
        name=BUNDLED_MODEL,
        dimensions=384,
        max_input_tokens=256,  # sentence-transformers' max_seq_length for it; trained on fewer
        pooling="mean",
        license="Apache-2.0",
        closing_token="[SEP]",  # noqa: S106 - no password
        files=(
            ModelFile(quantization="F32", filename="all-MiniLM-L6-v2-F32.gguf"),
            ModelFile(quantization="F16", filename="all-MiniLM-L6-v2-F16.gguf"),
        ),
        default_quantization="F32",
        quantized_from="F32",
        aliases=(f"sentence-transformers/{BUNDLED_MODEL}", "minilm", "bundled"),
    ),
)
"""The rows that come with jina_rag; `register_model` adds others."""

_ROWS_BY_NAME = {name: spec for spec in MODELS for name in spec.names}

_registered: dict[str, ModelSpec] = {}
