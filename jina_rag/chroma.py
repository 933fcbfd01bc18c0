"""Chroma collections that know which model filled them.

Chroma compares at most the name of an embedding function and the width of its vectors. `open_collection` also compares
the fingerprint, which is kept in the collection's metadata and in its embedding function's settings, so that a
collection is never searched with the vectors of another model, quantisation, width or prompt.

Import this module before `client.get_collection(...)`: that is how Chroma learns to rebuild the function by its name.

A process that is forked after Chroma was opened, as with gunicorn's `preload_app` and Celery's prefork pool, would hang
at the first search, because Chroma's threads stay with the parent. With this module imported, clients of the parent
raise IndexFolderError there instead, and a client that is opened in the child works.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, cast

from jina_rag.backends.remote.address import BACKEND_VARIABLE, engine_of
from jina_rag.config import EmbedderConfig
from jina_rag.embedder import Embedder
from jina_rag.errors import FingerprintMismatchError, IndexFolderError, MissingDependencyError, text_positions_from
from jina_rag.fingerprint import Fingerprint
from jina_rag.models import DEFAULT_MODEL, KnownModelName
from jina_rag.shared import shared_embedder
from jina_rag.vectors import FloatArray

try:
    from chromadb.api import ClientAPI, ServerAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.models.Collection import Collection
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.errors import NotFoundError
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise MissingDependencyError.for_extra("chromadb", "chroma") from error

FINGERPRINT_KEY = "jina_rag_fingerprint"
"""Where a collection's metadata keeps the fingerprint, as JSON."""

# How to run a model and where its file is are each machine's own affair. So is `backend`: a collection that came from
# elsewhere must not decide where questions, and a key, are sent.
_STORED_SETTINGS = {
    "model": (str,),
    "quantization": (str, NoneType),
    "dimensions": (int, NoneType),
    "truncate": (bool,),
}

_REBUILD = "Open it with the model that it was made with, or fill a new collection from the documents."

Metadata = Mapping[str, str | int | float | bool | list[str | int | float | bool]]


