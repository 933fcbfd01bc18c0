"""The Models page in every state: what is in use, downloads, a hub that is down, what writes answers."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from jina_rag.model_files import is_on_this_machine
from jina_rag.models import get_model_spec
from jina_rag.rag.answering.chat_servers import ChatServer
from jina_rag.rag_models import list_chat_models
from tests.apps.conftest import OpenApp, checked, go
from tests.browser.ollama import MODELS, Ollama, ollama
from tests.hub import Hub, serve_hub

MODEL = "jina-embeddings-v5-text-nano-clustering"
SERVED = "jinaai/jina-embeddings-v5-text-nano-clustering-GGUF/v5-nano-clustering-Q4_K_M.gguf"

pytestmark = pytest.mark.usefixtures("app_modules", "own_cache")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub, here and in the processes that are started, and no hub at all."""
    from huggingface_hub import close_session, constants

    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    point_to("http://127.0.0.1:9", monkeypatch)
    yield tmp_path / "hf" / "hub"
    close_session()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tiny_gguf: Path) -> Iterator[Hub]:
    with serve_hub() as served:
        served.files[SERVED] = tiny_gguf.read_bytes()
        point_to(served.url, monkeypatch)
        yield served
        if served.go_on:
            served.go_on.set()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, constants

    close_session()
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def page(open_app: OpenApp, folder: Path) -> AppTest:
    return go(open_app(folder), "models")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ollama]:
    """A stand-in for Ollama that the page finds."""
    import connect
    import model_list

    with ollama(["Hello", " [1]"]) as running:
        found = ChatServer("Ollama", f"{running.address}/v1", MODELS)
        monkeypatch.setattr(model_list, "discover", lambda: (found,))
        connect.models_found.clear()
        yield running
        connect.models_found.clear()


def when_tested(app: AppTest) -> AppTest:
    """The page when the test of a model is over."""
    return until(app, lambda: not cancel_buttons(app))


def cancel_buttons(app: AppTest) -> list[Any]:
    return [button for button in app.button if button.label == "Cancel"]


def plainly(text: str) -> str:
    return re.sub(r"[\\`]", "", text)


