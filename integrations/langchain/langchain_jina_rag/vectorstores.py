"""LangChain's `Chroma` over a collection that knows which model filled it."""

from typing import TYPE_CHECKING

from jina_rag import MissingDependencyError
from langchain_jina_rag.embeddings import JinaRagEmbeddings

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_chroma import Chroma


def open_vector_store(client: "ClientAPI", name: str, embeddings: JinaRagEmbeddings) -> "Chroma":
    """A collection as `langchain_chroma.Chroma`, made if there is none: cosine distance, and no other model's vectors.

    Unlike the plain class it takes any number of texts at once. The same collection opens in plain Chroma and in
    LlamaIndex, and `jina-rag`'s own is called "documents".

    Args:
        client: Any Chroma client.
        name: The collection's name.
        embeddings: What its vectors are made with.

    Raises:
        jina_rag.FingerprintMismatchError: the collection was filled by another model, quantisation, width or prompt.
        jina_rag.MissingDependencyError: `langchain-chroma` is not installed.
    """
    try:
        from langchain_jina_rag.chroma import JinaRagChroma
    except ImportError as error:
        raise MissingDependencyError(
            "This needs langchain-chroma. Install it with: pip install 'langchain-jina-rag[chroma]'"
        ) from error
    return JinaRagChroma(client=client, collection_name=name, embedding_function=embeddings)
