"""The process that holds a model and times what it is asked for; requests and answers are lines of JSON.

The other end is `jina_rag.bench.process`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jina_rag.bench.files import row_of_file
from jina_rag.bench.texts import make_texts
from jina_rag.errors import JinaRagError
from jina_rag.machine import peak_memory_bytes
from jina_rag.models import get_model_spec

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder


class _Subject:
    """Holds the model, and times what it is asked for."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None
        self._texts: dict[tuple[int, int], list[str]] = {}

    def load(self, path: str, row: str | None, dimensions: int | None, backend: str | None) -> dict[str, Any]:
        started = time.perf_counter()
        from jina_rag.backends.remote.address import engine_of
        from jina_rag.embedder import Embedder

        spec = get_model_spec(row) if row else row_of_file(Path(path))
        self._embedder = Embedder.from_file(path, spec, dimensions=dimensions, truncate=True, backend=backend)
        self._embedder.embed_query("word")
        seconds = time.perf_counter() - started
        engine = engine_of(self._embedder.fingerprint.weights, "auto")
        return {"seconds": seconds, "dimensions": self._embedder.dimensions, "engine": engine}

    def documents(self, tokens: int, texts: int) -> dict[str, Any]:
        batch = self._texts_of(tokens, texts)
        started = time.perf_counter()
        result = self._model.embed(batch, "document")
        return {"seconds": time.perf_counter() - started, "tokens": sum(result.token_counts)}

    def queries(self, tokens: int, texts: int) -> dict[str, Any]:
        seconds = []
        for text in self._texts_of(tokens, texts):
            started = time.perf_counter()
            self._model.embed_query(text)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def memory(self) -> dict[str, Any]:
        return {"peak_bytes": peak_memory_bytes()}

    @property
    def _model(self) -> "Embedder":
        assert self._embedder is not None
        return self._embedder

    def _texts_of(self, tokens: int, count: int) -> list[str]:
        if (tokens, count) not in self._texts:
            self._texts[tokens, count] = make_texts(tokens, count, self._model)
        return self._texts[tokens, count]


def _serve() -> None:
    """Answer requests until there are no more. What libraries print must not be taken for an answer."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    subject = _Subject()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(subject, request.pop("kind"))(**request)
        except JinaRagError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
