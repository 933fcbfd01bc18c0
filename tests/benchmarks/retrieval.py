"""The constants of hybrid search compared, with the bundled model.

    python -m tests.benchmarks.retrieval XQUAD.json [RERANKER]

The file is in the form of SQuAD 1.1, such as XQuAD's English part; `jina-rag eval XQUAD.json` measures search as it is.
Three kinds of queries: the questions; single words that are in one paragraph alone; and the questions with half of the
words that matter replaced for the lexical side, as if somebody asked in other words than the document's.
"""

import random
import re
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jina_rag import Embedder
from jina_rag.evaluation import Dataset, ExpectedPassage, Question, load_dataset
from jina_rag.evaluation.corpus import corpus_index
from jina_rag.evaluation.evaluating import Method, evaluate_search
from jina_rag.evaluation.vector_cache import caching
from jina_rag.rag import DocumentIndex, SearchOptions, make_reranker
from tests.benchmarks.long_text import say

RARE_WORDS_PER_PARAGRAPH = 5
SHARE_OF_OTHER_WORDS = 0.5
MEASURES = ("nDCG@10", "recall@1", "recall@5", "recall@10", "MRR@10")

FUNCTION_WORDS = frozenset(
    """
a an the this that these those of in on at to for from by with as into onto about than then there here
and or but so if when while where which who whom whose what why how is are was were be been being am do does did
done has have had having may might can could will would shall should must it its he she they them his her their
we us our you your i me my also just any some very too much many such own please called located named
der die das den dem des ein eine einen einem einer eines und oder aber ist sind wird werden wurde im am
zum zur vom von zu mit für auf an bei nach aus um es er sie wir ihr ich sich auch wie was wer wo wann warum
welche welcher welches
le la les l un une des du de d et ou mais est sont était à au aux en dans par pour avec sur ce cette ces il elle
ils elles on se s qui que qu quoi quel quelle quels quelles où quand comment pourquoi combien
el los las una unos unas y o pero es son era del al con por para su sus lo se qué quién cuál cuándo dónde cómo
cuánto cuántos cuánta cuántas
""".split()  # noqa: SIM905
)
"""They stay where the other words of a question are replaced; those of other languages, so that figures compare."""

VARIANTS: dict[str, tuple[SearchOptions, Mapping[str, float]]] = {
    "dense": (SearchOptions(10, "dense"), {}),
    "lexical": (SearchOptions(10, "lexical"), {}),
    "hybrid (default)": (SearchOptions(10), {}),
    "hybrid, weight 0.2": (SearchOptions(10), {"LEXICAL_WEIGHT": 0.2}),
    "hybrid, weight 0.3": (SearchOptions(10), {"LEXICAL_WEIGHT": 0.3}),
    "hybrid, weight 0.4": (SearchOptions(10), {"LEXICAL_WEIGHT": 0.4}),
}


def main(path: Path, reranker: str | None = None) -> None:
    """Print a table for each kind of queries."""
    dataset, rng = load_dataset(path), random.Random(1)
    texts = dataset.texts or {}
    find = DocumentIndex.candidates

    def find_other_words(index: DocumentIndex, query: str, *args: Any, **options: Any) -> Any:
        return find(index, others.get(query, query), *args, **options)

    with Embedder.from_pretrained("all-MiniLM-L6-v2") as plain, corpus_index(texts, caching(plain)[0]) as index:
        report("questions", dataset, index, reranker)
        report("rare words", replace(dataset, questions=rare_words(texts, rng)), index, reranker)
        others = in_other_words(dataset, rng)
        with patch.object(DocumentIndex, "candidates", find_other_words):
            report("questions in other words", dataset, index, reranker)


def rare_words(texts: Mapping[str, str], rng: random.Random) -> tuple[Question, ...]:
    """Words that are in one paragraph only."""
    counts = Counter(word for text in texts.values() for word in set(re.findall(r"\w+", text)))
    queries: list[Question] = []
    for name, text in texts.items():
        rare = sorted(word for word in set(re.findall(r"\w{4,}", text)) if counts[word] == 1)
        chosen = rng.sample(rare, min(RARE_WORDS_PER_PARAGRAPH, len(rare)))
        queries += [Question(word, word, (ExpectedPassage(name),)) for word in chosen]
    return tuple(queries)


def in_other_words(dataset: Dataset, rng: random.Random) -> dict[str, str]:
    """Each question with about half of the words that matter replaced by any of the paragraphs' words."""
    texts = dataset.texts or {}
    others = sorted({word for text in texts.values() for word in re.findall(r"[^\W\d_]{5,}", text)})

    def replaced(word: str) -> str:
        matters = word.lower().strip("?,.") not in FUNCTION_WORDS
        return rng.choice(others) if matters and rng.random() < SHARE_OF_OTHER_WORDS else word

    return {one.text: " ".join(map(replaced, one.text.split())) for one in dataset.questions}


def report(title: str, dataset: Dataset, index: DocumentIndex, reranker: str | None) -> None:
    """Print the measures of every variant."""
    say(f"\n{len(dataset.questions)} {title:30}" + "".join(f"{name:>11}" for name in MEASURES))
    ordering = make_reranker(reranker) if reranker else None
    methods = {name: (Method(options), constants) for name, (options, constants) in VARIANTS.items()}
    if ordering:
        methods[ordering.name] = Method(SearchOptions(10), ordering), {}
    for name, (method, constants) in methods.items():
        with ExitStack() as patches:
            for constant, value in constants.items():
                patches.enter_context(patch(f"jina_rag.rag.retrieval.search.{constant}", value))
            (result,) = evaluate_search(dataset, index, [method])
        say(f"{name:34}" + "".join(f"{result.measures[measure].mean:11.4f}" for measure in MEASURES))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
