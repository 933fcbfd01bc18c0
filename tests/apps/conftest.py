"""What the tests of the app share: the sample documents, the bundled model, an index, and the app driven by AppTest."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from jina_rag import Embedder
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.rebuild import rebuild

APP = Path(__file__).parents[2] / "apps" / "qa"
SAMPLES = APP / "sample_documents"
INDEXED = ("ferry-timetable.html", "lamp-manual.pdf", "safety-rules.md")

OpenApp = Callable[..., AppTest]


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    # One thread: as quick for a model so small, and no slower when tests share the cores.
    with Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=1)) as model:
        yield model


@pytest.fixture(scope="session")
def made_folder(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([SAMPLES / name for name in INDEXED])
    return folder


@pytest.fixture
def folder(made_folder: Path, tmp_path: Path) -> Path:
    """An index of three sample documents, of its own for each test."""
    return shutil.copytree(made_folder, tmp_path / "index")


@pytest.fixture
def written_here(folder: Path, embedder: Embedder) -> Path:
    """The same with a Chroma folder that isn't a copy; that of a copy isn't opened."""
    rebuild(folder, embedder)
    return folder


@pytest.fixture
def app_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's own modules (`service`, `escaping`, ...) can be imported, as Streamlit has it when it runs the app."""
    monkeypatch.syspath_prepend(str(APP))


@pytest.fixture
def few_samples(app_modules: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:  # noqa: ARG001
    """The app has three sample documents, which are read soon."""
    few = tmp_path_factory.mktemp("samples")
    for name in INDEXED:
        shutil.copy(SAMPLES / name, few)
    monkeypatch.setattr("service.SAMPLES", few)


@pytest.fixture
def open_app(app_modules: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenApp]:  # noqa: ARG001
    """`open_app(folder, *arguments)`: the app on an index folder, at its first page."""
    listens_at = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")  # as its config.toml has it, which AppTest does not read

    # AppTest has no browser whose cookie could say that it is the owner's; test_server.py looks at real ones.
    monkeypatch.setattr("access.only_this_machine", lambda: True)
    monkeypatch.setattr("session.reader", lambda: "0" * 32)

    def open_on(folder: Path, *arguments: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["streamlit_app.py", "--index", str(folder), *arguments])
        # Streamlit puts the page in its place, and processes that other tests start would then run the page.
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        return checked(AppTest.from_file(APP / "streamlit_app.py", default_timeout=240).run())

    yield open_on
    st.cache_resource.clear()
    config.set_option("server.address", listens_at)


def go(app: AppTest, page: str) -> AppTest:
    """Another page of the app: "library" or "models"."""
    app.switch_page(f"app_pages/{page}.py")
    return checked(app.run())


def answered(app: AppTest) -> AppTest:
    """The app when no answer is on its way any more; in a browser the page looks by itself."""
    deadline = monotonic() + 240
    while any(button.key == "stop" for button in app.button):
        assert monotonic() < deadline
        sleep(0.02)
        checked(app.run())
    return app


def checked(app: AppTest) -> AppTest:
    """The app, which must not have shown an exception."""
    assert not app.exception, app.exception
    return app
