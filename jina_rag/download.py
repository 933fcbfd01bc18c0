"""Finding a model's file: on this machine, on the hub, or inside an installed package.

The hub's own cache and client are used, so its settings hold here too: HF_HOME, HF_TOKEN, HF_ENDPOINT and
HF_HUB_OFFLINE. What is added: a downloaded file is checked against the published checksum, and whatever goes wrong is
explained by one of our errors.
"""

import errno
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jina_rag.bundled import bundled_model_file, bundled_package_installed
from jina_rag.errors import ChecksumError, ModelNotFoundError
from jina_rag.gguf_file import read_gguf_header
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, ModelFile, ModelSpec, get_model_spec
from jina_rag.quantize import is_quantized_here, quantized_model_file

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata
    from huggingface_hub.errors import HfHubHTTPError

_logger = logging.getLogger("jina_rag")

_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_QUICK_TIMEOUT_S = 3.0
_RETRY_WAITS_S = (1.0, 4.0)  # after a transfer that broke
_TOO_MANY_REQUESTS = 429
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def find_model_file(
    spec: ModelSpec,
    quantization: str | None = None,
    *,
    cache_dir: Path | None = None,
    force: bool = False,
    show_progress: bool = True,
    on_notice: Callable[[str], None] | None = None,
) -> Path:
    """The GGUF file of a model; the network is used only if the file is not on this machine.

    A quantisation that is made here, not fetched, is found where `quantize_model` put it.

    Args:
        spec: The model's row.
        quantization: How the weights are stored; None takes the model's default.
        cache_dir: Where the hub keeps its files; None for its usual place.
        force: Fetch the file again although it is here.
        show_progress: Draw a bar on stderr while it is fetched, if that is a terminal.
        on_notice: Takes the licence notice before a first download; None logs it as a warning.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the file is not here and could not be fetched.
        ChecksumError: the fetched file is not the published one; it has been removed.
        ModelLoadError: the file is damaged.
        MissingDependencyError: the model comes with a package that is not installed.
    """
    file = spec.file(quantization)
    if file.made_here:
        return quantized_model_file(spec, file.quantization)
    if spec.repo_id is None:
        return bundled_model_file(spec, file.quantization)
    wanted = _HubFile(spec, file, spec.repo_id, cache_dir or _hub_cache())
    path = None if force else wanted.cached()
    if path is None:
        path = wanted.fetch(force=force, show_progress=show_progress, on_notice=on_notice or _logger.warning)
    read_gguf_header(path)
    return path


def is_on_this_machine(spec: ModelSpec, quantization: str | None = None, *, cache_dir: Path | None = None) -> bool:
    """Whether `find_model_file` would do without the network.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the hub's cache can't be read.
    """
    file = spec.file(quantization)
    if spec.repo_id is None:
        return bundled_package_installed()
    if file.made_here:
        return is_quantized_here(spec, file.quantization)
    return _HubFile(spec, file, spec.repo_id, cache_dir or _hub_cache()).cached() is not None


def published_size(spec: ModelSpec, quantization: str | None = None) -> int | None:
    """How many bytes a download has, asked of the hub where the model's row doesn't tell; None if nobody says.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the hub can't be reached, or has no such file.
    """
    file = spec.file(quantization)
    if file.size_bytes or spec.repo_id is None:
        return file.size_bytes
    return _HubFile(spec, file, spec.repo_id, _hub_cache())._record().size


def choose_model(*, cache_dir: Path | None = None) -> str:
    """The model that "auto" stands for: the default one where it can be had, else the bundled one.

    If neither can be had it is the default one, whose error then explains.
    """
    name, reason = _choice(cache_dir)
    _logger.info("auto takes %s: %s.", name, reason)
    return name


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; known at once for a file in the hub's cache, else read once per process.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _sha256_in_link(path) or _sha256(path.resolve(), status.st_size, status.st_mtime_ns)