@register_embedding_function
class JinaRagEmbeddingFunction(EmbeddingFunction[Documents]):
    """Chroma's door to an `Embedder`: documents with the document prompt, `query_texts` with the query prompt.

    It holds settings alone, because Chroma makes it anew at nearly every access; the model behind it is loaded at the
    first embedding and shared in the process.
    """

    def __init__(
        self,
        model: KnownModelName | str = DEFAULT_MODEL,
        *,
        quantization: str | None = None,
        dimensions: int | None = None,
        truncate: bool = False,
        backend: str | None = None,
        path: Path | str | None = None,
        cache_dir: Path | str | None = None,
        keep_alive: float | None = None,
        embedder: Embedder | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        """Keep settings; nothing is loaded or downloaded.

        Args:
            model: As for `Embedder.from_pretrained`, likewise what follows.
            quantization: How the weights are stored; None takes the model's default.
            dimensions: Cut vectors to this width; None keeps the full one.
            truncate: Cut texts that are too long instead of refusing them.
            backend: Another engine. It is not stored: a collection opened by name takes the one that the environment
                variable JINA_RAG_BACKEND names, or the one in this process that its vectors were made with.
            path: The model's GGUF file on this machine. It is not stored: a collection opened by name takes the file
                that the model's name leads to, see `jina_rag.register_model`.
            cache_dir: Where the hub keeps its files; None for its usual place. It is not stored.
            keep_alive: Seconds without use after which the model's memory is given back; None keeps it. It is not
                stored.
            embedder: One that is loaded already; the settings above are then taken from it.
            fingerprint: What the vectors must be like; a model that differs is refused at the first embedding.
        """
        if embedder is not None:
            model, quantization = embedder.spec.name, embedder.quantization or None
            dimensions, truncate = embedder.dimensions, embedder.truncate
        self._config = EmbedderConfig(
            model=model,
            quantization=quantization,
            dimensions=dimensions,
            truncate=truncate,
            backend=engine_of(fingerprint.weights, backend) if fingerprint and embedder is None else backend,
            path=path,
            cache_dir=cache_dir,
            keep_alive=keep_alive,
        )
        self._given = embedder
        self._fingerprint = fingerprint

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma checks the parameter's name
        """The vectors of documents. Raises as `Embedder.embed` does."""
        return cast(Embeddings, list(self._embedder().embed_documents(input)))

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma passes it by this name
        """The vectors of questions. Raises as `Embedder.embed` does."""
        return cast(Embeddings, list(self._embedder().embed(input, "query").vectors))

    @staticmethod
    def name() -> str:
        """The name under which Chroma stores and finds this function."""
        return "jina_rag"

    def default_space(self) -> Space:
        """Cosine: the vectors have unit length and the model was trained for it."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """All three: on unit vectors they rank alike."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """The settings and the fingerprint, as Chroma stores them. Loads the model if nothing has yet."""
        if self._fingerprint is None:
            self._fingerprint = self._embedder().fingerprint
        settings = {name: getattr(self._config, name) for name in _STORED_SETTINGS}
        return {**settings, "fingerprint": self._fingerprint.to_json()}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "JinaRagEmbeddingFunction":
        """The function that `get_config` described; unknown keys, from a later version, are left alone."""
        stored = config.get("fingerprint")
        settings = _settings(config)
        return JinaRagEmbeddingFunction(
            settings.model,
            quantization=settings.quantization,
            dimensions=settings.dimensions,
            truncate=settings.truncate,
            backend=os.environ.get(BACKEND_VARIABLE),
            fingerprint=Fingerprint.from_json(stored) if stored else None,
        )

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Refuse settings that no model fits.

        Raises:
            UnknownModelError, InvalidDimensionsError: the settings name what does not exist.
        """
        _settings(config).check()

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse to change what the stored vectors depend on.

        Raises:
            FingerprintMismatchError: the model, quantisation, width or prompt would change.
        """
        old, new = (self.build_from_config({**old_config, **config}) for config in ({}, new_config))
        if old._config != new._config or old._fingerprint != new._fingerprint:
            raise FingerprintMismatchError(f"The collection's vectors depend on its embedding function. {_REBUILD}")

    def _embedder(self) -> Embedder:
        embedder = self._given or shared_embedder(self._config)
        if self._fingerprint is not None:
            embedder.fingerprint.check(self._fingerprint, where="The collection", remedy=_REBUILD)
        return embedder


def open_collection(
    client: ClientAPI, name: str, embedder: Embedder | Fingerprint, *, create: bool = True
) -> Collection:
    """A collection whose vectors this embedder can search.

    It uses cosine distance, embeds `documents` as documents and `query_texts` as queries.

    Args:
        client: Any Chroma client.
        name: The collection's name.
        embedder: What its vectors are made with; if only the fingerprint is at hand, the model is loaded by its name at
            the first embedding, and never where documents and questions come with their vectors.
        create: Make the collection if there is none of this name.

    Raises:
        FingerprintMismatchError: it was filled by another model, quantisation, width or prompt, or by something
            that kept no fingerprint.
        IndexFolderError: there is no such collection, and `create` is False.
    """
    fingerprint = embedder if isinstance(embedder, Fingerprint) else embedder.fingerprint
    # Chroma's signature wants a function of documents or images; ours takes documents.
    function: Any = _function_for(embedder)
    try:
        # Without a function at first: Chroma's own complaint about another one names no remedy.
        check_collection(client.get_collection(name, embedding_function=None), fingerprint)
    except NotFoundError as error:
        if not create:
            raise IndexFolderError(f"There is no collection {name!r}. Make it with create=True.") from error
        metadata, configuration = collection_settings(embedder)
        return client.get_or_create_collection(
            name, embedding_function=function, metadata=metadata, configuration=configuration
        )
    return client.get_collection(name, embedding_function=function)


def collection_settings(embedder: Embedder | Fingerprint) -> tuple[dict[str, Any], CreateCollectionConfiguration]:
    """The metadata and the configuration of a collection that this embedder fills, for code that makes one itself."""
    function = _function_for(embedder)
    fingerprint = embedder if isinstance(embedder, Fingerprint) else embedder.fingerprint
    return {FINGERPRINT_KEY: fingerprint.to_json()}, {"hnsw": {"space": "cosine"}, "embedding_function": function}


def check_collection(collection: Collection, fingerprint: Fingerprint) -> None:
    """Refuse a collection that was filled by another model.

    Raises:
        FingerprintMismatchError: it was, or nothing says which model filled it.
    """
    where = f"The collection {collection.name!r}"
    stored = stored_fingerprint(collection)
    if stored is None:
        function = (collection.configuration_json.get("embedding_function") or {}).get("name")
        made_with = f", but has Chroma's embedding function {function!r}" if function else ""
        raise FingerprintMismatchError(
            f"{where} does not say which model filled it{made_with}, so nothing can be compared with it. {_REBUILD}"
        )
    fingerprint.check(stored, where=where, remedy=_REBUILD)


def stored_fingerprint(collection: Collection) -> Fingerprint | None:
    """What a collection was filled with, or None if nothing says so.

    It stands in the embedding function's settings, which Chroma never changes, and in the collection's metadata, which
    `collection.modify(metadata=...)` replaces, for collections without an embedding function.

    Raises:
        FingerprintMismatchError: what stands there can't be read.
    """
    function = collection.configuration_json.get("embedding_function") or {}
    match function.get("name"):
        case None:
            stored = (collection.metadata or {}).get(FINGERPRINT_KEY)
        case "jina_rag":
            stored = (function.get("config") or {}).get("fingerprint")
        case _:
            return None
    return Fingerprint.from_json(stored) if isinstance(stored, str) else None


def upsert_documents(
    collection: Collection,
    ids: Sequence[str],
    documents: Sequence[str],
    metadatas: Sequence[Metadata] | None = None,
    embeddings: FloatArray | None = None,
) -> None:
    """Add or replace any number of documents, in slices of what Chroma takes at a time (5,461 on most machines).

    Args:
        collection: From `open_collection`.
        ids: One for each document; an id that exists is replaced.
        documents: The texts.
        metadatas: One mapping for each document, or None.
        embeddings: Their vectors, shape (n, d); None embeds them here, each slice before it is stored.

    Raises:
        ValueError: there are not as many of one as of the others.
        InputTooLongError, InvalidTextError: a document can't be embedded; those of the slices before it are stored.
    """
    for what, values in (("documents", documents), ("metadatas", metadatas), ("embeddings", embeddings)):
        if values is not None and len(values) != len(ids):
            raise ValueError(f"There are {len(ids)} ids and {len(values)} {what}. Give one for each document.")
    size = collection._client.get_max_batch_size()  # only the client knows, and a collection keeps it to itself
    for start in range(0, len(ids), size):
        part = slice(start, start + size)
        with text_positions_from(start):
            collection.upsert(
                ids=list(ids[part]),
                documents=list(documents[part]),
                metadatas=[dict(metadata) for metadata in metadatas[part]] if metadatas is not None else None,
                embeddings=embeddings[part] if embeddings is not None else None,
            )


def _function_for(embedder: Embedder | Fingerprint) -> JinaRagEmbeddingFunction:
    if isinstance(embedder, Embedder):
        return JinaRagEmbeddingFunction(embedder=embedder, fingerprint=embedder.fingerprint)
    return JinaRagEmbeddingFunction(
        embedder.model,
        quantization=embedder.quantization or None,
        dimensions=embedder.dimensions,
        backend=os.environ.get(BACKEND_VARIABLE),
        fingerprint=embedder,
    )


def _settings(config: Mapping[str, Any]) -> EmbedderConfig:
    """The settings in a collection, which may come from anywhere."""
    for name, types in _STORED_SETTINGS.items():
        if name in config and type(config[name]) not in types:
            raise FingerprintMismatchError(
                f"The collection's embedding function has {name} {config[name]!r}. {_REBUILD}"
            )
    return EmbedderConfig(**{name: config[name] for name in _STORED_SETTINGS if name in config})


class _OfTheParent:
    """What an inherited client calls in a forked process, in place of Chroma's library, which would never return."""

    def __getattr__(self, name: str) -> object:
        raise IndexFolderError(
            "This process was forked after Chroma was opened, and Chroma's threads stayed with the parent. Open the "
            "client in this process: with gunicorn in post_fork or without preload_app, with Celery in "
            "worker_process_init."
        )


_inherited: list[object] = []  # kept for good: to free them would wait for the parent's threads


def _forget_clients_of_the_parent() -> None:
    for system in SharedSystemClient._identifier_to_system.values():  # the only list of them
        server = system.instance(ServerAPI)  # type: ignore[type-abstract]
        if hasattr(server, "bindings"):  # clients of a server over HTTP have none, and work
            _inherited.extend((system, server.bindings))
            server.bindings = _OfTheParent()
    SharedSystemClient.clear_system_cache()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_clients_of_the_parent)
