"""The app in a real browser. Run only when asked for by name: `make test-browser`, or `pytest tests/browser`."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex
from tests.browser.running_app import SAMPLES, RunningApp, running_app

if TYPE_CHECKING:  # only those who run these tests need to have it installed
    from playwright.sync_api import Browser

    from tests.browser.watched import Visitor

HERE = Path(__file__).parent
# What the browser does of its own accord is switched off: the tests look at what pages make it do.
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SOME_SAMPLES = ("ferry-timetable.html", "lamp-manual.pdf", "safety-rules.md")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out of a plain `pytest`: they need a browser and take minutes."""
    named = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests time: how long they take is the machine's business."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, or another that is called so."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.exit("There is no chromium here. Install it, on Debian with: apt-get install -y chromium", returncode=1)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: "Browser") -> "Iterator[Visitor]":
    """`visitor.opens(app, …)`: pages, each in a browser profile of its own.

    At the end no page may have asked another host for anything, not even in vain, and no script may have failed.
    """
    from tests.browser.watched import Visitor

    with Visitor(browser) as someone:
        yield someone
        someone.check()


@pytest.fixture(scope="session")
def indexes(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two indexes: of all sample documents, and of some."""
    folder = tmp_path_factory.mktemp("indexes")
    chosen: dict[str, list[Path]] = {"all": [SAMPLES], "some": [SAMPLES / name for name in SOME_SAMPLES]}
    for name, paths in chosen.items():
        with DocumentIndex.create_or_open(folder / name, minilm) as index:
            index.add(paths, collections=["samples"])
    return {name: folder / name for name in chosen}


@pytest.fixture(scope="session")
def app(indexes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app on all sample documents. Shared, so tests only ask."""
    with running_app(indexes["all"], tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def start(indexes: dict[str, Path], tmp_path: Path) -> Iterator[Any]:
    """`start(*arguments)`: an app of one's own on an index of a few sample documents, to do with as one likes."""
    with ExitStack() as apps:

        def start_one(*arguments: str, ollama: str = "") -> RunningApp:
            folder = shutil.copytree(indexes["some"], tmp_path / "index")
            return apps.enter_context(running_app(folder, tmp_path, *arguments, ollama=ollama))

        yield start_one
