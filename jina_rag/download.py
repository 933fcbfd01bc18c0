"""Downloading a model's file from the hub, and checking that it is the published one.

The hub's own cache and client are used, so its settings hold here too: HF_HOME, HF_TOKEN, HF_ENDPOINT and
HF_HUB_OFFLINE. What is added: a file is checked against its published checksum, nothing that a server sends becomes a
path unchecked, and whatever goes wrong is raised as one of our errors.
"""

import errno
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from jina_rag.bundled import bundled_model_usage
from jina_rag.errors import ChecksumError, ModelNotFoundError
from jina_rag.gguf_file import read_gguf_header
from jina_rag.locations import computed_sha256, hub_cache
from jina_rag.models import DownloadableModel, ModelFile

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

RETRY_WAITS_S = (1.0, 4.0)
"""Seconds to wait after each transfer that broke."""

_logger = logging.getLogger("jina_rag")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")  # of a file that git keeps itself: of "blob", its size, and the file
_FILE_NAME = re.compile(r"[0-9A-Za-z][\w.+-]{0,199}", re.ASCII)
_QUICK_TIMEOUT_S = 3.0
_TOO_MANY_REQUESTS = 429
_factory_lock = Lock()


def download_model_file(
    spec: DownloadableModel,
    file: ModelFile,
    *,
    cache_dir: Path | None = None,
    force: bool = False,
    allow_unverified: bool = False,
    show_progress: bool = True,
    on_notice: Callable[[str], None],
) -> Path:
    """Download a file of a model into the hub's cache, and check that it is the published one.

    Args:
        spec: The model's row.
        file: Which of its files.
        cache_dir: Where the hub keeps its files; None for its usual place.
        force: Download it again although it is here.
        allow_unverified: Take a file that nobody publishes a checksum of.
        show_progress: Draw a bar on stderr, if that is a terminal.
        on_notice: Takes the licence notice before the download.

    Raises:
        ModelNotFoundError: it could not be downloaded.
        ChecksumError: it is not the published file, and has been removed; or it has no checksum.
        ModelLoadError: it is damaged.
    """
    wanted = _HubFile(spec, file, cache_dir or hub_cache())
    record = wanted.record()
    size = file.size_bytes or record.size
    checksum = wanted.checksum(record, allow_unverified=allow_unverified)
    wanted.check_free_space(size)
    if spec.license_notice:
        on_notice(spec.license_notice)
    path = wanted.download(size, force=force, show_progress=show_progress)
    wanted.check_content(path, size, checksum)
    read_gguf_header(path)
    return path


def published_size(spec: DownloadableModel, quantization: str | None = None) -> int | None:
    """How many bytes a download has, asked of the hub where the model's row doesn't say; None if nobody does.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: the hub can't be reached, or has no such file.
    """
    file = spec.file(quantization)
    if file.size_bytes or spec.repo_id is None:
        return file.size_bytes
    return _HubFile(spec, file, hub_cache()).record().size


