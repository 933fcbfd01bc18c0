"""Short vectors first and the best of them by whole vectors, beside Chroma's HNSW and beside looking at all vectors.

    python -m tests.benchmarks.two_stage

Random unit vectors, and clusters whose leading numbers carry most, as Matryoshka training makes them.
"""

import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

import numpy as np

from jina_rag.vectors import FloatArray, normalize, truncate_dimensions
from tests.benchmarks.long_text import say

N_VECTORS, N_QUERIES, WIDTH, K = 20_000, 100, 1024, 10
N_CLUSTERS, SPREAD = 400, 0.7
ADDED_AT_A_TIME = 2000

Search = Callable[[FloatArray], Sequence[int]]


def main() -> None:
    """Print recall and latency of each way for both kinds of vectors."""
    rng = np.random.default_rng(0)
    for kind, make in (("random", random_vectors), ("clusters", clusters)):
        vectors = make(rng)
        stored, queries = vectors[:N_VECTORS], vectors[N_VECTORS:]
        wanted = [set(all_vectors(stored)(query)) for query in queries]
        report(f"{kind}: all vectors", all_vectors(stored), queries, wanted)
        for width in (128, 256, 512):
            report(f"{kind}: {width} first, 200 again", two_stages(stored, width, 200), queries, wanted)
        with_chroma(kind, stored, queries, wanted)


def random_vectors(rng: np.random.Generator) -> FloatArray:
    """Unit vectors in all directions; the last ones are the queries."""
    return normalize(rng.standard_normal((N_VECTORS + N_QUERIES, WIDTH)).astype(np.float32))


def clusters(rng: np.random.Generator) -> FloatArray:
    """Unit vectors about some centres, their numbers smaller and smaller."""
    scale = 1 / np.sqrt(1 + np.arange(WIDTH) / 32)
    centres = rng.standard_normal((N_CLUSTERS, WIDTH))
    around = rng.standard_normal((N_VECTORS + N_QUERIES, WIDTH))
    vectors = scale * (centres[rng.integers(N_CLUSTERS, size=len(around))] + SPREAD * around)
    return normalize(vectors.astype(np.float32))


def all_vectors(stored: FloatArray) -> Search:
    """The nearest by looking at every vector."""
    return lambda query: np.argpartition(-(stored @ query), K)[:K].tolist()


def two_stages(stored: FloatArray, width: int, n: int) -> Search:
    """The nearest of those `n` that are nearest by the first `width` numbers."""
    short = truncate_dimensions(stored, width)

    def search(query: FloatArray) -> list[int]:
        candidates = np.argpartition(-(short @ query[:width]), n)[:n]
        order = np.argsort(-(stored[candidates] @ query))
        return [int(place) for place in candidates[order[:K]]]

    return search


def with_chroma(kind: str, stored: FloatArray, queries: FloatArray, wanted: Sequence[set[int]]) -> None:
    """The same through a Chroma collection."""
    from chromadb import PersistentClient
    from chromadb.config import Settings

    with TemporaryDirectory() as folder:
        client = PersistentClient(folder, Settings(anonymized_telemetry=False))
        collection = client.create_collection("vectors", metadata={"hnsw:space": "cosine"}, embedding_function=None)
        for start in range(0, N_VECTORS, ADDED_AT_A_TIME):
            part = stored[start : start + ADDED_AT_A_TIME]
            collection.add(ids=[str(start + place) for place in range(len(part))], embeddings=part)
        for n in (K, 200):

            def search(query: FloatArray, n: int = n) -> list[int]:
                found = collection.query(query_embeddings=query[np.newaxis], n_results=n, include=["distances"])
                return [int(id_) for id_ in found["ids"][0][:K]]

            report(f"{kind}: Chroma, {n} asked for", search, queries, wanted)


def report(name: str, search: Search, queries: FloatArray, wanted: Sequence[set[int]]) -> None:
    """Print a line."""
    times, found = [], 0
    for query, best in zip(queries, wanted, strict=True):
        started = time.perf_counter()
        nearest = search(query)
        times.append(1000 * (time.perf_counter() - started))
        found += len(best & set(nearest))
    p50, p95 = np.percentile(times, [50, 95])
    say(f"{name:35} recall@{K} {found / K / len(queries):.3f}, p50 {p50:5.2f} ms, p95 {p95:5.2f} ms")


if __name__ == "__main__":
    main()
