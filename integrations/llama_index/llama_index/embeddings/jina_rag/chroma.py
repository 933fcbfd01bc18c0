"""`SlicedChromaVectorStore`: LlamaIndex's Chroma store without the two ways in which it loses nodes.

`ChromaVectorStore.add` hands Chroma up to 41,665 nodes at a time, and Chroma refuses more than 5,461: a larger
`IngestionPipeline.run` fails when all is embedded and nothing stored. And it adds where it should upsert, so that
Chroma drops, without a word, a changed node that kept its id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.vector_stores.chroma import ChromaVectorStore

from jina_rag.chroma import upsert_documents


class SlicedChromaVectorStore(ChromaVectorStore):
    """A `ChromaVectorStore` that takes any number of nodes, and replaces those that it has. See `open_vector_store`."""

    @classmethod
    def from_params(cls, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - LlamaIndex's signature
        """Refused: it would make a collection that doesn't know its model."""
        raise NotImplementedError("Make the store with open_vector_store(client, name, embed_model).")

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:  # noqa: ANN401 - LlamaIndex's signature
        """Add or replace nodes that carry their embeddings, and give their ids."""
        ids = [node.node_id for node in nodes]
        upsert_documents(
            self._collection,
            ids,
            [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            [self._metadata(node) for node in nodes],
            np.array([node.get_embedding() for node in nodes], np.float32),
        )
        return ids

    async def async_add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:  # noqa: ANN401 - LlamaIndex's signature
        """`add` without holding up the event loop."""
        return await asyncio.to_thread(self.add, nodes)

    def _metadata(self, node: BaseNode) -> Mapping[str, str | int | float | bool]:
        metadata = node_to_metadata_dict(node, remove_text=True, flat_metadata=self.flat_metadata)
        # Chroma has no null; "" is what the plain class stores for it.
        return {key: "" if value is None else value for key, value in metadata.items()}
