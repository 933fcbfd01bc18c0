"""Documents in, chunks out: passages small enough for the model, each knowing exactly where it stands."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jina_rag.embedder import Embedder
from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents import Document
from jina_rag.rag.headings import Heading, find_headings, heading_path

MAX_CHUNK_TOKENS = 200
"""A few paragraphs. On questions about the sample documents smaller chunks were found less well, not better."""


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
    def metadata(self) -> dict[str, str | int]:
        """What stores and frameworks keep beside the text: where it stands, without what doesn't apply."""
        names = ("source", "title", "position", "page", "heading", "start", "end")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def split_document(
    document: Document, embedder: Embedder, *, max_tokens: int = MAX_CHUNK_TOKENS, overlap: int = 0
) -> list[Chunk]:
    """Cut a document at headings, paragraphs, sentences or words, whichever is the highest that fits.

    A heading that would stand alone goes to the text below it, even if that makes it a little longer than `max_tokens`.

    Args:
        document: What to cut; no chunk crosses pages.
        embedder: Counts tokens, and gives the fingerprint for the ids.
        max_tokens: The longest chunk, in the model's own tokens, prompt included; never more than the model reads.
        overlap: How many tokens neighbours may share. Off by default: shared text would be found twice, and its end
            would be filed under the heading of its beginning.

    Raises:
        MissingDependencyError: the splitter is not installed.
        ValueError: `overlap` is not smaller than `max_tokens`.
    """
    digest = embedder.fingerprint.digest
    chunks: list[Chunk] = []
    for page in document.pages:
        headings = find_headings(page.text) if document.is_markdown else []
        spans = _split(page.text, embedder, max_tokens, overlap, is_markdown=document.is_markdown)
        for start, end in _join_headings(spans, page.text, headings, embedder):
            text = page.text[start:end]
            chunks.append(
                Chunk(
                    id=_chunk_id(document.source, len(chunks), text, digest),
                    source=document.source,
                    title=document.title,
                    position=len(chunks),
                    page=page.number,
                    heading=heading_path(headings, start),
                    start=start,
                    end=end,
                    text=text,
                )
            )
    return chunks


def _split(
    text: str, embedder: Embedder, max_tokens: int, overlap: int, *, is_markdown: bool
) -> Iterator[tuple[int, int]]:
    """Where the pieces of a text begin and end, in characters, without the white space around them."""
    try:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter
    except ImportError as error:
        raise MissingDependencyError.for_extra("semantic-text-splitter", "rag") from error

    splitter = (MarkdownSplitter if is_markdown else TextSplitter).from_callback(
        lambda piece: embedder.count_tokens([piece])[0], min(max_tokens, embedder.max_input_tokens), overlap
    )
    for start, piece in splitter.chunk_indices(text):
        if piece.strip():
            yield start, start + len(piece)


def _join_headings(
    spans: Iterable[tuple[int, int]], text: str, headings: Sequence[Heading], embedder: Embedder
) -> list[tuple[int, int]]:
    """Join a piece that is nothing but headings to the next, as long as the model reads so much."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and _is_only_headings(text, headings, *joined[-1]):
            whole = joined[-1][0], end
            if embedder.count_tokens([text[slice(*whole)]])[0] <= embedder.max_input_tokens:
                joined[-1] = whole
                continue
        joined.append((start, end))
    return joined


def _is_only_headings(text: str, headings: Sequence[Heading], start: int, end: int) -> bool:
    rest = start
    for heading in headings:
        if start <= heading.start < end:
            if text[rest : heading.start].strip():
                return False
            rest = heading.end
    return rest > start and not text[rest:end].strip()


def _chunk_id(source: str, position: int, text: str, digest: str) -> str:
    parts = json.dumps([source, position, text, digest], ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
