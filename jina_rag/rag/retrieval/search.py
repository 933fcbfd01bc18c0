"""Which passages are about a question: by meaning, by words, or by both."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import BackendError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.candidates import Candidate, Mode, Rank, SearchIndex
from jina_rag.rag.retrieval.mmr import maximal_marginal_relevance
from jina_rag.rag.retrieval.rerank import Reranker
from jina_rag.rag.store.filters import Filters
from jina_rag.vectors import FloatArray

DEFAULT_K = 5

LEXICAL_WEIGHT = 1 / 3
"""Of the words in hybrid search: two to one for the meaning. What others do is in the benchmarks' RESULTS.md."""

RRF_CONSTANT = 5
"""How much of its weight a candidate loses with each rank where the rankings of two queries are joined."""

_SMALLEST_SPAN = 1e-6  # between similarities, where all passages say the same as the query

_CANDIDATES = 30  # of each side, or twice as many as are asked for; more brought noise only


@dataclass(frozen=True)
class SearchResult:
    """A passage that was found.

    Attributes:
        chunk: The passage.
        score: What the results are ordered by: the reranker's score if one was asked, the fused score in hybrid search,
            else cosine similarity or BM25; the sum of reciprocal ranks if a query before it was searched for too. Only
            good for comparing the results of one search; higher is better.
        similarity: Cosine similarity of question and passage, between -1 and 1, in every mode; of a question longer
            than the model reads, which only lexical search takes, that of its beginning. Of a passage that was found
            with the query before in front of the query, that of both.
        dense: Rank and cosine similarity among the candidates by meaning; None if it was not one of them.
        lexical: Rank and BM25 score among the candidates by words; None if it was not one of them.
        before: The chunks before it in its document, in order, as many as were asked for.
        after: The chunks after it.
        retrieval_score: What `score` was before the reranker had its say; None if none was asked.
    """

    chunk: Chunk
    score: float
    similarity: float
    dense: Rank | None = None
    lexical: Rank | None = None
    before: tuple[Chunk, ...] = ()
    after: tuple[Chunk, ...] = ()
    retrieval_score: float | None = None

    @property
    def text_with_context(self) -> str:
        """The text of the passage between the chunks around it, if some were asked for."""
        return "\n\n".join(chunk.text for chunk in (*self.before, self.chunk, *self.after))


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        k: How many passages to find.
        mode: By meaning and words ("hybrid"), by meaning ("dense") or by words ("lexical"). Hybrid search orders by a
            convex combination of both scores (Bruch, Gai and Ingber, 2023), weighted 1 - `LEXICAL_WEIGHT` and
            `LEXICAL_WEIGHT`: the cosine similarity from the weakest candidate's of either side, 0, to the highest
            possible, 1; BM25 as a share of the score of a passage with all the query's words. So similarities that lie
            close together, as a code's with all rows of a table, do not outweigh words that one passage has alone, and
            a question in other words than the document's is left to its meaning.
        filters: Which documents count; None for all.
        mmr_lambda: Lambda of maximal marginal relevance (MMR): 1 orders by relevance alone, 0 by diversity alone.
        context_window: How many chunks before and after each passage come with it.
        previous_query: In a conversation, the question before, on which the query may build. Passages are also searched
            for with both together, as far as the model reads them, and the two rankings are joined by reciprocal rank
            fusion. None if the query can be understood alone.

    Raises:
        ValueError: a value is out of its range.
    """

    k: int = DEFAULT_K
    mode: Mode = "hybrid"
    filters: Filters | None = None
    mmr_lambda: float = 1.0
    context_window: int = 0
    previous_query: str | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}.")
        if self.mode not in get_args(Mode):
            raise ValueError(f"There is no mode {self.mode!r}. Take one of: {', '.join(get_args(Mode))}.")
        if not 0 <= self.mmr_lambda <= 1:
            raise ValueError(f"mmr_lambda must be between 0 and 1, not {self.mmr_lambda}.")
        if self.context_window < 0:
            raise ValueError(f"context_window must be at least 0, not {self.context_window}.")


def search(
    index: SearchIndex, query: str, options: SearchOptions, reranker: Reranker | None = None
) -> list[SearchResult]:
    """The passages that answer `query` best, best first, as `Retriever.retrieve` gives them.

    A reranker reads the best `max(30, 2 * k)` candidates with the query and puts them in order.
    """
    if not query.strip():
        return []
    results, vectors = _ranked(index, query, options, reranker, truncate=options.mode == "lexical")
    if options.previous_query:
        both = f"{options.previous_query} {query}"
        more, more_vectors = _ranked(index, both, options, reranker, truncate=True)
        results, vectors = _fused(results, more), vectors | more_vectors
    if options.mmr_lambda < 1 and results:
        in_order = np.stack([vectors[result.chunk.id] for result in results])
        chosen = maximal_marginal_relevance(_relevance(results), in_order, options.k, options.mmr_lambda)
        results = [results[place] for place in chosen]
    return _with_context(index, results[: options.k], options.context_window)


def _ranked(
    index: SearchIndex, query: str, options: SearchOptions, reranker: Reranker | None, *, truncate: bool
) -> tuple[list[SearchResult], dict[str, FloatArray]]:
    """What one query finds, best first, and the vectors by the chunks' ids."""
    vector = _embed(index.embedder, query, truncate=truncate)
    n = max(_CANDIDATES, 2 * options.k)
    candidates = index.candidates(query, vector, n, mode=options.mode, filters=options.filters)
    score = _scoring(candidates, options.mode)
    results = [SearchResult(each.chunk, score(each), each.similarity, each.dense, each.lexical) for each in candidates]
    results.sort(key=lambda result: (-result.score, -result.similarity, result.chunk.id))
    if reranker and results:
        results = _reranked(reranker, query, results[:n])
    return results, {each.chunk.id: each.vector for each in candidates}