def _choice(cache_dir: Path | None) -> tuple[str, str]:
    spec = get_model_spec(DEFAULT_MODEL)
    assert spec.repo_id is not None
    wanted = _HubFile(spec, spec.file(), spec.repo_id, cache_dir or _hub_cache())
    if wanted.cached():
        return DEFAULT_MODEL, "its file is on this machine"
    problem = wanted.why_unreachable()
    if problem is None:
        return DEFAULT_MODEL, "the hub answers"
    if bundled_package_installed():
        return BUNDLED_MODEL, f"the hub cannot be reached ({problem})"
    return DEFAULT_MODEL, f"the hub cannot be reached ({problem}), and the package of {BUNDLED_MODEL} is not installed"


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@dataclass(frozen=True)
class _HubFile:
    """One file of a repository on the hub, and the folder of the hub's cache that it belongs in."""

    spec: ModelSpec
    file: ModelFile
    repo_id: str
    cache_dir: Path

    @property
    def revision(self) -> str:
        return self.spec.revision or "main"

    @property
    def url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo_id, self.file.filename, revision=self.revision)

    def cached(self) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        with self._explained():
            path = try_to_load_from_cache(self.repo_id, self.file.filename, self.cache_dir, self.revision)
        return Path(path) if isinstance(path, str) else None  # it may also be a note that there is no such file

    def why_unreachable(self) -> str | None:
        """A short reason, or None if the hub answers; a refusal is an answer too, and explained at the download."""
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import HfHubHTTPError

        try:
            record = get_hf_file_metadata(self.url, timeout=_QUICK_TIMEOUT_S)
        except HfHubHTTPError as error:
            status = error.response.status_code
            return f"it answers {status}" if status >= 500 else None
        except (_http_error(), OSError) as error:
            return str(error)
        return None if record.commit_hash else "something else answers in its place"

    def fetch(self, *, force: bool, show_progress: bool, on_notice: Callable[[str], None]) -> Path:
        """Download the file and check that it is the published one."""
        record = self._record()
        size, sha256 = self._published(record)
        self._check_free_space(size)
        if self.spec.license_notice:
            on_notice(self.spec.license_notice)
        path = self._download(size, force=force, show_progress=show_progress)
        self._check_download(path, size, sha256)
        return path

    def _record(self) -> "HfFileMetadata":
        """What the hub says of the file: commit, size and checksum."""
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import FileMetadataError, HfHubHTTPError

        with self._explained():
            try:
                record = get_hf_file_metadata(self.url)
            except HfHubHTTPError as error:
                if not _is_temporary(error):
                    raise
                record = get_hf_file_metadata(self.url, retry_on_errors=True)
            if record.commit_hash is None:
                raise FileMetadataError("the answer is not one of the hub")
        return record

    def _published(self, record: "HfFileMetadata") -> tuple[int | None, str | None]:
        """Size in bytes and SHA-256 of the published file, as far as our row or the hub's record knows them."""
        recorded = record.etag if record.etag and _SHA256_PATTERN.fullmatch(record.etag) else None
        if self.file.sha256 and recorded and recorded != self.file.sha256:
            raise ChecksumError(
                f"The hub's {self.file.filename} has the SHA-256 {recorded} and the one known here has "
                f"{self.file.sha256}. Upgrade jina-rag, or pass a file of your own: {self._from_file}"
            )
        return self.file.size_bytes or record.size, self.file.sha256 or recorded

    def _check_free_space(self, size: int | None) -> None:
        folder = next(folder for folder in (self.cache_dir, *self.cache_dir.absolute().parents) if folder.exists())
        if size is not None and size > (free := shutil.disk_usage(folder).free):
            raise self._no_space(f"{self.file.filename} takes {size:,} bytes and {free:,} are free")

    def _download(self, size: int | None, *, force: bool, show_progress: bool) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        def download() -> str:
            return hf_hub_download(
                self.repo_id,
                self.file.filename,
                revision=self.revision,
                cache_dir=self.cache_dir,
                force_download=force,
            )

        with self._explained(size), nullcontext() if show_progress else disable_progress_bars():
            return Path(_retried(download))

    def _check_download(self, path: Path, size: int | None, sha256: str | None) -> None:
        status = path.stat()
        found_size = size if size is None else status.st_size
        found_sha256 = sha256 and _sha256(path, status.st_size, status.st_mtime_ns)
        if (found_size, found_sha256) == (size, sha256):
            return
        _remove_from_cache(path)
        raise ChecksumError(
            f"The downloaded {self.file.filename} has {found_size} bytes and the SHA-256 {found_sha256}; the published "
            f"one has {size} bytes and {sha256}. It has been removed: fetch it again with: "
            f"jina-rag download {self.spec.name}:{self.file.quantization}"
        )

    @contextmanager
    def _explained(self, size: int | None = None) -> Iterator[None]:
        """Turn what the hub's client raises into our errors; only calls of that client belong inside."""
        try:
            yield
        except (_http_error(), OSError, RuntimeError, ValueError) as error:  # hf_xet raises the third, itself the last
            raise self._explain(_telling_cause(error), size) from error

    def _explain(self, error: BaseException, size: int | None) -> ModelNotFoundError:
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        if isinstance(error, HfHubHTTPError):
            return ModelNotFoundError(self._explain_answer(error))
        if isinstance(error, OfflineModeIsEnabled):
            return ModelNotFoundError(
                f"{self.file.filename} has to be fetched into {self.cache_dir}, and HF_HUB_OFFLINE forbids it. "
                f"Unset that variable, or {self._without_network}"
            )
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            needed = f"{size:,} bytes" if size is not None else "more than there is"
            return self._no_space(f"{self.file.filename} takes {needed}, and the disk is full")
        if isinstance(error, OSError) and error.errno is not None:
            return ModelNotFoundError(
                f"{error.filename or self.cache_dir} cannot be used ({error.strerror}). Check its permissions, or name "
                "another folder for the hub's cache in HF_HOME."
            )
        return ModelNotFoundError(
            f"{self.file.filename} could not be fetched from {self.url} ({error or type(error).__name__}). "
            f"Check the network and HF_ENDPOINT and try again, or {self._without_network}"
        )

    def _explain_answer(self, error: "HfHubHTTPError") -> str:
        from huggingface_hub import errors

        status = error.response.status_code
        login = "Log in with `hf auth login`, or set HF_TOKEN"
        if isinstance(error, errors.GatedRepoError) or status == 403:
            return (
                f"The hub does not let you read {self.repo_id}. {login} to the token of an account that has accepted "
                f"the terms on the model's page ({self.url.partition('/resolve/')[0]})."
            )
        if status == 401:
            return f"The hub wants a valid token for {self.repo_id}, or has no such repository. {login}."
        if isinstance(error, errors.RemoteEntryNotFoundError):
            known = ", ".join(file.quantization for file in self.spec.files)
            return (
                f"{self.repo_id} has no file {self.file.filename} at revision {self.revision}. Try another "
                f"quantisation ({known}), or pass a file of your own: {self._from_file}"
            )
        if status == 404:
            missing = f"revision {self.revision} of " if isinstance(error, errors.RevisionNotFoundError) else ""
            return (
                f"The hub has no {missing}repository {self.repo_id}. Upgrade jina-rag, or pass a file of your own: "
                f"{self._from_file}"
            )
        return f"The hub answers {status} for {self.url}. Try again in some minutes, or {self._without_network}"

    def _no_space(self, problem: str) -> ModelNotFoundError:
        return ModelNotFoundError(
            f"There is no room in {self.cache_dir}: {problem}. Make room, or name another folder in HF_HOME."
        )

    @property
    def _from_file(self) -> str:
        return f"Embedder.from_file(path, {self.spec.name!r})"

    @property
    def _without_network(self) -> str:
        return (
            f"copy the file from another machine and pass its path: {self._from_file}, "
            f"or take the bundled model {BUNDLED_MODEL!r}."
        )


