import errno
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import numpy as np
import pytest
from gguf import GGUFWriter
from huggingface_hub.utils import _http

from jina_rag import Embedder, download, model_files
from jina_rag.errors import ChecksumError, ModelLoadError, ModelNotFoundError, UnknownModelError
from jina_rag.locations import file_sha256, find_model_file
from jina_rag.model_files import choose_model, ensure_model_file, is_on_this_machine
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, ModelFile, ModelSpec, get_model_spec
from tests.hub import COMMIT, Fault, Hub, serve_hub

NOTICE = "The weights of tiny are for testing only."
SPEC = ModelSpec(
    name="tiny",
    dimensions=8,
    max_input_tokens=16,
    pooling="last",
    license="MIT",
    license_notice=NOTICE,
    files=(
        ModelFile(quantization="F32", filename="tiny-F32.gguf"),
        ModelFile(quantization="Q8_0", filename="tiny-Q8_0.gguf"),
    ),
    default_quantization="F32",
    repo_id="owner/tiny-GGUF",
)
SERVED_NAME = "owner/tiny-GGUF/tiny-F32.gguf"
FIND = """
import sys
from pathlib import Path
from tests.test_download import SPEC
from jina_rag.model_files import ensure_model_file
print(ensure_model_file(SPEC, show_progress=sys.argv[1:] != ["quiet"]))
"""

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = GGUFWriter(path, "qwen3")
    writer.add_tensor("token_embd.weight", np.arange(50_000, dtype=np.float32).reshape(-1, 50))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.files[SERVED_NAME] = content
        _point_client_to(hub.url, monkeypatch)
        yield hub
        _close_client()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    _point_client_to(f"http://127.0.0.1:{port}", monkeypatch)
    yield
    _close_client()


def _point_client_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client reads its variables once, when it is imported.
    from huggingface_hub import constants

    _close_client()
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "RETRY_WAITS_S", (0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)


def _close_client() -> None:
    from huggingface_hub import close_session

    close_session()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def no_bundled_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "bundled_package_installed", lambda: False)


def _pinned(content: bytes) -> ModelSpec:
    checksum = hashlib.sha256(content).hexdigest()
    file = replace(SPEC.files[0], size_bytes=len(content), sha256=checksum)
    return replace(SPEC, files=(file,), revision=COMMIT)


def test_file_is_fetched_once(hub: Hub, content: bytes, tmp_path: Path) -> None:
    path = ensure_model_file(SPEC, cache_dir=tmp_path)
    n_requests = len(hub.requests)
    assert path.read_bytes() == content
    assert ensure_model_file(SPEC, "f32", cache_dir=tmp_path) == path
    assert len(hub.requests) == n_requests


def test_file_of_a_pinned_revision_is_asked_for_by_its_commit(hub: Hub, content: bytes, tmp_path: Path) -> None:
    path = ensure_model_file(_pinned(content), cache_dir=tmp_path)
    assert path.parent.name == COMMIT
    assert {request.path for request in hub.requests} == {f"/owner/tiny-GGUF/resolve/{COMMIT}/tiny-F32.gguf"}


@pytest.mark.usefixtures("hub")
def test_cached_file_needs_no_network(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = ensure_model_file(SPEC, cache_dir=tmp_path)
    request.getfixturevalue("offline")
    assert ensure_model_file(SPEC, cache_dir=tmp_path) == path


def test_presence_is_told_without_fetching(hub: Hub, tmp_path: Path) -> None:
    assert not is_on_this_machine(SPEC, cache_dir=tmp_path)
    assert find_model_file(SPEC, cache_dir=tmp_path) is None
    assert hub.requests == []
    ensure_model_file(SPEC, cache_dir=tmp_path)
    assert is_on_this_machine(SPEC, cache_dir=tmp_path)
    assert not is_on_this_machine(SPEC, "Q8_0", cache_dir=tmp_path)
    assert is_on_this_machine(get_model_spec(BUNDLED_MODEL))


def test_force_fetches_again(hub: Hub, content: bytes, tmp_path: Path) -> None:
    path = ensure_model_file(SPEC, cache_dir=tmp_path)
    path.write_bytes(b"damaged")
    with pytest.raises(ModelLoadError, match="--force"):
        Embedder.from_file(ensure_model_file(SPEC, cache_dir=tmp_path), SPEC)
    assert ensure_model_file(SPEC, cache_dir=tmp_path, force=True).read_bytes() == content
    assert hub.methods.count("GET") == 2


def test_cut_transfer_is_resumed(hub: Hub, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # what it keeps is whole chunks
    hub.fail(Fault("GET", cut_after=100_000))
    assert ensure_model_file(SPEC, cache_dir=tmp_path).read_bytes() == content
    assert [request.range for request in hub.requests if request.method == "GET"] == [None, "bytes=100000-"]


@pytest.mark.parametrize("pinned", [True, False])
def test_wrong_bytes_are_removed(hub: Hub, content: bytes, tmp_path: Path, pinned: bool) -> None:
    hub.wrong_contents[SERVED_NAME] = content[:-1] + b"?"
    with pytest.raises(ChecksumError, match="jina-rag download tiny:F32"):
        ensure_model_file(_pinned(content) if pinned else SPEC, cache_dir=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size == len(content)]
    hub.wrong_contents.clear()
    assert ensure_model_file(SPEC, cache_dir=tmp_path).read_bytes() == content


@pytest.mark.parametrize("etag", ["", "65a1b2c3-1f4", "../../../../outside", "a/../../b", "f" * 63])
@pytest.mark.parametrize("from_request", [0, 1])
def test_an_etag_that_is_no_checksum_is_refused(hub: Hub, tmp_path: Path, etag: str, from_request: int) -> None:
    """Also one that only the client's own request gets: it makes a path of it."""
    hub.etags = [None] * from_request + [etag] * 10
    folder = tmp_path / "a" / "b" / "c" / "cache"
    if not etag or "/" in etag:
        for allow_unverified in (False, True):
            with pytest.raises(ModelNotFoundError, match="unsafe name"):
                ensure_model_file(SPEC, cache_dir=folder, allow_unverified=allow_unverified)
    elif from_request == 0:
        with pytest.raises(ChecksumError, match=r"names no checksum.*--allow-unverified"):
            ensure_model_file(SPEC, cache_dir=folder)
        assert "GET" not in hub.methods
        with suppress(ModelNotFoundError):
            ensure_model_file(SPEC, cache_dir=folder, allow_unverified=True)
    else:
        with suppress(ModelNotFoundError):
            ensure_model_file(SPEC, cache_dir=folder)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(folder)]
    assert outside == []


def test_a_session_that_the_client_renews_is_guarded_too(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a connection that was not made the client closes its session and opens another by itself."""
    failing = [False, True]  # the request for the record, and the first of the download

    class Flaky(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if failing and failing.pop(0):
                raise httpx2.ConnectError("broken", request=request)
            return super().handle_request(request)

    monkeypatch.setattr(_http, "_GLOBAL_CLIENT_FACTORY", lambda: httpx2.Client(transport=Flaky()))
    huggingface_hub.close_session()
    hub.etags = [None, *["../../../../outside"] * 10]
    folder = tmp_path / "a" / "b" / "c" / "cache"
    with pytest.raises(ModelNotFoundError, match="unsafe name"):
        ensure_model_file(SPEC, cache_dir=folder)
    assert failing == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(folder)]


def test_a_file_without_checksum_is_taken_when_told_so(hub: Hub, content: bytes, tmp_path: Path) -> None:
    hub.etags = ["65a1b2c3-1f4"] * 10
    assert ensure_model_file(SPEC, cache_dir=tmp_path, allow_unverified=True).read_bytes() == content


def test_a_checksum_that_is_known_here_needs_none_of_the_hub(hub: Hub, content: bytes, tmp_path: Path) -> None:
    hub.etags = ["65a1b2c3-1f4"] * 20
    assert ensure_model_file(_pinned(content), cache_dir=tmp_path / "good").read_bytes() == content
    hub.wrong_contents[SERVED_NAME] = content[:-1] + b"?"
    with pytest.raises(ChecksumError, match="It has been removed"):
        ensure_model_file(_pinned(content), cache_dir=tmp_path / "bad")


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_git_keeps_is_checked_by_its_own_checksum(
    hub: Hub, content: bytes, tmp_path: Path, is_whole: bool
) -> None:
    hub.etags = [hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()] * 10
    if not is_whole:
        hub.wrong_contents[SERVED_NAME] = content[:-1] + b"?"
    with nullcontext() if is_whole else pytest.raises(ChecksumError, match="has been removed"):
        ensure_model_file(SPEC, cache_dir=tmp_path)


def test_a_commit_that_is_a_path_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.commit = "../../../outside"
    with pytest.raises(ModelNotFoundError, match="unsafe name"):
        ensure_model_file(SPEC, cache_dir=tmp_path / "a" / "cache")
    assert not [path for path in tmp_path.rglob("*tiny*") if not path.is_relative_to(tmp_path / "a" / "cache")]


def test_file_that_differs_from_our_record_is_not_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="Upgrade jina-rag"):
        ensure_model_file(_pinned(b"another file"), cache_dir=tmp_path)
    assert "GET" not in hub.methods


def test_downloaded_file_that_is_no_model_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files[SERVED_NAME] = b"<html>"
    with pytest.raises(ModelLoadError, match="begins with"):
        ensure_model_file(SPEC, cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("status", "error_code", "message"),
    [
        (404, "RepoNotFound", "no repository owner/tiny-GGUF.*from_file"),
        (404, "EntryNotFound", "no file tiny-F32.gguf at revision main.*F32, Q8_0"),
        (404, "RevisionNotFound", "no revision main of repository owner/tiny-GGUF"),
        (401, None, "HF_TOKEN"),
        (401, "RepoNotFound", "hf auth login"),
        (401, "GatedRepo", "accepted the terms.*/owner/tiny-GGUF"),
        (403, "GatedRepo", "accepted the terms"),
        (403, None, "accepted the terms"),
        (410, None, "answers 410"),
    ],
)
def test_refusals_are_explained(hub: Hub, tmp_path: Path, status: int, error_code: str | None, message: str) -> None:
    hub.refuse_all(status, error_code)
    with pytest.raises(ModelNotFoundError, match=message):
        ensure_model_file(SPEC, cache_dir=tmp_path)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [429, 503])
def test_passing_trouble_is_waited_out(
    hub: Hub, content: bytes, tmp_path: Path, status: int, method: Any, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.fail(Fault(method, status))
    assert ensure_model_file(SPEC, cache_dir=tmp_path, force=force).read_bytes() == content


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_lasting_trouble_is_explained(hub: Hub, tmp_path: Path, method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.fail(Fault(method, 503, times=1000))
    with pytest.raises(ModelNotFoundError, match=f"answers 503.*{BUNDLED_MODEL}"):
        ensure_model_file(SPEC, cache_dir=tmp_path)
    assert len(hub.requests) < 20


def test_server_that_is_no_hub_is_explained(hub: Hub, tmp_path: Path) -> None:
    hub.commit = None
    with pytest.raises(ModelNotFoundError, match="HF_ENDPOINT"):
        ensure_model_file(SPEC, cache_dir=tmp_path)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("force", [False, True])
def test_no_connection_is_explained(tmp_path: Path, force: bool) -> None:
    with pytest.raises(ModelNotFoundError, match=rf"Check the network.*from_file\(path, 'tiny'\).*{BUNDLED_MODEL}"):
        ensure_model_file(SPEC, cache_dir=tmp_path, force=force)


@pytest.mark.usefixtures("hub", "offline")
@pytest.mark.parametrize("force", [False, True])
def test_offline_mode_is_explained(tmp_path: Path, force: bool) -> None:
    with pytest.raises(ModelNotFoundError, match=f"HF_HUB_OFFLINE.*{BUNDLED_MODEL}"):
        ensure_model_file(SPEC, cache_dir=tmp_path, force=force)


def test_little_space_is_noticed_before_the_download(
    hub: Hub, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10**9, 10**9 - 1000, 1000))
    cache_dir = tmp_path / "not" / "yet"
    with pytest.raises(ModelNotFoundError, match=rf"no room in .*yet: .*{len(content):,} bytes and 1,000 are free"):
        ensure_model_file(SPEC, cache_dir=cache_dir)
    assert "GET" not in hub.methods


@pytest.mark.usefixtures("hub")
def test_full_disk_is_explained(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_to_full_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", write_to_full_disk)
    with pytest.raises(ModelNotFoundError, match=f"{len(content):,} bytes, and the disk is full"):
        ensure_model_file(SPEC, cache_dir=tmp_path)
    assert not list(tmp_path.rglob("*.incomplete"))


@pytest.mark.usefixtures("hub")
def test_cache_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFoundError, match="HF_HOME"):
        ensure_model_file(SPEC, cache_dir=tmp_path / "file" / "folder")


@pytest.mark.usefixtures("hub")
def test_notice_comes_before_the_first_download_only(tmp_path: Path) -> None:
    notices: list[str] = []
    for _ in range(2):
        ensure_model_file(SPEC, cache_dir=tmp_path, on_notice=notices.append)
    assert notices == [NOTICE]


@pytest.mark.usefixtures("hub")
def test_notice_is_logged_unless_it_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ensure_model_file(SPEC, cache_dir=tmp_path)
    assert (logging.WARNING, NOTICE) in [(record.levelno, record.message) for record in caplog.records]


def test_unknown_quantization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="F32, Q8_0"):
        ensure_model_file(SPEC, "Q1_0", cache_dir=tmp_path)


def test_model_without_repository_comes_from_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JINA_RAG_CACHE", str(tmp_path))
    assert find_model_file(get_model_spec(BUNDLED_MODEL), "f16") is None
    path = ensure_model_file(get_model_spec(BUNDLED_MODEL), "f16")
    assert path == find_model_file(get_model_spec(BUNDLED_MODEL), "f16")
    assert path.is_relative_to(tmp_path)


def test_client_follows_its_environment(hub: Hub, content: bytes, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_test", "TQDM_POSITION": "-1"}
    first = _run_find(environment)
    path = Path(first.stdout.strip())
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes() == content
    assert "tiny-F32.gguf: 100%" in first.stderr
    assert NOTICE in first.stderr
    assert {request.authorization for request in hub.requests} == {"Bearer hf_test"}

    n_requests = len(hub.requests)
    assert _run_find(environment | {"HF_HUB_OFFLINE": "1"}).stdout == first.stdout
    assert len(hub.requests) == n_requests


def test_progress_can_be_silenced(hub: Hub, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "TQDM_POSITION": "-1"}
    assert _run_find(environment, "quiet").stderr.strip() == NOTICE


def _run_find(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", FIND, *arguments],
        env=inherited | environment | {"NO_PROXY": "127.0.0.1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )


def test_auto_takes_the_default_model_where_the_hub_answers(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jina_rag")
    hub.refuse_all(401)
    assert choose_model(cache_dir=tmp_path) == DEFAULT_MODEL
    assert hub.methods == ["HEAD"]
    assert f"auto takes {DEFAULT_MODEL}: the hub answers." in caplog.messages


@pytest.mark.usefixtures("hub")
def test_auto_takes_the_default_model_where_it_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(model_files, "get_model_spec", lambda _: SPEC)
    ensure_model_file(SPEC, cache_dir=tmp_path)
    request.getfixturevalue("offline")
    assert choose_model(cache_dir=tmp_path) == DEFAULT_MODEL


@pytest.mark.usefixtures("no_hub")
def test_auto_takes_the_bundled_model_without_a_hub(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jina_rag")
    assert choose_model(cache_dir=tmp_path) == BUNDLED_MODEL
    assert f"auto takes {BUNDLED_MODEL}: the hub cannot be reached" in caplog.text


@pytest.mark.usefixtures("hub", "offline")
def test_auto_takes_the_bundled_model_offline(tmp_path: Path) -> None:
    assert choose_model(cache_dir=tmp_path) == BUNDLED_MODEL


def test_auto_takes_the_bundled_model_while_the_hub_is_broken(hub: Hub, tmp_path: Path) -> None:
    hub.refuse_all(503)
    assert choose_model(cache_dir=tmp_path) == BUNDLED_MODEL
    assert hub.methods == ["HEAD"]


@pytest.mark.usefixtures("no_hub", "no_bundled_package")
def test_auto_falls_back_to_the_default_model(tmp_path: Path) -> None:
    assert choose_model(cache_dir=tmp_path) == DEFAULT_MODEL


@pytest.mark.usefixtures("hub")
def test_checksum_of_a_cached_file_is_its_blob_name(content: bytes, tmp_path: Path) -> None:
    path = ensure_model_file(SPEC, cache_dir=tmp_path)
    assert file_sha256(path) == path.resolve().name == hashlib.sha256(content).hexdigest()


def test_checksum_of_a_blob_in_a_shared_store_is_not_the_name_there(tmp_path: Path) -> None:
    checksum, other_hash = "a" * 64, "b" * 64
    (tmp_path / "blobs").mkdir()
    (tmp_path / other_hash).write_bytes(b"weights")
    (tmp_path / "blobs" / checksum).symlink_to(tmp_path / other_hash)
    (tmp_path / "model.gguf").symlink_to(Path("blobs") / checksum)
    assert file_sha256(tmp_path / "model.gguf") == checksum


def test_checksum_of_any_file_is_computed_and_notices_changes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for content in (b"first", b"second!"):
        path.write_bytes(content)
        assert file_sha256(path) == hashlib.sha256(content).hexdigest()