def why_unreachable(spec: DownloadableModel) -> str | None:
    """Why the hub can't be asked for a model, in short, or None if it answers; a refusal is an answer too."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import HfHubHTTPError

    try:
        record = get_hf_file_metadata(_HubFile(spec, spec.file(), hub_cache()).url, timeout=_QUICK_TIMEOUT_S)
    except HfHubHTTPError as error:
        status = error.response.status_code
        return f"it answers {status}" if status >= 500 else None
    except (_http_error(), OSError) as error:
        return str(error)
    return None if record.commit_hash else "something else answers in its place"


@dataclass(frozen=True)
class _HubFile:
    """One file of a repository on the hub, and the folder of the hub's cache that it belongs in."""

    spec: DownloadableModel
    file: ModelFile
    cache_dir: Path

    @property
    def repo_id(self) -> str:
        assert self.spec.repo_id is not None
        return self.spec.repo_id

    @property
    def revision(self) -> str:
        return self.spec.revision or "main"

    @property
    def url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo_id, self.file.filename, revision=self.revision)

    def record(self) -> "HfFileMetadata":
        """What the hub says of the file: commit, size and checksum."""
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import FileMetadataError, HfHubHTTPError

        _refuse_unsafe_names()
        with self._translated_errors():
            try:
                record = get_hf_file_metadata(self.url)
            except HfHubHTTPError as error:
                if not _is_temporary(error):
                    raise
                record = get_hf_file_metadata(self.url, retry_on_errors=True)
            if record.commit_hash is None:
                raise FileMetadataError("the answer is not one of the hub")
        return record

    def checksum(self, record: "HfFileMetadata", *, allow_unverified: bool) -> str | None:
        """The SHA-256 in the model's row, else the SHA-256 or git's SHA-1 that the hub names as the file's ETag."""
        etag = record.etag or ""
        recorded = etag if _SHA256.fullmatch(etag) or _GIT_SHA1.fullmatch(etag) else None
        if self.file.sha256 and recorded and _SHA256.fullmatch(recorded) and recorded != self.file.sha256:
            raise ChecksumError(
                f"The hub's {self.file.filename} has the SHA-256 {recorded} and the one known here has "
                f"{self.file.sha256}. Upgrade jina-rag, or use a file of your own: {self.spec.file_usage}"
            )
        checksum = self.file.sha256 or recorded
        if checksum is None and not allow_unverified:
            raise ChecksumError(
                f"{self.url} names no checksum (its ETag is {etag[:80]!r}), so nothing shows whether the file is the "
                f"published one. Check HF_ENDPOINT, or take it as it is: jina-rag download "
                f"{self.spec.name}:{self.file.quantization} --allow-unverified"
            )
        return checksum

    def check_free_space(self, size: int | None) -> None:
        folder = next(folder for folder in (self.cache_dir, *self.cache_dir.absolute().parents) if folder.exists())
        if size is not None and size > (free := shutil.disk_usage(folder).free):
            raise ModelNotFoundError(
                f"There is no room in {self.cache_dir}: {self.file.filename} takes {size:,} bytes and {free:,} are "
                "free. Make room, or name another folder in HF_HOME."
            )

    def download(self, size: int | None, *, force: bool, show_progress: bool) -> Path:
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

        _refuse_unsafe_names()
        quiet = nullcontext() if show_progress else disable_progress_bars()
        with self._translated_errors(size), quiet:
            return Path(_retried(download))

    def check_content(self, path: Path, size: int | None, checksum: str | None) -> None:
        found_size = path.stat().st_size
        found = checksum and _digest(path, checksum)
        if found == checksum and size in (None, found_size):
            return
        _remove_from_cache(path)
        raise ChecksumError(
            f"The downloaded {self.file.filename} has {found_size} bytes and the checksum {found}; the published one "
            f"has {size} bytes and {checksum}. It has been removed: download it again with: "
            f"jina-rag download {self.spec.name}:{self.file.quantization}"
        )

    @contextmanager
    def _translated_errors(self, size: int | None = None) -> Iterator[None]:
        """Raise what the hub's client raises as ours, by `_messages`; only calls of that client belong inside."""
        try:
            yield
        except (_http_error(), OSError, RuntimeError, ValueError) as error:  # hf_xet raises the third, itself the last
            cause = _root_cause(error)
            code = _code(cause)
            row = next(
                row for row in _messages() if isinstance(cause, row.type) and (row.codes is None or code in row.codes)
            )
            message = row.message.format(
                cache_dir=self.cache_dir,
                code=code,
                filename=self.file.filename,
                file_usage=self.spec.file_usage,
                page=self.url.partition("/resolve/")[0],
                path=getattr(cause, "filename", None) or self.cache_dir,
                quantizations=", ".join(file.quantization for file in self.spec.files),
                reason=getattr(cause, "strerror", None) or cause or type(cause).__name__,
                repo_id=self.repo_id,
                revision=self.revision,
                size="more than there is" if size is None else f"{size:,} bytes",
                url=self.url,
                without_network=f"copy the file from another machine: {self.spec.file_usage}"
                + (f", or take the bundled model {bundled_model_usage()}." if self.spec.kind == "embedding" else "."),
            )
            raise ModelNotFoundError(message) from error


class _Message(NamedTuple):
    """What to say of an error of a type, with an HTTP status or errno that is one of `codes`; None takes any."""

    type: type[BaseException]
    codes: Container[int] | None
    message: str


