"""The app on a vector store: it is asked, and nothing of its sources is read from this machine's disk."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex
from tests.apps.conftest import OpenApp, answered, checked
from tests.index_files import fill_store

QUESTION = "What does fault code E7 mean?"


@pytest.fixture(params=["chroma", "lance"])
def address(request: pytest.FixtureRequest, made_folder: Path, embedder: Embedder, tmp_path: Path) -> str:
    """A store with the rows of an index."""
    address = f"lance://{tmp_path / 'lance'}"
    if request.param == "chroma":
        address = f"{request.getfixturevalue('chroma')}/app"
    with DocumentIndex.open(made_folder, embedder) as index:
        fill_store(address, index)
    return address


def html(app: AppTest) -> str:
    return " ".join(element.proto.body for element in app.get("html"))


def test_a_store_is_asked(address: str, open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("passages.read_source_context", read)
    app = open_app(address, "--llm", "none")
    assert f"passages in `{address}" in " ".join(each.value for each in app.markdown)
    assert any("Chroma has no BM25" in each.value for each in app.caption) == address.startswith("chroma")
    answered(checked(app.chat_input(key="question").set_value(QUESTION).run()))
    assert "23.5 volts" in html(app)
    checked(app.button(key="passage-0-1").click().run())
    assert "23.5 volts" in html(app)
    assert not [each for each in app.get("download_button") if each.proto.label == "Open the original"]
    checked(app.switch_page("app_pages/models.py").run())
    assert "384 dimensions" in " ".join(each.value for each in app.markdown)


def test_a_store_that_is_not_there(open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app: AppTest = open_app("chroma://127.0.0.1:9/notes?retry_timeout=0.2")
    assert "Check that it runs" in " ".join(each.value for each in app.error)
