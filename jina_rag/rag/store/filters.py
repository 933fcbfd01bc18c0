"""Which documents a search may find: by source, kind of file, collection, date and metadata."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from jina_rag.formatting import escaped

_GLOB_SIGNS = "*?"

SEPARATOR = os.sep

_CONDITION = re.compile(r"\s*([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Filters:
    """What a document must be like; what is left empty restricts nothing, and all that is given must hold.

    Attributes:
        sources: Files, folders with all below them, or glob patterns such as "*.md" and "reports/2024-*"; one must
            match. `*` stands for slashes too, and what does not begin with one may begin at any folder.
        file_types: Endings of file names, such as ".pdf"; the dot and capitals make no difference.
        collections: Names of collections.
        modified_after: The file was last changed then or later. Without a time zone it is local time.
        modified_before: The file was last changed before then.
        where: What metadata must say, such as "author=Ann Lee", "author=*lee*", "created>=2024-03" or "status!=draft".
            `=` and `!=` take `*` for anything and no notice of the case of ASCII letters; `<`, `<=`, `>` and `>=`
            compare as text, which is right for dates. A document without the key meets `!=` alone.
    """

    sources: Sequence[str] = ()
    file_types: Sequence[str] = ()
    collections: Sequence[str] = ()
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    where: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for a string in the place of several, or a condition that is none."""
        for name in ("sources", "file_types", "collections", "where"):
            several = getattr(self, name)
            if isinstance(several, str):
                raise ValueError(f"{name} takes a list of them, such as [{several!r}].")
            object.__setattr__(self, name, tuple(map(escaped, several)))
        for text in self.where:
            split_condition(text)

    def __bool__(self) -> bool:
        """Whether anything is restricted."""
        return self != Filters()

    def condition(self) -> tuple[str, list[str | int]]:
        """An SQL condition over the manifest's table `documents`, and its parameters; "TRUE" without restrictions."""
        parts = list(self._parts())
        condition = " AND ".join(f"({sql})" for sql, _ in parts) or "TRUE"
        return condition, [parameter for _, parameters in parts for parameter in parameters]

    def chunk_condition(self) -> tuple[str, list[str | int]]:
        """The same over the manifest's table `chunks`."""
        condition, parameters = self.condition()
        if condition == "TRUE":
            return condition, parameters
        return f"chunks.source IN (SELECT source FROM documents WHERE {condition})", parameters  # noqa: S608 - ours

    def _parts(self) -> Iterator[tuple[str, list[str | int]]]:
        if self.sources:
            patterns = [_source_condition(source) for source in self.sources]
            yield " OR ".join(sql for sql, _ in patterns), [value for _, values in patterns for value in values]
        if self.file_types:
            yield _any_of("documents.kind", [f".{kind.lower().lstrip('.')}" for kind in self.file_types])
        if self.collections:
            condition, names = _any_of("value", self.collections)
            yield f"EXISTS (SELECT 1 FROM json_each(documents.collections) WHERE {condition})", names  # noqa: S608 - ours
        if self.modified_after:
            yield "documents.mtime_ns >= ?", [nanoseconds(self.modified_after)]
        if self.modified_before:
            yield "documents.mtime_ns < ?", [nanoseconds(self.modified_before)]
        yield from map(_metadata_condition, self.where)


def split_condition(text: str) -> tuple[str, str, str]:
    """Key, operator and value of a condition on metadata.

    Raises:
        ValueError: it is none.
    """
    found = _CONDITION.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no condition on metadata. Write it as author=Ann or created>=2024-03-01.")
    key, operator, value = found.groups()
    return key, operator, value


def _source_condition(source: str) -> tuple[str, list[str | int]]:
    source = source.replace("/", SEPARATOR).rstrip(SEPARATOR) or SEPARATOR
    is_absolute = source.startswith(SEPARATOR) or (source[1:2] == ":" and SEPARATOR == "\\")
    if any(sign in source for sign in _GLOB_SIGNS):
        source = source.replace("[", "[[]")  # files may be called "notes [1].md", which is to mean that one alone
        globs: list[str | int] = [source] if is_absolute else [source, f"*{SEPARATOR}{source}"]
        return " OR ".join(["documents.source GLOB ?"] * len(globs)), globs
    # As folders, so that all below one is found, too.
    place = f"{source.rstrip(SEPARATOR)}{SEPARATOR}"
    if is_absolute:
        return "instr(documents.source || ?, ?) = 1", [SEPARATOR, place]
    return "instr(documents.source || ?, ?)", [SEPARATOR, f"{SEPARATOR}{place}"]


def _metadata_condition(text: str) -> tuple[str, list[str | int]]:
    key, operator, value = split_condition(text)
    comparison = f"value {operator} ?"
    if operator in ("=", "!="):
        value = re.sub(r"([\\%_])", r"\\\1", value).replace("*", "%")
        comparison = "value LIKE ? ESCAPE '\\'"
    sql = f"EXISTS (SELECT 1 FROM json_each(documents.metadata) WHERE key = ? AND {comparison})"  # noqa: S608 - ours
    return f"{'NOT ' * (operator == '!=')}{sql}", [key, value]


def _any_of(column: str, values: Iterable[str]) -> tuple[str, list[str | int]]:
    found: list[str | int] = list(values)
    return f"{column} IN ({', '.join('?' * len(found))})", found


def nanoseconds(moment: datetime) -> int:
    """Since 1970; what 64 bits can't hold (before 1678 or after 2261) is their smallest or largest number."""
    if not 1678 <= moment.year <= 2261:
        return -(2**63) if moment.year < 1678 else 2**63 - 1
    return int(moment.timestamp() * 1e6) * 1000
