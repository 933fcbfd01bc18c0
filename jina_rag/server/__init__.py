"""`jina-rag serve`: one embedding model behind OpenAI's and Text Embeddings Inference's addresses."""

from jina_rag.server.settings import ServerSettings

__all__ = ["ServerSettings"]
