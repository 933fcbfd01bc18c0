"""Which files are documents: what paths, folders and patterns name."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import counted
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.formats.pictures import PICTURE_KINDS
from jina_rag.rag.documents.sources import path_of, source_of

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".jinaragignore"
"""A file of this name at the top of a folder lists what to pass over in it, in the syntax of .gitignore."""

_OTHERS = ("__pycache__/", "node_modules/", "site-packages/")
_KEYS = """
.env .env.* *.env *.pem *.key *.p12 *.pfx *.ppk *.jks *.keystore *.kdbx *.ovpn *.tfvars *.tfstate
id_rsa* id_dsa* id_ecdsa* id_ed25519* .netrc _netrc .pgpass .htpasswd client_secret*.json service?account*.json
"""
_SECRETS = (
    f"{name}.{ending}"
    for name in ("credentials", "passwords", "secret", "secrets")
    for ending in ("cfg", "conf", "csv", "ini", "json", "toml", "txt", "xml", "yaml", "yml")
)
_ALWAYS_EXCLUDED = (*_OTHERS, *_KEYS.split(), *_SECRETS)
"""Other people's files, keys and passwords. A pattern such as `!node_modules/` or `!*.env` brings them back."""

_LONGEST_ENDING = 12
"""What comes after the last dot of a name and is longer is no ending."""
_MAX_ENDINGS = 50
_SHOWN_ENDINGS = 8

_ADDRESS = re.compile(r"(https?|ftps?|s3|gs):/", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?\[]")

FolderErrorCallback = Callable[[Path, DocumentError], None]
"""Called with a folder that can't be listed, and why."""


class FoundFile(NamedTuple):
    """A document that was found.

    Attributes:
        path: Absolute, links followed.
        size: In bytes.
        mtime_ns: When it was changed last, in nanoseconds.
    """

    path: Path
    size: int
    mtime_ns: int


@dataclass
class Skipped:
    """What folders hold that is not read, although it is neither hidden nor excluded.

    Attributes:
        endings: How many files of each kind that can't be read, by their ending in lower case; "" for none.
        n_linked_folders: How many links to folders.
        n_linked_files: How many links to files elsewhere.
    """

    endings: Counter[str] = field(default_factory=Counter)
    n_linked_folders: int = 0
    n_linked_files: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.endings or self.n_linked_folders or self.n_linked_files)

    def __str__(self) -> str:
        """What there is in words: "3 .doc, 1 .msg; 1 linked folder"."""
        common = self.endings.most_common(_SHOWN_ENDINGS)
        n_more = self.endings.total() - sum(n for _, n in common)
        kinds = [f"{n:,} {ending or 'without a known ending'}" for ending, n in common]
        links = [
            counted(n, noun)
            for n, noun in ((self.n_linked_folders, "linked folder"), (self.n_linked_files, "file linked elsewhere"))
            if n
        ]
        return "; ".join(filter(None, (", ".join([*kinds, *([f"{n_more:,} others"] if n_more else [])]), *links)))

    def as_dict(self) -> dict[str, object]:
        """The same for JSON."""
        links = {"linked_folders": self.n_linked_folders, "linked_files": self.n_linked_files}
        return {"endings": dict(self.endings.most_common()), **links}

    def add_file(self, name: str) -> None:
        """Count a file of a kind that can't be read."""
        ending = source_of(Path(name).suffix.lower())
        is_kind = len(ending) <= _LONGEST_ENDING and (ending in self.endings or len(self.endings) < _MAX_ENDINGS)
        self.endings[ending if is_kind else ""] += 1

    def add(self, other: "Skipped") -> None:
        """Count what another has counted."""
        self.endings += other.endings
        self.n_linked_folders += other.n_linked_folders
        self.n_linked_files += other.n_linked_files


