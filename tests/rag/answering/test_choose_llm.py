"""What "auto" takes to answer: a server on this machine, else a downloaded model, else none; and that it is said."""

import logging
from pathlib import Path

import pytest

from jina_rag import ModelNotFoundError
from jina_rag.bundled import bundled_chat_model
from jina_rag.rag import make_generator
from jina_rag.rag.answering import chat_servers, factory
from jina_rag.rag.answering.chat_servers import DISCOVER_VARIABLE, ChatServer
from jina_rag.rag.answering.factory import choose_llm
from jina_rag.rag_models import list_chat_models
from tests.hub import COMMIT

OLLAMA = ChatServer("Ollama", "http://127.0.0.1:9/v1", ("qwen3.5:2b", "gemma3"))


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing runs and nothing has been downloaded; its cache of the hub."""
    monkeypatch.delenv(DISCOVER_VARIABLE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(factory, "discover", lambda: ())
    return tmp_path


def downloaded(name: str, cache: Path) -> Path:
    """A small chat model in the place of this one in the hub's cache."""
    row = next(row for row in list_chat_models() if row.name == name)
    snapshot = cache / f"models--{(row.repo_id or '').replace('/', '--')}" / "snapshots" / (row.revision or COMMIT)
    snapshot.mkdir(parents=True)
    path = snapshot / row.file().filename
    path.symlink_to(bundled_chat_model())
    return path


def test_a_server_comes_before_a_download_and_that_before_none(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_llm().setting == "none"
    downloaded("Qwen3.5-2B", machine)
    assert choose_llm().setting == "Qwen3.5-2B"
    downloaded("Qwen3.5-4B", machine)
    assert choose_llm().setting == "Qwen3.5-4B"
    monkeypatch.setattr(factory, "discover", lambda: (OLLAMA,))
    assert choose_llm() == ("http://127.0.0.1:9/v1#qwen3.5:2b", "Ollama runs on this machine")


def test_without_discovery_a_download_still_answers(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISCOVER_VARIABLE, "0")
    monkeypatch.setattr(factory, "discover", chat_servers.discover)
    assert choose_llm().reason.startswith("JINA_RAG_DISCOVER is 0, and none is downloaded")
    downloaded("Qwen3.5-2B", machine)
    assert choose_llm().setting == "Qwen3.5-2B"


@pytest.mark.parametrize("setting", [None, "auto"])
def test_what_is_taken_is_logged(
    setting: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jina_rag")
    monkeypatch.setattr(factory, "discover", lambda: (OLLAMA,))
    generator = make_generator(setting)
    assert generator
    assert generator.name == "qwen3.5:2b at http://127.0.0.1:9/v1"
    assert "Answer model: http://127.0.0.1:9/v1#qwen3.5:2b (Ollama runs on this machine)." in caplog.messages


def test_a_downloaded_model_is_taken_by_its_name(machine: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"Download it \(1\.3 GB\) with: jina-rag download Qwen3\.5-2B"):
        make_generator("qwen3.5-2b")
    downloaded("Qwen3.5-2B", machine)
    generator = make_generator("qwen3.5-2b:q4_k_m")
    assert generator
    assert generator.name == "Qwen3.5-2B-Q4_K_M"
