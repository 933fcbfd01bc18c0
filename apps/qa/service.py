"""What all pages and all sessions share: the settings of the command line, the index, its model, the language model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st
from chat_runs import ChatRuns
from chats import Chats
from escaping import escape
from index_work import WORK as INDEX_WORK
from model_work import download, try_llm
from options import Options, options
from shared_index import SharedIndex
from tasks import Kind, RunningTask, Task, Tasks
from watching import Watching

from jina_rag.errors import JinaRagError
from jina_rag.rag import RagPipeline, Retriever, make_generator, make_reranker
from jina_rag.rag.answering.judging import make_judge

SAMPLES = Path(__file__).with_name("sample_documents")
SAMPLES_COLLECTION = "samples"

_running: list["Service"] = []


class Service(SharedIndex):
    """The index and all that works with it, opened when it is first needed. Safe to use from many threads."""

    def __init__(self, chosen: Options) -> None:
        """Open nothing yet."""
        super().__init__(chosen.index, chosen.model, chosen.backend)
        self.chosen = chosen
        self._api_key: str | None = None
        self._parts: dict[tuple[Callable[..., Any], bool], tuple[tuple[object, ...], Any]] = {}
        self.tasks = Tasks(self.folder, self._work)
        self.chats = Chats(self.folder)
        self.runs = ChatRuns(self.chats, self.tasks, self.pipeline)
        self.watching = Watching(self, self.tasks)

    @property
    def llm(self) -> str:
        """The answer model, as for `make_generator`."""
        return self.chosen.llm or "auto"

    def use(self, llm: str, api_key: str | None = None) -> None:
        """Let another answer model be used, for everybody who has the app open.

        Args:
            llm: As for `make_generator`.
            api_key: Of its server; it is kept in memory alone.
        """
        with self._lock:
            self.chosen, self._api_key = replace(self.chosen, llm=llm), api_key

    def pipeline(self, llm: str | None = None, reranker: str | None = None, judge: str | None = None) -> RagPipeline:
        """What answers a question: what the app has chosen, or another answer model, reranker or judge for this one.

        Raises:
            GenerationError: the language model or the judge names nothing.
            BackendError: the reranker names nothing.
            Otherwise as `index` does.
        """
        own = self.chosen
        with self._lock:
            is_own = llm in (None, self.llm)
            generator = self._part(make_generator, is_own, llm or self.llm, self._api_key if is_own else None)
            checks = self._part(make_judge, is_own and judge in (None, own.judge), judge or own.judge, generator)
            setting, orders = reranker or own.reranker, None
            if setting not in (None, "none"):
                orders = self._part(make_reranker, setting == own.reranker, setting)
            return RagPipeline(Retriever(self.searched, orders), generator, judge=checks)

    def _part(self, make: Callable[..., Any], is_own: bool, *arguments: object) -> Any:  # noqa: ANN401 - of several types
        """What these arguments made the last time, else what they make now; what is replaced ends with its last use.

        One is kept of what the app has chosen and one of all else, so that no reader fills the memory with models.
        """
        if (made := self._parts.get((make, is_own))) is None or made[0] != arguments:
            made = self._parts[make, is_own] = arguments, make(*arguments)
        return made[1]

    def add_samples(self) -> Task:
        """Add the sample documents. Raises as `Tasks.start`."""
        return self.tasks.start(Kind.ADD, [str(SAMPLES)], SAMPLES_COLLECTION)

    def _work(self, running: RunningTask) -> str:
        task = running.task
        if task.kind is Kind.TEST:
            message = try_llm(running)
            if task.model and not running.should_stop():
                self.use(task.model, task.api_key)
            return message
        return download(running) if task.kind is Kind.DOWNLOAD else INDEX_WORK[task.kind](self, running)

    def release(self) -> None:
        """Interrupt tasks and answers, and close."""
        self.runs.close()
        self.tasks.close()
        self.close()


def service() -> Service:
    """The one that all sessions of this process share."""
    return _shared(options())


def is_sample(source: str) -> bool:
    """Whether a document is one of the sample documents."""
    return Path(source).parent == SAMPLES


def running_service() -> Service | None:
    """The same, if a page has been drawn."""
    return _running[-1] if _running else None


@st.cache_resource(max_entries=1, on_release=Service.release, show_spinner=False)
def _shared(chosen: Options) -> Service:
    _running[:] = [Service(chosen)]
    return _running[-1]


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what went wrong where it went wrong; the messages are written for readers."""
    try:
        yield
    except JinaRagError as error:
        st.error(escape(str(error)))


@contextmanager
def errors_kept() -> Iterator[None]:
    """The same in a callback, which draws nothing: the page shows it by `draw_kept_error`."""
    try:
        yield
    except JinaRagError as error:
        st.session_state.refused = str(error)


def draw_kept_error() -> None:
    """What went wrong in the last callback, if anything did."""
    if "refused" in st.session_state:
        st.error(escape(st.session_state.pop("refused")), icon=":material/error:")