@cache
def _messages() -> tuple[_Message, ...]:
    """Errors of the hub's client, the first that fits counts: many inherit from others."""
    from huggingface_hub import errors

    login = "Log in with `hf auth login`, or set HF_TOKEN"
    gated = (
        f"The hub does not let you read {{repo_id}}. {login} to the token of an account that has accepted the terms on "
        "the model's page ({page})."
    )
    return (
        _Message(errors.GatedRepoError, None, gated),
        _Message(errors.HfHubHTTPError, (403,), gated),
        _Message(
            errors.HfHubHTTPError,
            (401,),
            f"The hub wants a valid token for {{repo_id}}, or has no such repository. {login}.",
        ),
        _Message(
            errors.RemoteEntryNotFoundError,
            None,
            "{repo_id} has no file {filename} at revision {revision}. Try another quantisation ({quantizations}), or "
            "use a file of your own: {file_usage}",
        ),
        _Message(
            errors.RevisionNotFoundError,
            None,
            "The hub has no revision {revision} of repository {repo_id}. Upgrade jina-rag, or pass a file of your own: "
            "{file_usage}",
        ),
        _Message(
            errors.HfHubHTTPError,
            (404,),
            "The hub has no repository {repo_id}. Upgrade jina-rag, or use a file of your own: {file_usage}",
        ),
        _Message(
            errors.HfHubHTTPError,
            None,
            "The hub answers {code} for {url}. Try again in some minutes, or {without_network}",
        ),
        _Message(
            errors.OfflineModeIsEnabled,
            None,
            "{filename} has to be downloaded into {cache_dir}, and HF_HUB_OFFLINE forbids it. Unset that variable, or "
            "{without_network}",
        ),
        _Message(
            OSError,
            (errno.ENOSPC, errno.EDQUOT),
            "There is no room in {cache_dir}: {filename} takes {size}, and the disk is full. Make room, or name "
            "another folder in HF_HOME.",
        ),
        _Message(
            OSError,
            errno.errorcode,
            "{path} cannot be used ({reason}). Check its permissions, or name another folder for the hub's cache in "
            "HF_HOME.",
        ),
        _Message(
            BaseException,
            None,
            "{filename} could not be downloaded from {url} ({reason}). Check the network and HF_ENDPOINT and try "
            "again, or {without_network}",
        ),
    )


def _code(error: BaseException) -> int | None:
    """The HTTP status of an answer, or the errno of a system call."""
    response = getattr(error, "response", None)
    code: int | None = response.status_code if response is not None else getattr(error, "errno", None)
    return code


def _refuse_unsafe_names() -> None:
    """Have the hub's client refuse an ETag or commit that is no file name: it makes paths of both, "../" included.

    The client renews its session after a broken connection, so its factory is wrapped: each session has the check.
    """
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    with _factory_lock:
        factory = _http._GLOBAL_CLIENT_FACTORY
        if not isinstance(factory, _GuardedFactory):
            set_client_factory(_GuardedFactory(factory))


@dataclass(frozen=True)
class _GuardedFactory:
    """Makes the hub's sessions as another factory does, with a check of each answer."""

    factory: Callable[[], Any]

    def __call__(self) -> Any:  # noqa: ANN401 - of the client's HTTP library
        session = self.factory()
        session.event_hooks["response"].append(_check_names)
        return session


def _check_names(response: Any) -> None:  # noqa: ANN401 - of the client's HTTP library
    from huggingface_hub.errors import FileMetadataError

    if response.request.method != "HEAD":
        return
    etag = response.headers.get("X-Linked-ETag") or response.headers.get("ETag")
    for name in (etag, response.headers.get("X-Repo-Commit")):
        if name is not None and not _FILE_NAME.fullmatch(name.removeprefix("W/").strip('"')):
            raise FileMetadataError(f"the answer holds the unsafe name {name[:80]!r}")


def _retried(download: Callable[[], str]) -> str:
    """Try again after a passing failure: the hub's client resumes a cut transfer, and gives up on a broken answer."""
    for wait_s in RETRY_WAITS_S:
        try:
            return download()
        except (_http_error(), OSError, ValueError) as error:
            if not _is_temporary(_root_cause(error)):
                raise
            _logger.warning("The download broke off (%s); trying again in %g s.", error, wait_s)
            time.sleep(wait_s)
    return download()


def _is_temporary(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == _TOO_MANY_REQUESTS
    return isinstance(error, _http_error())


def _root_cause(error: BaseException) -> BaseException:
    """The error in a chain that says what happened: the hub's client wraps some of them in less telling ones."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (_http_error(), OfflineModeIsEnabled)) or getattr(cause, "errno", None) is not None:
            return cause
        cause = cause.__cause__
    return error


def _http_error() -> type[Exception]:
    # The base of the errors of the client's HTTP library.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return HTTPError


def _digest(path: Path, like: str) -> str:
    """The checksum of a file of the same kind as another: a SHA-256, or git's SHA-1."""
    status = path.stat()
    if _SHA256.fullmatch(like):
        return computed_sha256(path, status.st_size, status.st_mtime_ns)
    with path.open("rb") as file:
        digest = hashlib.sha1(b"blob %d\0" % status.st_size, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def _remove_from_cache(path: Path) -> None:
    blob = path.parent / path.readlink() if path.is_symlink() else path
    path.unlink()
    blob.unlink(missing_ok=True)