def find_documents(
    paths: Iterable[Path | str],
    exclude: Iterable[str] = (),
    *,
    on_error: FolderErrorCallback | None = None,
    skipped: Skipped | None = None,
) -> list[Path]:
    """The documents that `paths` name: files as they are, folders with all that is below them.

    In a folder, these are passed over: hidden files and folders, files of other kinds, files that usually hold keys or
    passwords (`*.env`, `*.pem`, `id_rsa*`, `credentials.json` and the like), and whatever is neither a file nor a
    folder. A symbolic link in it is followed if it leads to a file in the same folder, not if it leads out of it or to
    another folder; a link that is named itself is followed wherever it leads. The result is sorted and holds each file
    once, by its absolute path.

    Args:
        paths: Files, folders, patterns such as `notes/**/*.md`, and file:// addresses of any of them.
        exclude: What to pass over in folders and patterns, in the syntax of .gitignore, each counted from the folder
            or from the pattern's part without wildcards. The lines of a folder's own `.jinaragignore` come before
            these. A file that is named itself is always taken.
        on_error: Called with each folder that can't be listed, which is then passed over; without it, the first raises.
        skipped: Counts what is there and not read.

    Raises:
        DocumentError: a path doesn't exist, a pattern matches nothing, a file was named whose kind can't be read, or a
            folder can't be listed.
        MissingDependencyError: pathspec is not installed.
    """
    patterns = tuple(exclude)
    found: set[Path] = set()
    for path in map(local_path, paths):
        files = match_pattern if is_pattern(path) else files_at
        found.update(file.path for file in files(path, patterns, on_error, skipped))
    return sorted(found)


