"""LangChain's interfaces over jina_rag."""

from langchain_jina_rag.embeddings import JinaRagEmbeddings
from langchain_jina_rag.retrievers import JinaRagRetriever
from langchain_jina_rag.vectorstores import open_vector_store

__all__ = ["JinaRagEmbeddings", "JinaRagRetriever", "open_vector_store"]
