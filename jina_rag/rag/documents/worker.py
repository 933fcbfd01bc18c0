"""The child process that documents are parsed in: `python -m jina_rag.rag.documents.worker`.

It reads requests from its input, each a line of JSON, {"job": ..., "path": ..., "n_bytes": ..., "arguments": {...},
"max_characters": ..., "seconds": ..., "memory_bytes": ..., "kept_bytes": ..., "idle_seconds": ...}, and the file's
content behind it. It answers each with one line, {"result": ...} or {"error": ..., "message": ...}. After that it ends
if it holds more memory than `kept_bytes`, or gets nothing to do for `idle_seconds`, where they are more than 0.

What comes from a document is parsed here alone, in a process that has given up its rights (see `lockdown`), so that one
that makes its parser hang, grow, crash or obey takes no other process with it and reaches no other file.
"""

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import escaped
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.formats.pages import page_image, passage_boxes, scan
from jina_rag.rag.documents.lockdown import lock_down
from jina_rag.rag.documents.types import (
    MAX_METADATA,
    MAX_METADATA_KEY,
    MAX_METADATA_VALUE,
    Document,
    Page,
    SourceFile,
)

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What neither a database nor a tokenizer takes; a replacement character keeps every place as it is."""
_CHARACTERS_PER_BYTE = 10
"""A large file may have more text than `max_characters`, but no more than its size explains: packed XML has 5 to 10."""
_MAX_TITLE = 200
_MAX_NOTES = 20
_GRACE_SECONDS = 5


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a parser prints is no answer
    memory = _Memory()
    _write(answers, {"ready": lock_down()})
    base_bytes, _ = memory.bytes()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _limit(base_bytes + request["memory_bytes"], request["seconds"])
        answer = _answer(request, sys.stdin.buffer)
        _limit(base_bytes + request["memory_bytes"], request["idle_seconds"])
        # What is held now, not at most: the system counts the parent's as well for that.
        is_large = memory.bytes()[1] > request["kept_bytes"]
        answer["is_last"] = is_large or answer.get("error") == "MemoryError"
        _write(answers, answer)
        if answer["is_last"]:
            return


def _write(file: BinaryIO, answer: dict[str, Any]) -> None:
    file.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    file.flush()


def _answer(request: dict[str, Any], content: BinaryIO) -> dict[str, Any]:
    path = Path(request["path"])
    try:
        data = content.read(request["n_bytes"])
        file = SourceFile(path, data, max(request["max_characters"], _CHARACTERS_PER_BYTE * len(data)))
        return {"result": _JOBS[request["job"]](file, **request["arguments"])}
    except (DocumentError, MissingDependencyError) as error:
        return _error(error, str(error))
    except MemoryError as error:
        return _error(error, "")
    except RecursionError as error:
        return _error(error, f"{path} is nested too deeply to be read. Leave it out, or save it in a simpler form.")
    except Exception as error:  # noqa: BLE001 - parsers answer a damaged file with whatever came of it
        reason = f"{type(error).__name__}: {error}"[:200]
        return _error(error, f"{path} is damaged ({reason}). Save it again from where it came.")


def _error(error: BaseException, message: str) -> dict[str, Any]:
    trace = "" if isinstance(error, MemoryError) else "".join(traceback.format_exception(error, limit=-5))
    return {"error": type(error).__name__, "message": _storable(escaped(message)), "traceback": _storable(trace)}


def _read(file: SourceFile) -> dict[str, Any]:
    document = READERS[file.path.suffix.lower()](file)
    title = " ".join(_storable(escaped(document.title)).split())
    if len(title) > _MAX_TITLE:
        file.notes.append(f"The title has {len(title):,} characters and was cut.")
        title = title[: _MAX_TITLE - 1].rstrip() + "…"
    return {
        "title": title,
        "pages": [_as_json(page) for page in _cut(document, file)],
        "is_markdown": document.is_markdown,
        "metadata": _metadata(document.metadata, file),
        "notes": _notes(file.notes),
        "scans": file.scans,
    }


def _cut(document: Document, file: SourceFile) -> Iterator[Page]:
    """The pages as far as the limit goes, with a note if that isn't all."""
    left = file.max_characters
    for page in document.pages:
        if len(page.text) > left:
            headings = tuple(heading for heading in page.headings if heading.end <= left)
            yield Page(page.number, page.text[:left], headings)
        else:
            yield page
        left -= len(page.text)
        if left < 0:
            break
    if left < 0 or file.n_characters > file.max_characters:
        file.notes.append(
            f"Only the first {file.max_characters:,} characters were read, for there is far more text than the size of "
            "the file promises. Split it to have the rest found."
        )


def _metadata(metadata: Mapping[str, str], file: SourceFile) -> dict[str, str]:
    """What the file says about itself, bounded, with a note if that isn't all."""
    stripped = {_storable(key).strip(): _storable(value).strip() for key, value in metadata.items()}
    given = {key: value for key, value in stripped.items() if key and value}
    kept = {key[:MAX_METADATA_KEY]: value[:MAX_METADATA_VALUE] for key, value in list(given.items())[:MAX_METADATA]}
    if kept != given:
        file.notes.append(
            f"Of {len(given):,} metadata entries at most {MAX_METADATA} are kept, each with at most "
            f"{MAX_METADATA_VALUE} characters."
        )
    return kept


def _notes(notes: list[str]) -> list[str]:
    more = [f"There are {len(notes) - _MAX_NOTES:,} more notes like these."] if len(notes) > _MAX_NOTES else []
    return [_storable(escaped(note)) for note in notes[:_MAX_NOTES] + more]


def _as_json(page: Page) -> list[Any]:
    headings = [[heading.level, _storable(heading.title), heading.start, heading.end] for heading in page.headings]
    return [page.number, _storable(page.text), headings]


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


_JOBS: dict[str, Callable[..., Any]] = {
    "read": _read,
    "passage_boxes": passage_boxes,
    "page_image": page_image,
    "scan": scan,
}


def _limit(memory_bytes: int, seconds: float) -> None:
    """Have the system hold the limits, as far as it can.

    The parent ends a worker that takes too long; the alarm here is for when the parent is gone. 0 seconds turn it off.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, most)
    if sys.platform == "linux":  # elsewhere the limit is refused or not held
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, most))
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_SECONDS if seconds else 0)


class _Memory:
    """How much memory this process has; opened before the file can't be opened any more."""

    def __init__(self) -> None:
        try:
            self._file: BinaryIO | None = open("/proc/self/statm", "rb", buffering=0)  # noqa: SIM115, PTH123 - kept open
        except OSError:
            self._file = None

    def bytes(self) -> tuple[int, int]:
        """The address space in use, and the memory held of it; zeros where the system doesn't say."""
        if not self._file:
            return 0, 0
        self._file.seek(0)
        address_space, resident = map(int, self._file.read(200).split()[:2])
        page_bytes = os.sysconf("SC_PAGE_SIZE")
        return address_space * page_bytes, resident * page_bytes


if __name__ == "__main__":
    main()
