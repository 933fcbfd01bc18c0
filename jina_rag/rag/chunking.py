"""Documents in, chunks out: passages small enough for the model, each knowing exactly where it stands."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from weakref import WeakKeyDictionary

from jina_rag.embedder import Embedder
from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.headings import Heading, find_headings, heading_path, open_headings
from jina_rag.rag.documents.types import Document
from jina_rag.rag.text.search_text import search_text

MAX_CHUNK_TOKENS = 200
"""A few paragraphs. On questions about the sample documents smaller chunks were found less well, not better."""

_MAX_TOKEN_CHARACTERS = 32  # on average over a chunk; words have 3 to 6 for each token
_MAX_WORD_CHARACTERS = 32
_MAX_STRETCH = 32_768  # characters: 20 pages of print
_MAX_KNOWN_WORDS = 100_000
_KNOWN_WORDS: WeakKeyDictionary[Embedder, dict[str, int]] = WeakKeyDictionary()
"""The tokens of the words that were met, for each model in use."""


@dataclass(frozen=True)
class Chunk:
    """A passage of a document; `pages[(page or 1) - 1].text[start:end]` is its text.

    Attributes:
        id: 32 hexadecimal digits made of the source, position, text and fingerprint, so the same in every run.
        source: The document's `source`.
        title: The document's title.
        position: Counted from 0 through the document.
        page: The page's number; None where the document has no pages.
        heading: The headings above its beginning, outermost first, as "Guide > Opening hours"; None without any.
        start: Where it begins on its page, in characters.
        end: Where it ends on its page.
        text: The passage.
    """

    id: str
    source: str
    title: str
    position: int
    page: int | None
    heading: str | None
    start: int
    end: int
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for people: "guide.pdf, page 4, Opening hours"."""
        page = f"page {self.page}" if self.page is not None else ""
        return " ".join(", ".join(filter(None, (Path(self.source).name, page, self.heading))).split())

    @property
    def metadata(self) -> dict[str, str | int]:
        """What stores and frameworks keep beside the text: where it stands, without what doesn't apply."""
        names = ("source", "title", "position", "page", "heading", "start", "end")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def split_document(
    document: Document, embedder: Embedder, *, max_tokens: int = MAX_CHUNK_TOKENS, overlap: int = 0
) -> list[Chunk]:
    """Cut a document at headings, paragraphs, sentences or words, whichever is the highest that fits.

    A heading that would stand alone goes to the text below it, even if that makes it longer than `max_tokens`,
    but never twice as long nor longer than the model reads.

    Args:
        document: What to cut; no chunk crosses pages.
        embedder: Counts tokens, and gives the fingerprint for the ids.
        max_tokens: The longest chunk, in the model's own tokens of its `search_text`, which is what is embedded, prompt
            included; never more than the model reads.
        overlap: How many tokens neighbours may share. Off by default: shared text would be found twice, and its end
            would be filed under the heading of its beginning.

    Raises:
        MissingDependencyError: the splitter is not installed.
        ValueError: `overlap` is not smaller than `max_tokens`.
    """
    digest = embedder.fingerprint.digest
    limit = min(max_tokens, embedder.max_input_tokens)
    chunks: list[Chunk] = []
    running: list[Heading] = []
    for page in document.pages:
        headings = find_headings(page.text) if document.is_markdown else list(page.headings)
        above = [] if document.is_markdown else running
        for start, end in _spans(page.text, headings, embedder, limit, overlap, is_markdown=document.is_markdown):
            text = page.text[start:end]
            chunks.append(
                Chunk(
                    id=chunk_id(document.source, len(chunks), text, digest),
                    source=document.source,
                    title=document.title,
                    position=len(chunks),
                    page=page.number,
                    heading=heading_path(headings, start, above),
                    start=start,
                    end=end,
                    text=text,
                )
            )
        running = open_headings([*above, *headings])
    return chunks


def _spans(
    text: str, headings: Sequence[Heading], embedder: Embedder, limit: int, overlap: int, *, is_markdown: bool
) -> list[tuple[int, int]]:
    """Where the chunks of a page begin and end, in characters, without the white space around them."""
    for counter in (_quick_counter, _exact_counter):
        count = _bounded(counter(embedder), limit)
        spans = list(_split(text, headings, count, limit, overlap, is_markdown=is_markdown))
        counts = embedder.count_tokens([search_text(text[start:end]) for start, end in spans])
        if max(counts, default=0) <= limit:
            break
    most = min(2 * limit, embedder.max_input_tokens)
    return _join_headings(spans, text, headings, embedder, most)


