"""The zip files that office documents and books are, checked before anything is unpacked."""

import io
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from jina_rag.errors import DocumentError, MissingDependencyError

_MAX_ENTRIES = 10_000
_MAX_UNPACKED_BYTES = 512 * 2**20
_MAX_RATIO = 200
"""How many times larger than packed the content may be; text in XML shrinks 5 to 20 times."""
_SMALL_BYTES = 16 * 2**20  # below this no ratio is a danger
_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Office writes a document with a password into this older kind of file."""


def open_archive(path: Path, data: bytes) -> ZipFile:
    """The zip file in `data`, if it is one that can be unpacked without harm.

    What the table of contents says is trusted, for Python's zipfile unpacks no more of an entry than that.

    Raises:
        DocumentError: it is damaged, encrypted or a zip bomb.
    """
    if data.startswith(_OLE_SIGNATURE):
        raise DocumentError(
            f"{path} is encrypted, or in an older format. Save a copy without a password, in today's format, "
            "and add that."
        )
    try:
        archive = ZipFile(io.BytesIO(data))
    except (BadZipFile, ValueError, OSError) as error:
        raise DocumentError(f"{path} is damaged ({error}). Save it again from where it came.") from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if (
        len(entries) > _MAX_ENTRIES
        or unpacked > _MAX_UNPACKED_BYTES
        or unpacked > max(_SMALL_BYTES, _MAX_RATIO * len(data))
    ):
        raise DocumentError(
            f"{path} would unpack into {len(entries):,} files of {unpacked / 2**20:,.0f} MB, as zip bombs do. "
            "Leave it out, or save it again in parts."
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise DocumentError(f"{path} is encrypted. Save a copy without a password and add that.")
    return archive


def refuse_document_types(path: Path, archive: ZipFile) -> None:
    """Make sure that no XML file in an office document declares entities, which could grow without end.

    The standard (ECMA-376 part 2) forbids document type declarations there.

    Raises:
        DocumentError: one does.
        MissingDependencyError: defusedxml is not installed.
    """
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.sax import parse
    except ImportError as error:
        raise MissingDependencyError.for_extra("defusedxml", "office") from error
    from xml.sax import ContentHandler
    from xml.sax.xmlreader import AttributesImpl

    class Prologue(ContentHandler):
        """Stops at the first element: a declaration stands before it."""

        def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802, ARG002 - named by xml.sax
            raise StopIteration

    for entry in archive.infolist():
        if entry.filename.lower().endswith((".xml", ".rels")):
            with archive.open(entry) as file:
                try:
                    parse(file, Prologue(), forbid_dtd=True)
                except StopIteration:
                    continue
                except DefusedXmlException as error:
                    raise DocumentError(
                        f"{path} declares XML entities, which no office program writes. Leave it out."
                    ) from error
