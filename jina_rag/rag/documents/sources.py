r"""What a file is called in an index: its path, as text that a database, JSON and a screen take.

On POSIX systems names are bytes. Python keeps those that are not UTF-8 as surrogates (`os.fsdecode`), which can neither
be stored nor shown, so a source has them as `\xe9`. A name that has just these four characters keeps its backslash as
`\x5c`, so that every path has a source of its own and every source leads back to its file.
"""

import os
import re
from pathlib import Path

from jina_rag.formatting import escaped

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f]|5c)")
_HAS_BYTES = os.name == "posix"


def source_of(path: Path | str) -> str:
    """What a path is called in an index."""
    text = str(path)
    return escaped(_LOOKS_ESCAPED.sub(r"\\x5c", text)) if _HAS_BYTES else text


def path_of(source: str) -> Path:
    """The path that `source_of` was given."""
    return Path(_ESCAPED.sub(_as_it_was, source) if _HAS_BYTES else source)


def _as_it_was(escape: re.Match[str]) -> str:
    byte = int(escape[1], 16)
    return "\\" if byte == ord("\\") else chr(0xDC00 + byte)
