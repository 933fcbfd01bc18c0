"""LangChain's interfaces over jina_rag."""

from langchain_jina_rag.embeddings import JinaRagEmbeddings

__all__ = ["JinaRagEmbeddings"]