def _fused(*rankings: Sequence[SearchResult]) -> list[SearchResult]:
    """Rankings joined by reciprocal rank fusion; a passage of several comes from the first that has it."""
    results: dict[str, SearchResult] = {}
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for rank, result in enumerate(ranking, start=1):
            results.setdefault(result.chunk.id, result)
            scores[result.chunk.id] += 1 / (RRF_CONSTANT + rank)
    joined = [replace(result, score=scores[result.chunk.id]) for result in results.values()]
    return sorted(joined, key=lambda result: -result.score)


def _embed(embedder: Embedder, query: str, *, truncate: bool) -> FloatArray:
    if truncate:  # lexical search only shows what it gives, and half of two questions is better than neither
        embedder = Embedder(embedder.backend, embedder.spec, dimensions=embedder.dimensions, truncate=True)
    return embedder.embed_query(query)


def _scoring(candidates: Sequence[Candidate], mode: Mode) -> Callable[[Candidate], float]:
    """What orders the results of a search."""
    weakest = min((candidate.similarity for candidate in candidates), default=0.0)
    span = max(1 - weakest, _SMALLEST_SPAN)

    def convex_combination(candidate: Candidate) -> float:
        dense = (candidate.similarity - weakest) / span
        return (1 - LEXICAL_WEIGHT) * dense + LEXICAL_WEIGHT * candidate.coverage

    if mode == "hybrid":
        return convex_combination
    if mode == "dense":
        return lambda candidate: candidate.similarity
    return lambda candidate: candidate.lexical.score if candidate.lexical else 0.0


def _reranked(reranker: Reranker, query: str, results: Sequence[SearchResult]) -> list[SearchResult]:
    """The same passages, best first by the reranker."""
    scores = reranker.score(query, [result.chunk.text for result in results])
    if scores.shape != (len(results),) or not np.isfinite(scores).all():
        raise BackendError(f"{reranker.name} did not give a number for each passage. Leave it out, or take another.")
    order = np.argsort(-scores, kind="stable")
    return [
        replace(results[place], score=float(scores[place]), retrieval_score=results[place].score) for place in order
    ]


def _relevance(results: Sequence[SearchResult]) -> FloatArray:
    """The scores of results, best first, on the scale of cosine similarities.

    The score counts as a part of the best one, because fused scores are much smaller than the similarities between
    passages that they are weighed against. A reranker's scores may be of any size and sign; there the rank counts.
    """
    if results[0].retrieval_score is None:
        scores = np.array([result.score for result in results])
    else:
        scores = 1 / (RRF_CONSTANT + 1.0 + np.arange(len(results)))
    return scores / scores[0] if scores[0] > 0 else scores


def _with_context(index: SearchIndex, results: list[SearchResult], n: int) -> list[SearchResult]:
    """The same with `n` chunks before and after each."""
    if not n:
        return results
    return [
        replace(
            result,
            before=tuple(chunk for chunk in window if chunk.position < result.chunk.position),
            after=tuple(chunk for chunk in window if chunk.position > result.chunk.position),
        )
        for result, window in zip(results, index.windows([result.chunk for result in results], n), strict=True)
    ]
