"""Indexing on many processes or machines: documents to chunks, vectors, Parquet shards and a store.

`EmbedBatch` is the model for any engine that maps batches: Ray Data, Dask, Spark, multiprocessing. `index_documents` is
the whole way from files to a store, in this process or on a Ray cluster. Needs the extra `ray`; Ray itself is imported
only by `RayEngine`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from jina_rag.errors import MissingDependencyError

if TYPE_CHECKING:
    from jina_rag.distributed.embed_batch import EmbedBatch
    from jina_rag.distributed.engines import LocalEngine, RayEngine
    from jina_rag.distributed.index import IndexReport, index_documents

__all__ = ["EmbedBatch", "IndexReport", "LocalEngine", "RayEngine", "index_documents"]

_LAZY = {
    "EmbedBatch": "embed_batch",
    "IndexReport": "index",
    "LocalEngine": "engines",
    "RayEngine": "engines",
    "index_documents": "index",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:  # pyarrow or fsspec
        raise MissingDependencyError.for_extra(str(error.name), "ray") from error
    value = globals()[name] = getattr(module, name)
    return value