def _split(
    text: str,
    headings: Sequence[Heading],
    count: Callable[[str], int],
    limit: int,
    overlap: int,
    *,
    is_markdown: bool,
) -> Iterator[tuple[int, int]]:
    """Cut a text into spans that `count` finds within the limit; one that is only white space is left out."""
    try:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter
    except ImportError as error:
        raise MissingDependencyError.for_extra("semantic-text-splitter", "rag") from error

    splitter = (MarkdownSplitter if is_markdown else TextSplitter).from_callback(count, limit, overlap)
    for begin, finish in pairwise(_cuts(text, headings, is_markdown=is_markdown)):
        for start, piece in splitter.chunk_indices(text[begin:finish]):
            if piece.strip():
                yield begin + start, begin + start + len(piece)


def _cuts(text: str, headings: Sequence[Heading], *, is_markdown: bool) -> list[int]:
    """Where a text is cut before the splitter sees it, its beginning and its end included.

    The splitter sees the headings of Markdown itself; other text is cut before each of its headings. Long text is cut
    as well, before a heading if there is one, for the splitter's time grows with the square of the length.
    """
    cuts = [0]
    for place in (*(heading.start for heading in headings), len(text)):
        while place - cuts[-1] > _MAX_STRETCH:
            cuts.append(_last_break(text, cuts[-1] + 1, cuts[-1] + _MAX_STRETCH))
        if place - cuts[-1] > (_MAX_STRETCH // 4 if is_markdown and place < len(text) else 0):
            cuts.append(place)
    return cuts


def _last_break(text: str, start: int, end: int) -> int:
    """The end of the last paragraph, line or word within a stretch; its end if there is none."""
    for separator in ("\n\n", "\n", " "):
        if (place := text.rfind(separator, start, end)) >= 0:
            return place + len(separator)
    return end


def _bounded(count: Callable[[str], int], limit: int) -> Callable[[str], int]:
    """Says of a piece with far more letters than a chunk can have that it is too long, without counting it.

    The splitter asks again and again about all that is left of a text, and a word of a million letters takes a
    tokenizer minutes.
    """
    most = limit * _MAX_TOKEN_CHARACTERS
    return lambda piece: count(piece) if len(piece) <= most else limit + 1


def _exact_counter(embedder: Embedder) -> Callable[[str], int]:
    return lambda piece: embedder.count_tokens([search_text(piece)])[0]


def _quick_counter(embedder: Embedder) -> Callable[[str], int]:
    """Counts the tokens of a text as the sum of its words', each of which is tokenized once and remembered.

    Most tokenizers split at white space first, so the sum is hardly ever too small, and the splitter asks several times
    for every chunk that it makes.
    """
    known = _KNOWN_WORDS.get(embedder)
    if known is None or len(known) > _MAX_KNOWN_WORDS:
        known = _KNOWN_WORDS[embedder] = {}
    fixed, pair, lines = embedder.count_tokens(["", "a a", "a\na"])
    per_line = lines - pair

    def count(piece: str) -> int:
        words = piece.split()
        if max(map(len, words), default=0) > _MAX_WORD_CHARACTERS:
            words = [part for word in words for part in _parts(word)]
        try:
            n_tokens = sum(map(known.__getitem__, words))
        except KeyError:
            known.update(_count_words(embedder, {word for word in words if word not in known}))
            n_tokens = sum(map(known.__getitem__, words))
        return fixed + n_tokens + per_line * piece.count("\n")

    return count


def _parts(word: str) -> Iterator[str]:
    """A word, or what stands for one in a script without blanks, in parts that are worth remembering."""
    for start in range(0, len(word), _MAX_WORD_CHARACTERS):
        yield word[start : start + _MAX_WORD_CHARACTERS]


def _count_words(embedder: Embedder, words: Iterable[str]) -> dict[str, int]:
    """How many tokens each word takes behind another: the blank before a word can be part of its first token."""
    words = list(words)
    before, *counts = embedder.count_tokens(["a", *(f"a {word}" for word in words)])
    return {word: n_tokens - before for word, n_tokens in zip(words, counts, strict=True)}


def _join_headings(
    spans: Iterable[tuple[int, int]], text: str, headings: Sequence[Heading], embedder: Embedder, most: int
) -> list[tuple[int, int]]:
    """Join a piece that is nothing but headings to the next, unless both have more than `most` tokens."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and _is_only_headings(text, headings, *joined[-1]):
            whole = joined[-1][0], end
            if embedder.count_tokens([search_text(text[slice(*whole)])])[0] <= most:
                joined[-1] = whole
                continue
        joined.append((start, end))
    return joined


def _is_only_headings(text: str, headings: Sequence[Heading], start: int, end: int) -> bool:
    first, last = (bisect_left(headings, place, key=lambda heading: heading.start) for place in (start, end))
    rest = start
    for heading in headings[first:last]:
        if text[rest : heading.start].strip():
            return False
        rest = heading.end
    return rest > start and not text[rest:end].strip()


def chunk_id(source: str, position: int, text: str, digest: str) -> str:
    """The id of a chunk: `digest` is that of the fingerprint."""
    parts = json.dumps([source, position, text, digest], ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
