"""Filters as an SQL condition for LanceDB (DataFusion): all of them, as the index folder understands them."""

import json
import re
from collections.abc import Iterator

from jina_rag.rag.store.filters import Filters, nanoseconds, split_condition


def as_sql(filters: Filters) -> str | None:
    """The condition over the columns of `rows.row_schema`; None without filters."""
    return " AND ".join(f"({part})" for part in _parts(filters)) or None


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _parts(filters: Filters) -> Iterator[str]:
    if filters.sources:
        yield " OR ".join(_source(source) for source in filters.sources)
    if filters.file_types:
        kinds = (quoted("." + kind.lower().lstrip(".")) for kind in filters.file_types)
        yield f"kind IN ({', '.join(kinds)})"
    if filters.collections:
        yield " OR ".join(f"array_has(collections, {quoted(name)})" for name in filters.collections)
    if filters.modified_after:
        yield f"mtime_ns >= {nanoseconds(filters.modified_after)}"
    if filters.modified_before:
        yield f"mtime_ns < {nanoseconds(filters.modified_before)}"
    yield from map(_metadata, filters.where)


def _source(source: str) -> str:
    """A file, a folder with all below it, or a pattern; what is not written from the root may begin at any folder."""
    source = source.rstrip("/") or "/"
    is_pattern = any(sign in source for sign in "*?")
    like = re.sub(r"([\\%_])", r"\\\1", source).replace("*", "%").replace("?", "_")
    begins = [like] if source.startswith("/") or "://" in source else [like, f"%/{like}"]
    patterns = begins if is_pattern else [pattern for begin in begins for pattern in (begin, f"{begin.rstrip('/')}/%")]
    return " OR ".join(rf"source LIKE {quoted(pattern)} ESCAPE '\'" for pattern in patterns)


_ANYTHING = r'(?:[^"\\]|\\.)*'  # within a string of JSON; Rust's regular expressions take linear time


def _metadata(condition: str) -> str:
    """Of the JSON object in `metadata`, whose strings escape quotes: so a key between quotes is one."""
    key, operator, value = split_condition(condition)
    begin = rf"[{{ ]{re.escape(_in_json(key))}: "
    if operator in ("=", "!="):
        parts = [re.escape(_in_json(part)[1:-1]) for part in value.split("*")]
        whole = quoted(f'{begin}"{_ANYTHING.join(parts)}"')
        return f"{'NOT ' * (operator == '!=')}regexp_like(metadata, {whole}, 'i')"
    stored = quoted(f'^.*{begin}"({_ANYTHING})".*$')
    compared = rf"regexp_replace(metadata, {stored}, '\1') {operator} {quoted(value)}"
    return f"regexp_like(metadata, {quoted(begin)}) AND {compared}"


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
