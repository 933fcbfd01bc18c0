import importlib.util
import pickle

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.jina_rag import JinaRagEmbedding

from jina_rag import Embedder, LlamaCppOptions

MINILM = "all-MiniLM-L6-v2"


def test_making_one_loads_nothing() -> None:
    model = JinaRagEmbedding(model_name="jina-v5-small", dimensions=256)  # its weights are not here
    assert isinstance(model, BaseEmbedding)


async def test_vectors_are_the_embedders(minilm: Embedder) -> None:
    model = JinaRagEmbedding(model_name=MINILM)
    assert model.get_query_embedding("red") == minilm.embed_query("red").tolist()
    assert model.get_text_embedding("red") == minilm.embed_documents(["red"])[0].tolist()
    assert model.get_text_embedding_batch(["a", "b"]) == minilm.embed_documents(["a", "b"]).tolist()
    assert await model.aget_query_embedding("red") == model.get_query_embedding("red")
    assert await model.aget_text_embedding("red") == model.get_text_embedding("red")
    assert await model.aget_text_embedding_batch(["a", "b"]) == model.get_text_embedding_batch(["a", "b"])


def test_settings_survive_dicts_and_pickles() -> None:
    model = JinaRagEmbedding(model_name="minilm", quantization="F16", truncate=True, embed_batch_size=7)
    for again in (JinaRagEmbedding.from_dict(model.to_dict()), pickle.loads(pickle.dumps(model))):
        assert again.to_dict() == model.to_dict()
        assert again.embedder is model.embedder


def test_how_a_machine_runs_it_is_no_part_of_the_cache_key() -> None:
    plain, threaded = (
        JinaRagEmbedding(model_name=MINILM),
        JinaRagEmbedding(model_name=MINILM, options=LlamaCppOptions(n_threads=1)),
    )
    assert plain.to_dict() == threaded.to_dict()
    assert plain.to_dict() != JinaRagEmbedding(model_name=MINILM, quantization="F16").to_dict()


def test_in_a_vector_store_index() -> None:
    documents = [Document(text="Mars looks red because of rust."), Document(text="Venus is covered in clouds.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=JinaRagEmbedding(model_name=MINILM))
    found = index.as_retriever(similarity_top_k=1).retrieve("Which planet is red?")
    assert found[0].get_content().startswith("Mars")


def test_the_namespace_is_shared() -> None:
    """A file `__init__.py` above our package would hide every other integration."""
    for name in ("llama_index", "llama_index.embeddings", "llama_index.vector_stores"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is None
    assert importlib.util.find_spec("llama_index.vector_stores.chroma") is not None
