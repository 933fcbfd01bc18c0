"""Full-text search with BM25 over SQLite's FTS5: finds the names, numbers and codes that vectors blur.

The functions work inside the transaction of the connection that they are handed, so that chunks and their words come
and go together. FTS5 splits text at everything that is not a letter, mark or digit, removes diacritics and reduces
English words to their stems (Porter). Scripts written without blanks (Chinese, Japanese, Korean, Thai and its
neighbours) would be one long word to it, so runs of them are stored as overlapping pairs of characters. Words that
markup or the end of a line cuts are stored whole, their parts behind the text.

The table keeps its own copy of the text in that form. A contentless table would be smaller, but deletes only what it is
given again letter by letter, and another version of Unicode may spell it otherwise.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import groupby
from math import fsum, log
from typing import NamedTuple

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.text.search_text import search_text

TABLES = (
    """CREATE VIRTUAL TABLE lexical USING fts5 (
        title, heading, text, tokenize = "porter unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
    )""",
)
"""What the functions need beside the table `chunks`, as SQL statements; a row's number is that of its chunk."""

MAX_QUERY_TERMS = 256
"""So many words of a query are looked for; of more, the longest, because rare words are long."""

_UNSPACED = re.compile(
    "(["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana and the marks among them
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uac00-\ud7a3"  # Korean has blanks, but hangs its particles on the words
    "]+)"
)
_QUOTES = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u300c\u300d'
_QUOTED = re.compile(f"[{_QUOTES}]([^{_QUOTES}]+)[{_QUOTES}]")
_SLICE = re.compile(r".{1,1000}(?!\S)|.{1,1000}", re.DOTALL)
_ACCENTS = re.compile("[\u0300\u0301\u0308\u0313\u0314\u0342\u0345]")  # of Greek, and ё: FTS5 knows those of Latin only

_MANY_CHUNKS = 1000
_COMMON_SHARE = 0.25
"""A word that so many of many chunks have says little, and to look for it takes most of the time."""


class Hit(NamedTuple):
    """A chunk that has words of a query.

    Attributes:
        id: Of the chunk.
        score: BM25; higher is better.
        coverage: `score` as a share of what a chunk of average length would have in which each of the query's words
            stands once, not counting words that no chunk has; at most 1.
    """

    id: str
    score: float
    coverage: float


def add(connection: sqlite3.Connection, chunks: Iterable[Chunk]) -> None:
    """Make chunks findable by the words of their text, title and headings; they must stand in `chunks` already."""
    connection.executemany(
        "INSERT OR REPLACE INTO lexical (rowid, title, heading, text) SELECT number, ?, ?, ? FROM chunks WHERE id = ?",
        ((_spell(chunk.title), _spell(chunk.heading or ""), _stored(chunk.text), chunk.id) for chunk in chunks),
    )


def delete(connection: sqlite3.Connection, source: str) -> None:
    """Forget the words of a document; its chunks must still stand in `chunks`."""
    connection.execute("DELETE FROM lexical WHERE rowid IN (SELECT number FROM chunks WHERE source = ?)", [source])


def clear(connection: sqlite3.Connection) -> None:
    """Forget all words; `add` must be called again with every chunk."""
    connection.execute("DROP TABLE IF EXISTS lexical")
    for statement in TABLES:
        connection.execute(statement)


def count(connection: sqlite3.Connection) -> int:
    """How many chunks can be found, from FTS5's own table of their lengths: no other has rows as short."""
    n_chunks: int = connection.execute("SELECT count(*) FROM lexical_docsize").fetchone()[0]
    return n_chunks


