"""What all pages and all sessions share: the settings of the command line, the index, its model, the language model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

import streamlit as st
from chat_runs import ChatRuns
from chats import Chats
from escaping import escape
from index_work import WORK as INDEX_WORK
from launcher import Options, options
from model_work import WORK as MODEL_WORK
from tasks import Kind, RunningTask, Task, Tasks
from watching import Watching

from jina_rag import Embedder
from jina_rag.bench import BenchResult
from jina_rag.bundled import bundled_package_installed
from jina_rag.errors import IndexFolderError, JinaRagError
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, get_model_spec
from jina_rag.rag import DocumentIndex, RagPipeline, Retriever, make_generator, make_reranker
from jina_rag.rag.answering.judging import make_judge
from jina_rag.rag.indexing.index import load_index_embedder, read_index_settings
from jina_rag.rag.retrieval.rerank import Reranker

SAMPLES = Path(__file__).with_name("sample_documents")
SAMPLES_COLLECTION = "samples"

_running: list["Service"] = []


class Service:
    """The index, its model and the language model, opened when they are first needed. Safe to use from many threads."""

    def __init__(self, chosen: Options) -> None:
        """Open nothing yet."""
        self.folder = chosen.index
        self.backend = chosen.backend
        self._model = chosen.model
        self._llm = chosen.llm
        self._api_key: str | None = None
        self._reranker_setting = chosen.reranker
        self._judge_setting = chosen.judge
        self._lock = RLock()
        self._index: DocumentIndex | None = None
        self._reranker: Reranker | None = None
        self._pipeline: RagPipeline | None = None
        self._other_pipeline: tuple[str, RagPipeline] | None = None
        self.tasks = Tasks(self.folder, self._work)
        self.chats = Chats(self.folder)
        self.runs = ChatRuns(self.chats, self.tasks, self.pipeline)
        self.watching = Watching(self)
        self.measurement: BenchResult | None = None

    def has_index(self) -> bool:
        """Whether there is an index; the first documents make one.

        Raises:
            IndexFolderError: there is one, and it is damaged.
        """
        if self._index is not None:
            return True
        try:
            read_index_settings(self.folder)
        except IndexFolderError:
            if (self.folder / "index.sqlite3").exists():
                raise
            return False
        return True

    @property
    def index(self) -> DocumentIndex:
        """The index, opened with its own model.

        Raises:
            IndexFolderError: there is none yet, or it is damaged.
            Otherwise as `DocumentIndex.open` does.
        """
        with self._lock:
            if self._index is None:
                self._index = DocumentIndex.open(self.folder, self._own_embedder)
            return self._index

    def create_index(self) -> DocumentIndex:
        """The index, made if there is none. Raises as `DocumentIndex.create_or_open` does."""
        with self._lock:
            if not self.has_index():
                self._index = DocumentIndex.create_or_open(self.folder, self._first_embedder)
            return self.index

    @property
    def embedder(self) -> Embedder:
        """The model of the index. Raises as `index` does."""
        return self.index.embedder

    @property
    def llm(self) -> str:
        """The answer model, as for `make_generator`."""
        return self._llm or "auto"

    @property
    def chosen_llm(self) -> str | None:
        """What "auto" has taken, as people call it; None before the first question, or if it isn't in use."""
        if self.llm != "auto" or self._pipeline is None:
            return None
        generator = self._pipeline.generator
        return generator.name if generator else "no language model"

    def use_llm(self, setting: str | None, api_key: str | None = None) -> None:
        """Let something else write answers, for everybody who has the app open.

        Args:
            setting: As for `make_generator`.
            api_key: As for `make_generator`; it is kept in memory alone.

        Raises:
            GenerationError: the setting names nothing; what was in use stays.
        """
        with self._lock:
            if self._index is not None:
                self._pipeline = self._make_pipeline(setting, api_key)
            self._llm, self._api_key = setting, api_key

    @property
    def reranker(self) -> str:
        """What puts passages in order, as for `make_reranker`; "none" leaves them as they were found."""
        return self._reranker_setting or "none"

    def use_reranker(self, setting: str) -> None:
        """Let something else put passages in order, for everybody who has the app open.

        Raises:
            BackendError: the setting names nothing; what was in use stays.
        """
        with self._lock:
            before, self._reranker = self._reranker, None if setting == "none" else make_reranker(setting)
            self._reranker_setting = None if setting == "none" else setting
            self._pipeline = self._other_pipeline = None
            if before is not None:
                before.close()

    @property
    def judge(self) -> str:
        """What checks claims that are not quoted, as for `make_judge`."""
        return self._judge_setting or "none"

    def use_judge(self, setting: str) -> None:
        """Let something else check claims, for everybody who has the app open.

        Raises:
            GenerationError: the setting names nothing; what was in use stays.
        """
        with self._lock:
            if self._pipeline is not None:
                generator = self._pipeline.generator
                self._pipeline = RagPipeline(self._pipeline.retriever, generator, judge=make_judge(setting, generator))
            self._judge_setting = setting

    def pipeline(self, llm: str | None = None) -> RagPipeline:
        """What answers questions: the answer model in use, or another for one question.

        Raises:
            GenerationError: the language model or the judge of the command line names nothing.
            BackendError: its reranker names nothing.
            Otherwise as `index` does.
        """
        with self._lock:
            if self._pipeline is None:
                self._pipeline = self._make_pipeline(self._llm, self._api_key)
            if llm is None or llm == self.llm:
                return self._pipeline
            if self._other_pipeline is None or self._other_pipeline[0] != llm:
                self._other_pipeline = llm, self._make_pipeline(llm, None)
            return self._other_pipeline[1]

    def _make_pipeline(self, llm: str | None, api_key: str | None) -> RagPipeline:
        if self._reranker is None and self._reranker_setting:
            self._reranker = make_reranker(self._reranker_setting)
        retriever = Retriever(self.index, self._reranker)
        generator = make_generator(llm, api_key)
        return RagPipeline(retriever, generator, judge=make_judge(self._judge_setting, generator))

    def add_samples(self) -> Task:
        """Add the sample documents. Raises as `Tasks.start`."""
        return self.tasks.start(Kind.ADD, [str(SAMPLES)], SAMPLES_COLLECTION)

    def _work(self, running: RunningTask) -> str:
        return {**INDEX_WORK, **MODEL_WORK}[running.task.kind](self, running)

    def close(self) -> None:
        """Close the index and the models; they are opened again at the next need."""
        with self._lock:
            index, reranker = self._index, self._reranker
            self._index = self._reranker = self._pipeline = self._other_pipeline = None
            if index is not None:
                index.close()
            if reranker is not None:
                reranker.close()

    def release(self) -> None:
        """Interrupt tasks and answers, and close."""
        self.runs.close()
        self.tasks.close()
        self.close()

    def _first_embedder(self) -> Embedder:
        if self.backend:
            return Embedder.from_pretrained(self._model or "auto", backend=self.backend)
        return Embedder.from_pretrained(self._model or model_at_hand())

    def _own_embedder(self) -> Embedder:
        return load_index_embedder(self.folder, backend=self.backend)


def model_at_hand() -> str:
    """The best embedding model that needs no download; the default one if there is none."""
    if not is_on_this_machine(get_model_spec(DEFAULT_MODEL)) and bundled_package_installed():
        return BUNDLED_MODEL
    return DEFAULT_MODEL


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
