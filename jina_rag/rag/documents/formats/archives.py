"""The zip files that office documents and books are, checked before anything is unpacked."""

import io
import zlib
from copy import copy
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.types import SourceFile

_MAX_ENTRIES = 10_000
_MAX_UNPACKED_BYTES = 512 * 2**20
_MAX_RATIO = 200
"""How many times larger than packed the content may be; text in XML shrinks 5 to 20 times."""
_SMALL_BYTES = 16 * 2**20  # below this no ratio is a danger
_STEP_BYTES = 2**16
_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Office writes a document with a password into this older kind of file."""


def open_archive(file: SourceFile) -> ZipFile:
    """The zip file in `file.data`, if it is one that can be unpacked without harm.

    Everything in it is unpacked once, a little at a time, and counted: what its directory says of sizes may be false.
    Afterwards no entry gives more than it says.

    Raises:
        DocumentError: it is damaged, encrypted or a zip bomb.
    """
    path, data = file.path, file.data
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
    if any(entry.flag_bits & 1 for entry in entries):
        raise DocumentError(f"{path} is encrypted. Save a copy without a password and add that.")
    if len(entries) > _MAX_ENTRIES:
        raise DocumentError(f"{path} holds {len(entries):,} files, as zip bombs do. Leave it out.")
    most = min(_MAX_UNPACKED_BYTES, max(_SMALL_BYTES, _MAX_RATIO * len(data)))
    n_bytes = 0
    for entry in entries:
        n_bytes += max(entry.file_size, _unpacked_bytes(file, archive, entry, most - n_bytes))
        if n_bytes > most:
            raise DocumentError(
                f"{path} would unpack into more than {most / 2**20:,.0f} MB, as zip bombs do. Leave it out, or save it "
                "again in parts."
            )
    return archive


def _unpacked_bytes(file: SourceFile, archive: ZipFile, entry: ZipInfo, most: int) -> int:
    """How many bytes are truly in an entry, whatever the directory says; counting ends beyond `most`.

    Raises:
        DocumentError: it gives more than the directory says, or is packed in a way that no office program uses.
    """
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise DocumentError(f"{file.path} is packed in an unusual way ({entry.filename}). Save it again.")
    whole = copy(entry)
    whole.file_size = most + 2 * _STEP_BYTES  # else zipfile stops at the size that the directory says
    n_bytes = 0
    try:
        with archive.open(whole) as content:
            while n_bytes <= most and (part := content.read(_STEP_BYTES)):
                n_bytes += len(part)
    except (BadZipFile, EOFError, zlib.error):
        pass  # damaged from here on, which matters only if the reader needs it, and then it says so
    if entry.file_size < n_bytes <= most:
        raise DocumentError(
            f"{file.path} is damaged ({entry.filename} is larger than its directory says). Save it again."
        )
    return n_bytes


def parse_xml(path: Path, data: bytes) -> Element:
    """The root element of an XML part. A document type, and with it every entity, is refused.

    Names come without their namespace, for no two that readers use are alike; attributes that refer to another part
    keep the prefix "r:", because they are beside others of the same name.

    Raises:
        DocumentError: it declares a document type, or is not well formed.
    """
    builder = TreeBuilder()
    parser = ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    @cache
    def short(name: str) -> str:
        namespace, _, local = name.rpartition(" ")
        is_reference = "/officeDocument/" in namespace and namespace.endswith("/relationships")
        return f"r:{local}" if is_reference else local

    def start(name: str, attributes: dict[str, str]) -> None:
        builder.start(short(name), {short(key): value for key, value in attributes.items()})

    def refuse(*_: object) -> None:
        raise DocumentError(f"{path} declares XML entities, which no office program writes. Leave it out.")

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except ExpatError as error:
        raise DocumentError(f"{path} is damaged ({error}). Save it again from where it came.") from error
    return builder.close()


def check_office_file(file: SourceFile) -> None:
    """Make sure that an office document can be unpacked without harm and declares no XML entities.

    Raises:
        DocumentError: it is damaged, encrypted or a zip bomb, or declares entities.
        MissingDependencyError: defusedxml is not installed.
    """
    with open_archive(file) as archive:
        _refuse_document_types(file.path, archive)


def _refuse_document_types(path: Path, archive: ZipFile) -> None:
    """Make sure that no XML file in an office document declares entities, which could grow without end.

    The standard (ECMA-376 part 2) forbids document type declarations there.
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