def search(
    connection: sqlite3.Connection, query: str, k: int, where: str = "", parameters: Sequence[object] = ()
) -> list[Hit]:
    """The `k` chunks that match `query` best, best first.

    Args:
        connection: To a database with `chunks` and `TABLES`.
        query: Any text. A chunk that has one of its words is found, and the rarer the words, the better it matches.
            Words in quotes count only where they stand together; words joined by signs, such as ERR_CONN-42, also
            count for more where they do. Of more than `MAX_QUERY_TERMS` different words the longest count.
        k: How many chunks at most.
        where: A condition in SQL on the table `chunks` that every chunk must meet; empty for none.
        parameters: Of the condition.
    """
    phrases, terms = _phrases_and_terms(query)
    n_chunks = count(connection)
    most = int(_COMMON_SHARE * n_chunks) if n_chunks > _MANY_CHUNKS else n_chunks
    # Counting ends where a word is common: the words that most chunks have would take most of the time.
    having = "SELECT count(*) FROM (SELECT 1 FROM lexical WHERE lexical MATCH ? LIMIT ?)"
    counts = {each: connection.execute(having, [each, most + 1]).fetchone()[0] for each in (*phrases, *terms)}
    rarer = [each for each in terms if counts[each] <= most]
    wanted = [each for each in (*phrases, *(rarer or ([] if phrases else terms))) if counts[each]]
    if not wanted:
        return []
    full = fsum(_inverse_document_frequency(counts[each], n_chunks) for each in wanted)
    statement = f"""SELECT chunks.id, -lexical.rank FROM lexical JOIN chunks ON chunks.number = lexical.rowid
        WHERE lexical MATCH ? AND ({where or "TRUE"}) ORDER BY lexical.rank LIMIT ?"""  # noqa: S608 - `where` is our own
    rows = connection.execute(statement, [" OR ".join(wanted), *parameters, k])
    return [Hit(id_, score, min(1.0, score / full)) for id_, score in rows]


def _inverse_document_frequency(count: int, n_chunks: int) -> float:
    """As FTS5 computes it (`fts5Bm25GetData` in SQLite's fts5_aux.c)."""
    return max(1e-6, log((max(0, n_chunks - count) + 0.5) / (count + 0.5)))


def _stored(text: str) -> str:
    """The search text as it is stored, and behind it the words that are in the text as it is written only."""
    written, whole = _compatible(text), _compatible(search_text(text))
    if written == whole:
        return _spell(whole)
    known = set(_words(whole))
    return _spell(" ".join([whole, *dict.fromkeys(word for word in _words(written) if word not in known)]))


def _spell(text: str) -> str:
    """`text` as it is stored: in Unicode's compatibility form, and cut into pairs where words are not."""
    return _UNSPACED.sub(lambda run: f" {' '.join(_pairs(run.group()))} ", _compatible(text))


def _compatible(text: str) -> str:
    if text.isascii():
        return text
    # By slices, because a long run of combining marks costs time by its square.
    return _SLICE.sub(lambda piece: _without_accents(piece.group()), text)


def _without_accents(text: str) -> str:
    return unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))


def _pairs(run: str) -> Iterator[str]:
    """Overlapping pairs and the last character alone, so that each character begins one of them."""
    return (run[place : place + 2] for place in range(len(run)))


def _phrases_and_terms(query: str) -> tuple[list[str], list[str]]:
    """What FTS5 is asked for: words in quotes or joined by signs as phrases, and single words; each once."""
    query = _compatible(search_text(query))
    phrases = [_phrase(words) for quoted in _QUOTED.findall(query) if (words := _words(quoted))]
    terms: list[str] = []
    for piece in _QUOTED.sub(" ", query).split():
        words = _words(piece)
        terms_of_piece = [term for word in words for term in _terms(word)]
        if len(terms_of_piece) > 1:
            phrases.append(_phrase(words))
        terms += terms_of_piece
    longest = set(nlargest(MAX_QUERY_TERMS, {*phrases, *terms}, key=len))
    kept = [[each for each in dict.fromkeys(kind) if each in longest] for kind in (phrases, terms)]
    return kept[0], kept[1]


def _words(text: str) -> list[str]:
    """The longest runs of letters, marks and digits; the table's `categories` say the same."""
    return ["".join(run) for is_word, run in groupby(text, _is_part_of_word) if is_word]


def _is_part_of_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Co"


def _terms(word: str) -> Iterator[str]:
    """A word as it is looked for; one of a script without blanks pair by pair."""
    for piece in filter(None, _UNSPACED.split(word)):
        stored = _spell(piece).split()
        yield from (_together([pair]) for pair in stored[: max(1, len(stored) - 1)])


def _phrase(words: Sequence[str]) -> str:
    return _together(_spell(" ".join(words)).split())


def _together(stored: Sequence[str]) -> str:
    """These words side by side; a last character alone may begin a pair."""
    is_open = len(stored[-1]) == 1 and _UNSPACED.fullmatch(stored[-1])
    return f'"{" ".join(stored)}"' + (" *" if is_open else "")
