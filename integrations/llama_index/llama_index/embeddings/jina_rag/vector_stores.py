"""LlamaIndex's `ChromaVectorStore` over a collection that knows which model filled it."""

from typing import TYPE_CHECKING

from llama_index.embeddings.jina_rag.base import JinaRagEmbedding

from jina_rag import MissingDependencyError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from llama_index.vector_stores.chroma import ChromaVectorStore


def open_vector_store(client: "ClientAPI", name: str, embed_model: JinaRagEmbedding) -> "ChromaVectorStore":
    """A collection as a `ChromaVectorStore`, made if there is none: cosine distance, and no other model's vectors.

    Unlike the plain class it takes any number of nodes at once, and a node whose id exists replaces the old one. The
    same collection opens in plain Chroma and in LangChain, and `jina-rag`'s own is called "documents".

    Args:
        client: Any Chroma client.
        name: The collection's name.
        embed_model: What its vectors are made with.

    Raises:
        jina_rag.FingerprintMismatchError: the collection was filled by another model, quantisation, width or prompt.
        jina_rag.MissingDependencyError: `llama-index-vector-stores-chroma` is not installed.
    """
    try:
        from llama_index.embeddings.jina_rag.chroma import SlicedChromaVectorStore
    except ImportError as error:
        raise MissingDependencyError(
            "This needs llama-index-vector-stores-chroma. Install it with: "
            "pip install 'llama-index-embeddings-jina-rag[chroma]'"
        ) from error
    from jina_rag.chroma import open_collection

    return SlicedChromaVectorStore.from_collection(open_collection(client, name, embed_model.embedder))