def told(app: AppTest) -> str:
    """All that the page says."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return plainly("\n".join(element.value for elements in kinds for element in elements))


def until(app: AppTest, reached: Callable[[], bool]) -> AppTest:
    """Run the page until something is so, as the browser does by itself."""
    deadline = time.monotonic() + 240
    while not reached():
        assert time.monotonic() < deadline, told(app)
        time.sleep(0.1)
        checked(app.run())
    return app


def download(app: AppTest) -> AppTest:
    spec = get_model_spec(MODEL)
    app.selectbox(key="download-model").set_value(spec).run()
    checked(app.checkbox(key=f"agreed-{spec.license}").check().run())
    return checked(app.button(key="download").click().run())


def test_page_says_what_is_in_use_and_why(page: AppTest) -> None:
    assert "**all-MiniLM-L6-v2**" in told(page)
    assert "can't be compared" in told(page)
    assert "No language model is connected" in told(page)


def test_a_model_of_a_free_licence_needs_no_consent(page: AppTest) -> None:
    page.selectbox(key="download-model").set_value(list_chat_models()[0])
    checked(page.run())
    assert not page.button(key="download").disabled


def test_a_model_on_this_computer_is_tested_and_then_used(open_app: OpenApp, folder: Path, server: Ollama) -> None:
    page = go(open_app(folder, "--llm", "none"), "models")
    assert "No language model is connected" in told(page)
    assert page.selectbox(key="llm-here").options == [f"{model} (Ollama)" for model in MODELS]
    when_tested(checked(page.button(key="llm-use").click().run()))
    assert "**quick (Ollama)** writes the answers" in told(page)
    assert "Connected. It answered after" in told(page)
    go(page, "ask")
    assert "**quick (Ollama)** writes the answers" in told(go(page, "models"))
    server.is_dead = True
    when_tested(checked(page.button(key="llm-use").click().run()))
    assert "Can't reach http" in told(page)
    assert "**quick (Ollama)** writes the answers" in told(page)  # what failed the test is not taken
    checked(page.button(key="disconnect").click().run())
    assert "No language model is connected" in told(page)


@pytest.mark.usefixtures("server")
def test_a_server_that_is_started_after_the_first_page_writes_the_answers(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder)  # "auto" finds none yet
    assert "No language model is connected" in told(app)
    assert "**quick (Ollama)** writes the answers" in told(go(app, "models"))
    assert "No language model is connected" not in told(go(app, "ask"))


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("html", "does not answer as a chat server does"),
        ("empty", "wrote an empty answer"),
        ("thinking", "nothing but its reasoning"),
    ],
)
def test_a_model_that_cannot_answer_is_not_taken(
    open_app: OpenApp, folder: Path, server: Ollama, model: str, problem: str
) -> None:
    page = go(open_app(folder, "--llm", "none"), "models")
    page.selectbox(key="llm-here").set_value(server.llm(model))
    when_tested(checked(page.button(key="llm-use").click().run()))
    assert problem in told(page)
    assert "No language model is connected" in told(page)


def test_the_test_of_a_silent_model_ends_and_can_be_cancelled(
    open_app: OpenApp, folder: Path, server: Ollama, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = go(open_app(folder, "--llm", "none"), "models")
    page.selectbox(key="llm-here").set_value(server.llm("silent"))
    checked(page.button(key="llm-use").click().run())
    checked(cancel_buttons(page)[0].click().run())
    assert "Cancelled." in told(when_tested(page))
    monkeypatch.setattr("model_work.SECONDS_OF_SERVER", 0.1)
    when_tested(checked(page.button(key="llm-use").click().run()))
    assert "did not answer within" in told(page)


def test_a_key_is_sent_and_not_saved(page: AppTest, folder: Path, server: Ollama) -> None:
    page.text_input(key="llm-address").set_value(f"{server.address}/v1")
    page.text_input(key="llm-model").set_value("quick")
    page.text_input(key="llm-key").set_value("sk-secret")
    when_tested(checked(page.button(key="llm-connect").click().run()))
    assert "**quick (Ollama)** writes the answers" in told(page)
    assert server.keys == {"Bearer sk-secret"}
    assert not [path for path in folder.rglob("*") if path.is_file() and b"sk-secret" in path.read_bytes()]


def test_a_model_to_download_is_recommended_with_its_size_and_licence(page: AppTest, hub: Hub) -> None:
    assert re.search(r"Qwen3.5-\dB\*\* .*recommended.* GB\] .*Apache-2.0", told(page))
    checked(page.button(key="download-recommended").click().run())
    until(page, lambda: bool(hub.requests))
    until(page, lambda: bool(page.error))  # this hub has no such file


def test_without_an_index_the_page_says_what_the_first_documents_get(open_app: OpenApp, tmp_path: Path) -> None:
    app = go(open_app(tmp_path / "none", "--no-samples"), "models")
    assert "There are no documents yet" in told(app)
    assert "all-MiniLM-L6-v2" in told(app)


def test_only_the_owner_changes_what_all_readers_share(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("access.only_this_machine", lambda: False)
    page = go(open_app(folder), "models")
    assert "**all-MiniLM-L6-v2**" in told(page)
    assert not [*page.button, *page.selectbox, *page.text_input, *page.radio]


def test_licence_must_be_agreed_to_before_a_download(page: AppTest, hub: Hub) -> None:
    assert page.button(key="download").disabled
    assert not hub.requests


def test_download_brings_the_model_here(page: AppTest, hub: Hub) -> None:
    download(page)
    until(page, lambda: "Downloaded." in told(page))
    assert is_on_this_machine(get_model_spec(MODEL))
    assert f"{MODEL}:Q4_K_M" in page.selectbox(key="change-model").options
    assert hub.methods.count("GET") == 1


def test_download_shows_how_far_it_is_and_can_be_cancelled(page: AppTest, hub: Hub, own_cache: Path) -> None:
    hub.go_on, hub.files[SERVED] = Event(), bytes(40_000_000)  # more than the client reads at a time
    download(page)
    until(page, lambda: bool(page.get("progress")) and " of " in plainly(page.get("progress")[0].proto.text))
    until(page, lambda: page.get("progress")[0].proto.value > 0)
    checked(cancel_buttons(page)[0].click().run())
    until(page, lambda: "Cancelled." in told(page))
    assert not is_on_this_machine(get_model_spec(MODEL))
    assert not list(own_cache.rglob("*.incomplete"))


@pytest.mark.usefixtures("server")
def test_a_model_is_tested_while_another_is_downloaded(open_app: OpenApp, folder: Path, hub: Hub) -> None:
    hub.go_on, hub.files[SERVED] = Event(), bytes(40_000_000)
    page = download(go(open_app(folder, "--llm", "none"), "models"))
    checked(page.button(key="llm-use").click().run())
    until(page, lambda: "Connected." in told(page))
    checked(cancel_buttons(page)[0].click().run())
    until(page, lambda: "Cancelled." in told(page))


def test_hub_that_is_down_is_told_with_what_to_do(page: AppTest) -> None:
    download(page)
    until(page, lambda: bool(page.error))
    assert "could not be downloaded from http" in told(page)
    assert "Check the network and HF_ENDPOINT" in told(page)
    assert page.button(key="download")


def test_download_that_is_refused_is_told_as_the_command_tells_it(page: AppTest, hub: Hub) -> None:
    hub.wrong_contents[SERVED] = b"x" * len(hub.files[SERVED])
    download(page)
    until(page, lambda: bool(page.error))
    assert "the published one has" in told(page)
    assert "Error:" not in told(page)


@pytest.mark.parametrize(
    ("typed", "button", "problem"),
    [
        ({"llm-path": "/nowhere/model.gguf"}, "llm-use-file", "There is no GGUF file '/nowhere/model.gguf'"),
        ({"llm-path": "/etc/passwd"}, "llm-use-file", "There is no GGUF file"),
        ({"llm-address": "localhost:11434"}, "llm-connect", "An address begins with http"),
        ({}, "llm-connect", "Type an address or a path first"),
    ],
)
def test_what_is_no_model_is_refused(page: AppTest, typed: dict[str, str], button: str, problem: str) -> None:
    for key, text in typed.items():
        page.text_input(key=key).set_value(text)
    checked(page.button(key=button).click().run())
    assert problem in plainly(page.error[0].value)


def test_another_model_is_taken_only_after_a_yes(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    import model_list
    from tasks import Kind, Tasks

    assert not [box for box in page.selectbox if box.key == "change-model"]
    monkeypatch.setattr(model_list, "models_here", lambda: iter(["all-MiniLM-L6-v2:F32", f"{MODEL}:Q4_K_M"]))
    started: list[tuple[Kind, str]] = []
    monkeypatch.setattr(Tasks, "start", lambda _, kind, model: started.append((kind, model)))
    checked(page.run())
    assert page.button(key="change").disabled
    checked(page.checkbox(key="change-sure").check().run())
    checked(page.button(key="change").click().run())
    assert started == [(Kind.REBUILD, f"{MODEL}:Q4_K_M")]
