"""`SlicedChroma`: LangChain's Chroma store without its limit to the texts of one call.

`Chroma.add_texts` hands all texts to Chroma at once, and Chroma refuses more than 5,461: a larger call fails when all
is embedded and nothing stored.
"""

from collections.abc import Iterable
from typing import Any

from langchain_chroma import Chroma


class SlicedChroma(Chroma):
    """A `langchain_chroma.Chroma` that takes any number of texts. See `open_vector_store`."""

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        ids: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> list[str]:
        """Add or replace texts, each slice stored when it is embedded, and give their ids."""
        texts, added = list(texts), []
        size = self._client.get_max_batch_size()
        for start in range(0, len(texts), size):
            part = slice(start, start + size)
            some_metadatas, some_ids = metadatas and metadatas[part], ids and ids[part]
            added += super().add_texts(texts[part], some_metadatas, some_ids, **kwargs)
        return added
