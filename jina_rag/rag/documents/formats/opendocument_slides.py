"""OpenDocument presentations, as LibreOffice writes them."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.opendocument import DRAWINGS, OpenDocumentPackage, OpenDocumentText, metadata_of
from jina_rag.rag.documents.formats.slides import note_hidden_slides
from jina_rag.rag.documents.formats.writing import join_blocks
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile


def read_odp(file: SourceFile) -> Document:
    """A presentation, a page for each slide, in the same way as one of PowerPoint (see `read_pptx`)."""
    package = OpenDocumentPackage(file)
    show = _Show(package)
    slides = file.up_to_limit(show.slides(), len)
    pages = tuple(Page(number, text) for number, text in enumerate(slides, start=1))
    show.write_notes()
    metadata = metadata_of(package.xml("meta.xml"))
    title = metadata.get("title") or next((first_heading(page.text) for page in pages[:1]), None)
    return Document(str(file.path), title or file.path.stem, pages, is_markdown=True, metadata=metadata)


class _Show:
    """The slides of a presentation, and what they share."""

    def __init__(self, package: OpenDocumentPackage) -> None:
        self._package = package
        self._text = OpenDocumentText(package)
        self._content = package.xml("content.xml")
        self._masters = {master.get("name", ""): master for master in package.xml("styles.xml").iter("master-page")}
        self._shown: set[str] = set()
        self._hidden: list[int] = []

    def slides(self) -> Iterator[str]:
        """The text of each slide. What a master shows on all its slides, and footers, are read with the first."""
        styles = self._content.iter("style")
        hidden = {one.get("name") for one in styles for part in one if part.get("visibility") == "hidden"}
        (show,) = self._content.findall("body/presentation")[:1] or [Element("presentation")]
        footers = (" ".join("".join(part.itertext()).split()) for part in show if part.tag.endswith("-decl"))
        for number, page in enumerate(show.findall("page"), start=1):
            if page.get("style-name") in hidden:
                self._hidden.append(number)
            yield join_blocks([*self._blocks(page), *(filter(None, footers) if number == 1 else ())])

    def write_notes(self) -> None:
        """Add to the notes of the file what was left out, or is not shown."""
        self._text.note_guesses()
        note_hidden_slides(self._package.file, self._hidden)
        self._package.file.note_left_out(self._package.left_out)

    def _blocks(self, page: Element) -> Iterator[str]:
        titles = [shape for shape in page.findall("frame") if shape.get("class") == "title"]
        notes = page.findall("notes")
        yield from (f"# {text}" for title in titles if (text := self._text.line(title)))
        yield from self._text.blocks(_with(shape for shape in page if shape not in titles and shape not in notes))
        name = page.get("master-page-name", "")
        if name in self._masters and name not in self._shown:
            self._shown.add(name)
            shapes = (shape for shape in self._masters[name] if shape.tag in DRAWINGS and not shape.get("class"))
            yield from self._text.blocks(_with(shapes))
        for note in notes:
            if texts := list(self._text.blocks(note)):
                yield f"Notes: {join_blocks(texts)}"


def _with(children: Iterator[Element]) -> Element:
    parent = Element("content")
    parent.extend(children)
    return parent