def files_at(
    path: Path,
    exclude: Sequence[str] = (),
    on_error: FolderErrorCallback | None = None,
    skipped: Skipped | None = None,
) -> Iterator[FoundFile]:
    """The document at a path, or those below it. Arguments and errors as those of `find_documents`.

    `skipped` counts what is there and not read.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise DocumentError(f"There is no file or folder {path}. Check the spelling.") from error
    if stat.S_ISDIR(status.st_mode):
        yield from _Folder(path, exclude, on_error, skipped).documents()
        return
    check_kind(path)
    if not stat.S_ISREG(status.st_mode):
        raise DocumentError(f"{path} is no ordinary file. Leave it out.")
    yield FoundFile(path.resolve(), status.st_size, status.st_mtime_ns)


def match_pattern(
    pattern: Path,
    exclude: Sequence[str] = (),
    on_error: FolderErrorCallback | None = None,
    skipped: Skipped | None = None,
) -> Iterator[FoundFile]:
    """The documents that a pattern matches, and those in the folders that it matches. Otherwise as `files_at`."""
    fixed = next(place for place, part in enumerate(pattern.parts) if _WILDCARD.search(part))
    base = Path(*pattern.parts[:fixed])
    try:
        # Path.glob follows no links to folders, unlike the glob module, which may never end in them.
        matches = list(base.glob(str(Path(*pattern.parts[fixed:])))) if _exists(base) else []
    except ValueError as error:
        raise DocumentError(
            f"The pattern {pattern} can't be understood ({error}). Write ** as a folder, as in notes/**/*.md."
        ) from error
    if not matches:
        raise DocumentError(f"The pattern {pattern} fits no file or folder. Check the spelling.")
    folder = _Folder(base, exclude, on_error, skipped)
    for match in matches:
        if not folder.passes_over(match.relative_to(base), is_folder=match.is_dir()):
            yield from folder.documents_at(match.relative_to(base))


def local_path(path: Path | str) -> Path:
    """A path as it is, a file:// address as the path in it, a source as the path that it is of.

    Raises:
        DocumentError: it is another kind of address.
    """
    text = str(path)
    if text.startswith("file:/"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname  # loads http and ssl

        return Path(url2pathname(urlsplit(text).path))
    if _ADDRESS.match(text):
        raise DocumentError(f"{text} is an address, and only files are read. Download it and add the file.")
    as_shown = path_of(text)
    return as_shown if not os.path.lexists(text) and os.path.lexists(as_shown) else Path(text)


def is_pattern(path: Path) -> bool:
    """Whether a path has wildcards, and there is no file or folder of just this name."""
    return bool(_WILDCARD.search(str(path))) and not _exists(path)


def exclusions(patterns: Iterable[str]) -> "GitIgnoreSpec":
    """What is passed over in folders: keys, passwords, other people's files, and what `patterns` name.

    Raises:
        DocumentError: a pattern can't be understood.
        MissingDependencyError: pathspec is not installed.
    """
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise MissingDependencyError.for_extra("pathspec", "rag") from error

    try:
        return GitIgnoreSpec.from_lines([*_ALWAYS_EXCLUDED, *patterns])
    except ValueError as error:
        raise DocumentError(
            f"A pattern to exclude can't be understood ({error}). Write it as in .gitignore."
        ) from error


def check_kind(path: Path) -> None:
    """Make sure that a file is of a kind that can be read.

    Raises:
        DocumentError: it isn't.
    """
    if path.suffix.lower() not in READERS:
        if path.suffix.lower() in PICTURE_KINDS:
            raise MissingDependencyError.for_extra("rapidocr", "ocr")
        raise DocumentError(
            f"{path} isn't a supported file type. Add PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx), "
            "OpenDocument (.odt, .ods, .odp), RTF, EPUB, HTML, Markdown, text, CSV, JSON, mail (.eml), source code or "
            "pictures (PNG, JPEG, TIFF, WebP)."
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False


class _Folder:
    """A folder that is searched for documents."""

    def __init__(
        self, path: Path, exclude: Sequence[str], on_error: FolderErrorCallback | None, skipped: Skipped | None
    ) -> None:
        self._root = path.resolve()
        self._skipped = Skipped() if skipped is None else skipped
        self._excluded = exclusions([*_own_exclusions(self._root), *exclude])
        self._on_error = on_error

    def documents(self, below: str = "") -> Iterator[FoundFile]:
        """The documents in the folder, or in the one `below` it."""
        for entry in self._entries(below):
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not self._excluded.match_file(f"{name}/"):
                    yield from self.documents(name)
            elif not self._excluded.match_file(name):
                yield from self._document(entry)

    def _document(self, entry: os.DirEntry[str]) -> Iterator[FoundFile]:
        """The document that is this file, if it is one."""
        is_link = entry.is_symlink()
        if Path(entry.name).suffix.lower() in READERS:
            yield from self._file(entry.path, is_link=is_link)
        elif is_link and entry.is_dir():
            self._skipped.n_linked_folders += 1
        elif entry.is_file():
            self._skipped.add_file(entry.name)

    def documents_at(self, name: Path) -> Iterator[FoundFile]:
        """The document of this name, or the documents in the folder of this name."""
        path = self._root / name
        if path.is_dir() and not path.is_symlink():
            yield from self.documents(name.as_posix())
        elif path.suffix.lower() in READERS:
            yield from self._file(str(path), is_link=path.resolve() != path)

    def passes_over(self, name: Path, *, is_folder: bool) -> bool:
        """Whether a pattern's match is hidden or excluded."""
        hidden = any(part.startswith(".") for part in name.parts)
        return hidden or self._excluded.match_file(f"{name.as_posix()}{'/' * is_folder}")

    def _entries(self, below: str) -> list[os.DirEntry[str]]:
        folder = self._root / below
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as os_error:
            error = DocumentError(f"{folder} can't be listed ({os_error.strerror}). Check that it exists and is yours.")
            if self._on_error is None:
                raise error from os_error
            self._on_error(folder, error)
            return []

    def _file(self, path: str, *, is_link: bool) -> Iterator[FoundFile]:
        # What is no link needs no resolving, which would cost more than all the rest.
        target = Path(path).resolve() if is_link else Path(path)
        try:
            status = target.stat()
        except OSError:
            return  # gone meanwhile, or a link to nothing
        if not stat.S_ISREG(status.st_mode):
            self._skipped.n_linked_folders += is_link and stat.S_ISDIR(status.st_mode)
        elif not is_link or self._is_wanted(target):
            yield FoundFile(target, status.st_size, status.st_mtime_ns)

    def _is_wanted(self, target: Path) -> bool:
        """Whether what a link leads to is in the folder, and not excluded by its own name."""
        if not target.is_relative_to(self._root):
            self._skipped.n_linked_files += 1
            return False
        return not self._excluded.match_file(target.relative_to(self._root).as_posix())


def _own_exclusions(root: Path) -> list[str]:
    """The lines of a folder's own file of exclusions."""
    ignore_file = root / IGNORE_FILE
    try:
        return ignore_file.read_text(encoding="utf-8").splitlines() if ignore_file.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{ignore_file} can't be read ({error}). Mend it or remove it.") from error