def _retried(download: Callable[[], str]) -> str:
    """Try again after a passing failure: the hub's client resumes a cut transfer, and gives up on a broken answer."""
    for wait_s in _RETRY_WAITS_S:
        try:
            return download()
        except (_http_error(), OSError, ValueError) as error:
            if not _is_temporary(_telling_cause(error)):
                raise
            _logger.warning("The download broke off (%s); trying again in %g s.", error, wait_s)
            time.sleep(wait_s)
    return download()


def _is_temporary(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == _TOO_MANY_REQUESTS
    return isinstance(error, _http_error())


def _telling_cause(error: BaseException) -> BaseException:
    """The error in a chain that says what happened: the hub's client wraps some of them in less telling ones."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (_http_error(), OfflineModeIsEnabled)) or getattr(cause, "errno", None) is not None:
            return cause
        cause = cause.__cause__
    return error


def _http_error() -> type[Exception]:
    # The client's own HTTP library is httpx in its version 1 and httpx2 in its version 2; this is either's base.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return HTTPError


def _sha256_in_link(path: Path) -> str | None:
    """The name of the blob behind a file in the hub's cache, if it is a SHA-256.

    Only one link is followed: the blob may be a link too, into a store whose names look the same and are another hash.
    """
    blob = path.readlink() if path.is_symlink() else path
    is_blob = blob.parent.name == "blobs" and _SHA256_PATTERN.fullmatch(blob.name)
    return blob.name if is_blob else None


@lru_cache(maxsize=64)
def _sha256(path: Path, size_bytes: int, mtime_ns: int) -> str:  # noqa: ARG001 - they tell a changed file from the same
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_from_cache(path: Path) -> None:
    blob = path.parent / path.readlink() if path.is_symlink() else path
    path.unlink()
    blob.unlink(missing_ok=True)
