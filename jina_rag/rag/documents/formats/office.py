"""PowerPoint presentations."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.archives import check_office_file
from jina_rag.rag.documents.formats.tables import markdown_table
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from pptx.chart.chart import Chart
    from pptx.shapes.base import BaseShape
    from pptx.slide import Slide


def read_pptx(file: SourceFile) -> Document:
    """A presentation, a page for each slide: its texts from top to bottom, tables, charts' numbers and notes."""
    try:
        from pptx import Presentation
    except ImportError as error:
        raise MissingDependencyError.for_extra("python-pptx", "office") from error

    check_office_file(file)
    presentation = Presentation(io.BytesIO(file.data))
    slides = (_slide_text(file, slide) for slide in presentation.slides)
    pages = tuple(Page(number, text) for number, text in enumerate(file.up_to_limit(slides, len), start=1))
    title = presentation.core_properties.title or next((first_heading(page.text) for page in pages[:1]), None)
    return Document(str(file.path), title or file.path.stem, pages, is_markdown=True)


def _slide_text(file: SourceFile, slide: "Slide") -> str:
    title = slide.shapes.title
    parts = (
        [f"# {' '.join(title.text_frame.text.split())}"] if title is not None and title.text_frame.text.strip() else []
    )
    for shape in sorted(slide.shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if title is None or shape.shape_id != title.shape_id:
            parts.extend(_shape_texts(file, shape))
    if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
        parts.append(f"Notes: {frame.text.strip()}")
    return "\n\n".join(part for part in parts if part.strip())


def _shape_texts(file: SourceFile, shape: "BaseShape") -> Iterator[str]:
    from pptx.shapes.autoshape import Shape
    from pptx.shapes.graphfrm import GraphicFrame
    from pptx.shapes.group import GroupShape

    if isinstance(shape, GroupShape):
        for inner in shape.shapes:
            yield from _shape_texts(file, inner)
    elif isinstance(shape, Shape):
        yield "\n".join(paragraph.text.replace("\v", "\n") for paragraph in shape.text_frame.paragraphs).strip("\n")
    elif isinstance(shape, GraphicFrame) and shape.has_table:
        yield markdown_table(file, ([cell.text for cell in row.cells] for row in shape.table.rows))
    elif isinstance(shape, GraphicFrame) and shape.has_chart:
        yield _chart_text(file, shape.chart)
    elif alternative := shape.element.xpath("string(.//p:cNvPr/@descr)"):
        yield str(alternative)


def _chart_text(file: SourceFile, chart: "Chart") -> str:
    title = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else ""
    texts = [title]
    for plot in chart.plots:
        series = list(plot.series)
        rows = zip(
            map(str, plot.categories), *([_number_text(value) for value in one.values] for one in series), strict=False
        )
        texts.append(markdown_table(file, [["", *(one.name for one in series)], *rows]))
    return "\n\n".join(text for text in texts if text)


def _number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value.is_integer() else str(value)
