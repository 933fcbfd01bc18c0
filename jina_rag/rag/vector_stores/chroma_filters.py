"""Filters as Chroma's `where`. Chroma compares whole values alone; what it can't do is refused, and never left out."""

from collections.abc import Iterator
from typing import Any

from jina_rag.errors import StoreError
from jina_rag.rag.store.filters import Filters, nanoseconds, split_condition


def as_where(filters: Filters) -> Any:  # noqa: ANN401 - what Chroma calls Where has no such type in all versions
    """Chroma's condition; None without filters.

    Raises:
        StoreError: Chroma has no such condition.
    """
    parts = list(_parts(filters))
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else None


def _parts(filters: Filters) -> Iterator[dict[str, Any]]:
    if filters.sources:
        yield {"source": {"$in": [_whole(source) for source in filters.sources]}}
    if filters.file_types:
        yield {"kind": {"$in": [f".{kind.lower().lstrip('.')}" for kind in filters.file_types]}}
    if filters.collections:
        names = [{"collections": {"$contains": name}} for name in filters.collections]
        yield {"$or": names} if len(names) > 1 else names[0]
    if filters.modified_after:
        yield {"mtime_ns": {"$gte": nanoseconds(filters.modified_after)}}
    if filters.modified_before:
        yield {"mtime_ns": {"$lt": nanoseconds(filters.modified_before)}}
    yield from map(_metadata, filters.where)


def _whole(source: str) -> str:
    if any(sign in source for sign in "*?") or not ("://" in source or source.startswith("/") or source[1:2] == ":"):
        raise StoreError(
            f"Chroma finds files by their whole path, and {source!r} is a part of one or a pattern. Name the file from "
            "the root of the disk, or leave it out."
        )
    return source


def _metadata(condition: str) -> dict[str, Any]:
    key, operator, value = split_condition(condition)
    if operator not in ("=", "!=") or "*" in value:
        raise StoreError(
            f"Chroma compares metadata as a whole, and {condition!r} asks for more. Write it as {key}=VALUE, with the "
            "capitals that it has, or leave it out."
        )
    return {key: {"$eq" if operator == "=" else "$ne": value}}
