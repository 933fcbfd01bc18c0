"""`RagPipeline`: a question in, an answer with checked citations out."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

from jina_rag.closeable import Closeable
from jina_rag.rag.answering.factory import make_generator
from jina_rag.rag.answering.judging import make_judge
from jina_rag.rag.answering.run import AnswerRun
from jina_rag.rag.answering.types import Answer, Generator, Turn
from jina_rag.rag.citations.judges import Judge
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions


class RagPipeline(Closeable):
    """Questions answered from one index by one language model, or by passages alone. Safe to call from many threads.

    `ask` does all at once. A page that shows the answer while it is written iterates over what `start` gives.
    """

    def __init__(
        self,
        retriever: Retriever,
        generator: Generator | None,
        *,
        judge: Judge | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        """Take ready parts; `open` fetches them.

        Args:
            retriever: Finds the passages.
            generator: Writes the answer; None shows the passages with their best sentences and says nothing.
            judge: Reads the claims of an answer that are not quoted; None leaves them unchecked.
            options: How many passages to find and how, where a question doesn't say; None for the defaults.
        """
        self.retriever = retriever
        self.generator = generator
        self.judge = judge
        self.options = options or SearchOptions()
        self._opened = ExitStack()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        llm: str | None = None,
        judge: str | None = None,
        options: SearchOptions | None = None,
        backend: str | None = None,
        reranker: str | None = None,
    ) -> Self:
        """The pipeline over an index folder, with the model that the index was made with. Close it in the end.

        Args:
            folder: Where the index is, or the address of a vector store, as for `Retriever.open`.
            llm: The answer model, as for `make_generator`; None takes what runs on this machine or was downloaded.
            judge: What reads the claims of an answer that are not quoted, as for `make_judge`; None is nothing.
            options: How many passages to find and how, where a question doesn't say; None for the defaults.
            backend: Where the embedding model runs, as for `Embedder.from_pretrained`; None is this process.
            reranker: What puts the passages in order, as for `make_reranker`; None leaves them as they were found.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
            StoreError: the vector store can't be used.
            GenerationError: `llm` or `judge` names nothing.
            BackendError: `reranker` names nothing.
            JinaRagError: otherwise as `Embedder.from_pretrained`.
        """
        with ExitStack() as opened:
            retriever = opened.enter_context(Retriever.open(folder, backend=backend, reranker=reranker))
            _ = retriever.index  # opened here, where its errors are expected
            generator = make_generator(llm)
            if generator:
                opened.enter_context(closing(generator))
            reader = make_judge(judge, generator)
            if reader:
                opened.enter_context(closing(reader))
            pipeline = cls(retriever, generator, judge=reader, options=options)
            pipeline._opened = opened.pop_all()
        return pipeline

    def close(self) -> None:
        """Give back what `open` took; parts that were handed over stay open."""
        self._opened.close()

    def start(
        self,
        question: str,
        *,
        options: SearchOptions | None = None,
        history: Sequence[Turn] = (),
        on_end: Callable[[Answer], None] | None = None,
    ) -> AnswerRun:
        """Begin to answer; what is returned gives stages, passages, text and marks as they come.

        Args:
            question: What to answer.
            options: How to look; None takes the pipeline's own.
            history: The turns before, for a follow-up; `Conversation` keeps them.
            on_end: Is given the answer when it is whole, or what there is of it when it is stopped or fails.

        Raises:
            GenerationError: the question is blank.
        """
        return AnswerRun(question, self.retriever, self.generator, options or self.options, history, on_end, self.judge)

    def ask(self, question: str, options: SearchOptions | None = None) -> Answer:
        """The whole answer: search, write and check. Raises as `AnswerRun` does."""
        return self.start(question, options=options).finish()
