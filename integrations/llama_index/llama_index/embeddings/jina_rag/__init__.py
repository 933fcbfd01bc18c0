"""LlamaIndex's interfaces over jina_rag."""

from llama_index.embeddings.jina_rag.base import JinaRagEmbedding

__all__ = ["JinaRagEmbedding"]
