"""`JinaRagChroma`: LangChain's Chroma store over collections that know which model filled them."""

from collections.abc import Iterable
from typing import Any, Self

from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings

from jina_rag.chroma import check_collection, collection_settings
from jina_rag.errors import text_positions_from
from langchain_jina_rag.embeddings import JinaRagEmbeddings


class JinaRagChroma(Chroma):
    """A `langchain_chroma.Chroma` of JinaRagEmbeddings: cosine distance, and no other model's vectors.

    However a collection is made here, by the constructor, `from_texts`, `from_documents` or `reset_collection`, it
    keeps the model's fingerprint. And it takes any number of texts: `Chroma.add_texts` hands all of them to Chroma at
    once, and Chroma refuses more than 5,461, when all are embedded and none is stored.
    """

    def __init__(
        self,
        collection_name: str = "langchain",
        embedding_function: Embeddings | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's
    ) -> None:
        """Open a collection, or make it. The arguments are LangChain's.

        Raises:
            TypeError: `embedding_function` is not JinaRagEmbeddings.
            jina_rag.FingerprintMismatchError: the collection was filled by another model.
        """
        if not isinstance(embedding_function, JinaRagEmbeddings):
            raise TypeError(
                f"This store takes JinaRagEmbeddings, not {type(embedding_function).__name__}. For others there is "
                "langchain_chroma.Chroma."
            )
        metadata, configuration = collection_settings(embedding_function.embedder)
        kwargs["collection_metadata"] = (kwargs.get("collection_metadata") or {}) | metadata
        kwargs["collection_configuration"] = (kwargs.get("collection_configuration") or {}) | configuration
        super().__init__(collection_name, embedding_function, **kwargs)
        check_collection(self._collection, embedding_function.embedder.fingerprint)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        ids: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> list[str]:
        """Add or replace texts, each slice stored when it is embedded, and give their ids.

        Raises:
            ValueError: there are not as many ids as texts.
            jina_rag.TextError: a text can't be embedded; those of the slices before it are stored.
        """
        texts, added = list(texts), []
        if ids is not None and len(ids) != len(texts):
            raise ValueError(f"There are {len(texts)} texts and {len(ids)} ids. Give one for each text.")
        size: int = self._client.get_max_batch_size()
        for start in range(0, len(texts), size):
            part = slice(start, start + size)
            some_metadatas, some_ids = metadatas and metadatas[part], ids and ids[part]
            with text_positions_from(start):
                added += super().add_texts(texts[part], some_metadatas, some_ids, **kwargs)
        return added

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        ids: list[str] | None = None,
        collection_name: str = "langchain",
        *args: Any,  # noqa: ANN401 - LangChain's
        **kwargs: Any,  # noqa: ANN401
    ) -> Self:
        """A store with these texts in it. The arguments are LangChain's."""
        store = cls(collection_name, embedding, *args, **kwargs)
        store.add_texts(texts, metadatas, ids)
        return store
