"""`jina-rag serve`: models behind OpenAI's, Jina's, Cohere's and TEI's addresses."""

from jina_rag.server.settings import ServerSettings

__all__ = ["ServerSettings"]
