"""Mail, as programs for it save a message."""

import re
from collections.abc import Iterator
from contextlib import suppress
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.html import html_to_markdown
from jina_rag.rag.documents.formats.writing import escape_blocks
from jina_rag.rag.documents.types import Document, Page, SourceFile

_TECHNICAL = re.compile(
    "(arc|authentication|auto|content|delivered|dkim|domainkey|errors|feedback|in-reply|list|message|mime|precedence"
    "|received|references|resent|return|thread|user-agent|x)(-.*)?",
    re.IGNORECASE,
)
"""Fields of the header that programs write for programs."""

_MAX_DECODED = 50_000
"""Characters of a field whose encoded words are decoded, which takes time by the square of their number."""
_READABLE = ("text/html", "text/plain")


def read_eml(file: SourceFile) -> Document:
    """A message: the fields of its header that are for people, its text, and attachments of kinds that can be read.

    Of several forms of the same text the last is taken, which is the richest (RFC 2046, section 5.1.4).
    """
    message = BytesParser().parsebytes(file.data)
    if not message.keys():
        raise DocumentError(
            f"{file.path} is no mail: it has no header. Give it the ending .txt to have it read as text."
        )
    reader = _MailReader(file)
    text = "\n\n".join(part for part in file.up_to_limit(reader.parts(message), len) if part.strip())
    reader.write_notes()
    fields = {name.lower(): text for name, text in _fields(message)}
    metadata = {key: fields[name] for name, key in (("from", "author"), ("to", "to")) if name in fields}
    with suppress(ValueError):  # else the date stays in the text, as it is
        metadata["created"] = parsedate_to_datetime(fields.get("date", "")).isoformat()
    title = fields.get("subject") or file.path.stem
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True, metadata=metadata)


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    for name, raw in message.raw_items():
        text = " ".join(_decoded(str(raw)).split())
        if text and not _TECHNICAL.fullmatch(name):
            yield name, text


def _decoded(raw: str) -> str:
    """What a field says; its bytes that are not ASCII come as surrogates, other characters in encoded words."""
    text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if len(text) > _MAX_DECODED:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (MessageError, LookupError, ValueError):
        return text


class _MailReader:
    """A message on its way to text, and what of it was left out."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._left_out: list[str] = []

    def parts(self, message: Message, *, is_attached: bool = False) -> Iterator[str]:
        """The header, the text and the attachments of a message."""
        fields = list(_fields(message))
        subject = next((text for name, text in fields if name.lower() == "subject"), "")
        yield f"# {'Attached message: ' * is_attached}{subject}".rstrip("# ")
        yield "\n".join(f"{name}: {text}" for name, text in fields)
        for part in _leaves(message):
            yield from self._part(part)

    def write_notes(self) -> None:
        """Add to the notes of the file what was left out."""
        if self._left_out:
            names = ", ".join(self._left_out)[:500]
            self._file.notes.append(f"Attachments that can't be read were left out ({len(self._left_out):,}): {names}.")

    def _part(self, part: Message) -> Iterator[str]:
        kind, name = part.get_content_type(), _decoded(part.get_filename() or "")
        if kind == "message/rfc822" and part.is_multipart():
            for message in _children(part):
                yield from self.parts(message, is_attached=True)
            return
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if not name and kind.startswith("text/"):
            yield self._text(part, data, is_html=kind == "text/html")
        elif name or data.strip():
            yield self._attachment(name or kind, data)

    def _text(self, part: Message, data: bytes, *, is_html: bool) -> str:
        text = SourceFile(self._file.path, data, self._file.max_characters, self._file.notes)
        try:
            decoded = decode(text, part.get_content_charset())
        except DocumentError:
            self._left_out.append("text that is no text")
            return ""
        if not is_html:
            return escape_blocks(decoded.strip("\n"))
        page = html_to_markdown(decoded, text)
        self._file.note_left_out(page.left_out)
        return page.text

    def _attachment(self, name: str, data: bytes) -> str:
        """The text of an attachment, as its own reader gives it; nothing, and a note, if there is no such reader."""
        from jina_rag.rag.documents.formats import READERS  # which has the reader of this module as well

        reader = READERS.get(Path(name).suffix.lower())
        if reader is None:
            self._left_out.append(name)
            return ""
        most = max(self._file.max_characters - self._file.n_characters, 0)
        file = SourceFile(Path(name), data, most)
        try:
            document = reader(file)
        except (MemoryError, RecursionError, MissingDependencyError):
            raise
        except Exception as error:  # noqa: BLE001 - parsers answer a damaged file with whatever came of it
            self._file.notes.append(f"The attachment {name} was left out: {str(error)[:200]}")
            return ""
        if file.scans:
            self._file.notes.append(f"Pictures of text in {name} were left out. Save the attachment and add it.")
        self._file.notes.extend(f"{name}: {note}" for note in file.notes)
        texts = (page.text if document.is_markdown else escape_blocks(page.text) for page in document.pages)
        return "\n\n".join([f"# Attachment: {name}", *filter(None, texts)])


def _leaves(part: Message) -> Iterator[Message]:
    """The parts that hold something, of alternatives the last that can be read and invitations."""
    if part.get_content_maintype() != "multipart" or not part.is_multipart():
        yield part
        return
    parts = _children(part)
    if part.get_content_subtype() == "alternative":
        readable = [
            each for each in parts if each.get_content_type() in ("text/html", "text/plain") or each.is_multipart()
        ]
        others = [each for each in parts if each.get_content_type() == "text/calendar"]
        parts = [*(readable or parts)[-1:], *others]
    for each in parts:
        yield from _leaves(each)


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []
