"""`RagPipeline`: a question in, an answer with checked citations out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jina_rag.errors import GenerationError
from jina_rag.rag.citations import Citation, find_citations, find_unknown_numbers
from jina_rag.rag.generation import NO_ANSWER, Generator, make_generator
from jina_rag.rag.index import DocumentIndex
from jina_rag.rag.retrieval import DEFAULT_K, SearchResult, search


@dataclass(frozen=True)
class Answer:
    """An answer and what it rests on.

    Attributes:
        question: As it was asked.
        text: The answer, citing passages as [1].
        citations: The passages that it cites, in the order in which it does.
        passages: All passages that were found, best first; [1] is the first.
        unknown_numbers: Numbers that it cites and that no passage has.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    passages: tuple[SearchResult, ...]
    unknown_numbers: tuple[int, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the documents had an answer."""
        return NO_ANSWER not in self.text


class RagPipeline:
    """Questions answered from one index by one generator. Safe to call from many threads.

    `ask` does all at once. A page that shows the answer while it is written calls `search`, `stream` and `finish`.
    """

    def __init__(self, index: DocumentIndex, generator: Generator, *, k: int = DEFAULT_K) -> None:
        """Take ready parts; `open` fetches them.

        Args:
            index: Where to look.
            generator: What writes the answer.
            k: How many passages to write it from.
        """
        self.index = index
        self.generator = generator
        self.k = k

    @classmethod
    def open(cls, folder: Path | str, *, llm: str | None = None, k: int = DEFAULT_K) -> Self:
        """The pipeline over an index folder, with the model that the index was made with.

        Args:
            folder: Where the index is.
            llm: What writes the answer, as for `make_generator`.
            k: How many passages to write it from.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
            GenerationError: `llm` names nothing.
            Otherwise as `Embedder.from_pretrained` does.
        """
        index = DocumentIndex.open(folder)
        return cls(index, make_generator(llm, index.embedder), k=k)

    def search(self, question: str) -> list[SearchResult]:
        """The passages to answer from, best first.

        Raises:
            GenerationError: the question is blank.
            Otherwise as `retrieval.search` does.
        """
        if not question.strip():
            raise GenerationError("The question is empty. Ask one, such as: What is this about?")
        return search(self.index, question, self.k)

    def stream(self, question: str, passages: Sequence[SearchResult]) -> Iterator[str]:
        """Pieces of the answer as they are written.

        Raises:
            GenerationError: the language model can't be reached, or can't answer.
        """
        return self.generator.stream(question, passages)

    def finish(self, question: str, text: str, passages: Sequence[SearchResult]) -> Answer:
        """The whole answer, with its citations checked against the passages."""
        return Answer(
            question=question,
            text=text,
            citations=tuple(find_citations(text, passages)),
            passages=tuple(passages),
            unknown_numbers=tuple(find_unknown_numbers(text, passages)),
        )

    def ask(self, question: str) -> Answer:
        """Search, write and check. Raises as `search` and `stream` do."""
        passages = self.search(question)
        return self.finish(question, "".join(self.stream(question, passages)), passages)
