"""LlamaIndex's interfaces over jina_rag."""

from llama_index.embeddings.jina_rag.base import JinaRagEmbedding
from llama_index.embeddings.jina_rag.retrievers import JinaRagRetriever
from llama_index.embeddings.jina_rag.vector_stores import open_vector_store

__all__ = ["JinaRagEmbedding", "JinaRagRetriever", "open_vector_store"]
