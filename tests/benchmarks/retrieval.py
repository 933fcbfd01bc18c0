"""How well passages are found by meaning, by words and by both, with the bundled model.

    python -m tests.benchmarks.retrieval XQUAD.json [RERANKER]

The file is in the form of SQuAD 1.1, such as XQuAD's English part. Each paragraph is a document of one chunk (of those
that are too long for the model the beginning is embedded), and is what its questions ask for. Three kinds of queries:
the questions; single words that stand in one paragraph alone; and the questions with half of the words that matter
replaced for the lexical side, as if somebody asked in other words than the document's.
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import ir_measures
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions, make_reranker
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.documents import Document
from jina_rag.rag.indexing import parsing
from jina_rag.rag.indexing.candidates import Candidate, Mode
from jina_rag.rag.retrieval.rerank import Reranker
from jina_rag.rag.store.filters import Filters
from jina_rag.vectors import FloatArray
from tests.benchmarks.long_text import say

MEASURES = [nDCG @ 10, R @ 1, R @ 5, R @ 10, RR @ 10]
RARE_WORDS_PER_PARAGRAPH = 5
SHARE_OF_OTHER_WORDS = 0.5

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

Query = tuple[str, int]  # what is asked, and the number of the paragraph that answers it


@dataclass(frozen=True)
class Variant:
    """A way to search, and constants to try in the place of its own."""

    options: SearchOptions
    constants: Mapping[str, float] = field(default_factory=dict)
    reranker: Reranker | None = None


VARIANTS = {
    "dense": Variant(SearchOptions(10, "dense")),
    "lexical": Variant(SearchOptions(10, "lexical")),
    "hybrid (default)": Variant(SearchOptions(10)),
    "hybrid, weight 0.2": Variant(SearchOptions(10), {"LEXICAL_WEIGHT": 0.2}),
    "hybrid, weight 0.3": Variant(SearchOptions(10), {"LEXICAL_WEIGHT": 0.3}),
    "hybrid, weight 0.4": Variant(SearchOptions(10), {"LEXICAL_WEIGHT": 0.4}),
}


class IndexForOtherWords(DocumentIndex):
    """Looks for other words than it is asked for, as far as `other_words` has them."""

    other_words: Mapping[str, str]

    def candidates(
        self, query: str, vector: FloatArray, n: int, *, mode: Mode = "hybrid", filters: Filters | None = None
    ) -> list[Candidate]:
        return super().candidates(self.other_words.get(query, query), vector, n, mode=mode, filters=filters)


def main(path: Path, reranker: str | None = None) -> None:
    """Print a table for each kind of queries."""
    articles = json.loads(path.read_text())["data"]
    entries = [entry for article in articles for entry in article["paragraphs"]]
    paragraphs = [entry["context"] for entry in entries]
    questions = [(asked["question"], number) for number, entry in enumerate(entries) for asked in entry["qas"]]
    rng = random.Random(1)
    with paragraph_index(paragraphs) as index:
        if reranker:
            VARIANTS[f"hybrid, {Path(reranker).stem}"[:30]] = Variant(
                SearchOptions(10), reranker=make_reranker(reranker)
            )
        report(f"{len(questions)} questions", index, questions)
        words = rare_words(paragraphs, rng)
        report(f"{len(words)} rare words", index, words)
        index.other_words = in_other_words([question for question, _ in questions], paragraphs, rng)
        report("the questions in other words", index, questions)


@contextmanager
def paragraph_index(paragraphs: Sequence[str]) -> Iterator[IndexForOtherWords]:
    """An index with one chunk for each paragraph; the file's name is its number."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        documents = Path(folder) / "documents"
        documents.mkdir()
        for number, paragraph in enumerate(paragraphs):
            (documents / f"{number}.txt").write_text(paragraph)
        embedder = stack.enter_context(Embedder.from_pretrained("all-MiniLM-L6-v2", truncate=True))
        index = stack.enter_context(IndexForOtherWords.create_or_open(Path(folder) / "index", embedder))
        index.other_words = {}
        with patch.object(parsing, "split_document", whole_document):
            added = index.add([documents])
        assert len(added.added) == len(paragraphs), added.failed
        yield index


def whole_document(document: Document, _: Embedder) -> list[Chunk]:
    """A document as one chunk without a title, so that both sides see the text alone."""
    (page,) = document.pages
    id_ = sha256(document.source.encode()).hexdigest()[:32]
    return [Chunk(id_, document.source, "", 0, None, None, 0, len(page.text), page.text)]


def rare_words(paragraphs: Sequence[str], rng: random.Random) -> list[Query]:
    """Words that stand in one paragraph only."""
    counts = Counter(word for paragraph in paragraphs for word in set(re.findall(r"\w+", paragraph)))
    queries: list[Query] = []
    for number, paragraph in enumerate(paragraphs):
        rare = sorted(word for word in set(re.findall(r"\w{4,}", paragraph)) if counts[word] == 1)
        queries += [(word, number) for word in rng.sample(rare, min(RARE_WORDS_PER_PARAGRAPH, len(rare)))]
    return queries


def in_other_words(questions: Sequence[str], paragraphs: Sequence[str], rng: random.Random) -> dict[str, str]:
    """Each question with about half of the words that matter replaced by any of the paragraphs' words."""
    others = sorted({word for paragraph in paragraphs for word in re.findall(r"[^\W\d_]{5,}", paragraph)})

    def replaced(word: str) -> str:
        matters = word.lower().strip("?,.") not in FUNCTION_WORDS
        return rng.choice(others) if matters and rng.random() < SHARE_OF_OTHER_WORDS else word

    return {question: " ".join(map(replaced, question.split())) for question in questions}


def report(title: str, index: DocumentIndex, queries: Sequence[Query]) -> None:
    """Print the measures of every variant."""
    say(f"\n{title:30}" + "".join(f"{measure!s:>9}" for measure in MEASURES))
    relevant = [Qrel(str(place), str(number), 1) for place, (_, number) in enumerate(queries)]
    for name, variant in VARIANTS.items():
        found: list[ScoredDoc] = []
        with ExitStack() as constants:
            for constant, value in variant.constants.items():
                constants.enter_context(patch(f"jina_rag.rag.retrieval.search.{constant}", value))
            for place, (query, _) in enumerate(queries):
                results = Retriever(index, variant.reranker).retrieve(query, variant.options)
                found += [ScoredDoc(str(place), Path(r.chunk.source).stem, -rank) for rank, r in enumerate(results)]
        values = ir_measures.calc_aggregate(MEASURES, relevant, found)
        say(f"{name:30}" + "".join(f"{values[measure]:9.4f}" for measure in MEASURES))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
