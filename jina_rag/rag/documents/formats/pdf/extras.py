"""What is on a PDF's page beside its print: descriptions of pictures, fields, comments, stamps, and new bookmarks."""

from collections.abc import Callable, Collection, Iterator
from ctypes import Array, byref, c_ushort
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from jina_rag.rag.documents.formats.pdf.view import share_of_page
from jina_rag.rag.documents.ocr import Box

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MAX_ON_PAGE = 10_000
_MAX_BOOKMARKS = 10_000
_SECRET = 1 << 13
"""The flag of a field that holds a password (ISO 32000-1, table 228)."""


class Extra(NamedTuple):
    """A text that belongs to a page, and its place there, if it has one."""

    text: str
    box: Box | None


def page_extras(pdf: "PdfDocument", page: "PdfPage") -> tuple[list[Extra], bool]:
    """The descriptions of pictures, the filled-in fields and the annotations of a page, in their order, each text once.

    Returns:
        Them, and whether there are others whose text is in their picture alone, as that of a stamp may be.
    """
    from pypdfium2.raw import FPDFCatalog_IsTagged, FPDFPage_CloseAnnot, FPDFPage_GetAnnot, FPDFPage_GetAnnotCount

    found: dict[str, Box | None] = dict.fromkeys(_descriptions(page) if FPDFCatalog_IsTagged(pdf) else ())
    has_unread = False
    for index in range(min(FPDFPage_GetAnnotCount(page), _MAX_ON_PAGE)):
        annotation = FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            text = _text_of(pdf, annotation)
            if text:
                found.setdefault(text, _place(page, annotation))
            has_unread = has_unread or (text is None and _shows_text(annotation))
        finally:
            FPDFPage_CloseAnnot(annotation)
    return [Extra(text, box) for text, box in found.items()], has_unread


def bookmarks(pdf: "PdfDocument") -> dict[int, list[str]]:
    """The titles of bookmarks, by the index of the page that each leads to; the first for those that lead nowhere."""
    titles: dict[int, list[str]] = {}
    for _, bookmark in zip(range(_MAX_BOOKMARKS), pdf.get_toc(), strict=False):
        target = bookmark.get_dest()
        titles.setdefault((target.get_index() if target else 0) or 0, []).append(" ".join(bookmark.get_title().split()))
    return titles


def new_bookmarks(titles: Collection[str], page_text: str) -> list[Extra]:
    """Those bookmarks that are no headings of the page: whose letters are not in its text."""
    known = _letters(page_text) if titles else ""
    return [Extra(f"Bookmark: {title}", None) for title in dict.fromkeys(titles) if _letters(title) not in known]


def _descriptions(page: "PdfPage") -> Iterator[str]:
    """The alternative texts in the structure of a page (ISO 32000-1, section 14.9.3), in their order."""
    from pypdfium2 import raw

    tree = raw.FPDF_StructTree_GetForPage(page)
    if not tree:
        return
    try:
        n_roots = min(raw.FPDF_StructTree_CountChildren(tree), _MAX_ON_PAGE)
        elements = [raw.FPDF_StructTree_GetChildAtIndex(tree, place) for place in reversed(range(n_roots))]
        for _ in range(_MAX_ON_PAGE):
            if not elements:
                return
            element = elements.pop()
            if not element:  # a child that is print, not structure
                continue
            if text := _string(partial(raw.FPDF_StructElement_GetAltText, element)):
                yield text
            n_children = min(raw.FPDF_StructElement_CountChildren(element), _MAX_ON_PAGE - len(elements))
            children = [raw.FPDF_StructElement_GetChildAtIndex(element, place) for place in range(n_children)]
            elements += reversed(children)
    finally:
        raw.FPDF_StructTree_Close(tree)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _text_of(pdf: "PdfDocument", annotation: Any) -> str | None:  # noqa: ANN401 - FPDF_ANNOTATION
    """What an annotation says; None if it has no words, though its picture may."""
    from pypdfium2.raw import (
        FPDF_ANNOT_LINK,
        FPDF_ANNOT_POPUP,
        FPDF_ANNOT_WIDGET,
        FPDFAnnot_GetStringValue,
        FPDFAnnot_GetSubtype,
    )

    kind = FPDFAnnot_GetSubtype(annotation)
    if kind == FPDF_ANNOT_WIDGET:
        return _field(pdf, annotation) if pdf.formenv else ""
    if kind in (FPDF_ANNOT_LINK, FPDF_ANNOT_POPUP):  # a popup shows the text of another
        return ""

    def value(key: bytes) -> str:
        return _string(lambda buffer, size: FPDFAnnot_GetStringValue(annotation, key, buffer, size))

    text, author = value(b"Contents"), value(b"T")
    if not text:
        return None
    return f"Comment by {author}: {text}" if author else f"Comment: {text}"


def _field(pdf: "PdfDocument", annotation: Any) -> str:  # noqa: ANN401 - FPDF_ANNOTATION
    """The name that people see of a field, and what is filled in; nothing if that is nothing."""
    from pypdfium2 import raw

    form = pdf.formenv
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _SECRET and kind == raw.FPDF_FORMFIELD_TEXTFIELD:
        return ""

    def value(read: Callable[..., int]) -> str:
        return _string(lambda buffer, size: read(form, annotation, buffer, size))

    name = value(raw.FPDFAnnot_GetFormFieldAlternateName) or value(raw.FPDFAnnot_GetFormFieldName)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        filled_in = value(raw.FPDFAnnot_GetFormFieldExportValue) if raw.FPDFAnnot_IsChecked(form, annotation) else ""
    elif kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        filled_in = value(raw.FPDFAnnot_GetFormFieldValue)
    else:
        filled_in = ""
    return f"{name}: {filled_in}" if name and filled_in else filled_in


def _shows_text(annotation: Any) -> bool:  # noqa: ANN401 - FPDF_ANNOTATION
    """Whether there is text in the picture of an annotation, which PDFium does not give."""
    from pypdfium2.raw import (
        FPDF_PAGEOBJ_TEXT,
        FPDFAnnot_GetObject,
        FPDFAnnot_GetObjectCount,
        FPDFPageObj_GetType,
    )

    shown = (FPDFAnnot_GetObject(annotation, index) for index in range(FPDFAnnot_GetObjectCount(annotation)))
    return any(FPDFPageObj_GetType(each) == FPDF_PAGEOBJ_TEXT for each in islice(shown, _MAX_ON_PAGE))


def _string(read: "Callable[[Array[c_ushort] | None, int], int]") -> str:
    """What one of PDFium's functions writes: UTF-16, ended by a null, as many bytes as it says."""
    n_bytes = read(None, 0)
    if n_bytes <= 2:
        return ""
    buffer = (c_ushort * (n_bytes // 2))()
    read(buffer, n_bytes)
    return " ".join(bytes(buffer).decode("utf-16-le", "replace").rstrip("\0").split())


def _place(page: "PdfPage", annotation: Any) -> Box:  # noqa: ANN401 - FPDF_ANNOTATION
    from pypdfium2.raw import FS_RECTF, FPDFAnnot_GetRect

    rect = FS_RECTF()
    FPDFAnnot_GetRect(annotation, byref(rect))
    return share_of_page(page, rect.left, rect.bottom, rect.right, rect.top)
