"""Pictures: PNG, JPEG, WebP and TIFF, whose text is read by OCR; a TIFF may have many pages."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

PICTURE_KINDS = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
_MAX_PIXELS = 100_000_000
"""A page of A3 size with 600 dots an inch has 70 million."""


def read_picture(file: SourceFile) -> Document:
    """A page for each picture, all of which are still to be read by OCR."""
    with _open_picture(file) as image:
        n_pages = _n_pages(image)
        n_frames = getattr(image, "n_frames", 1)
    if n_pages < n_frames:
        file.notes.append(f"Of {n_frames:,} pictures, an animation, the first alone was read.")
    file.scans.extend(range(1, n_pages + 1))
    return Document(str(file.path), file.path.stem, tuple(Page(number, "") for number in file.scans))


def draw_picture(file: SourceFile, page_number: int, max_width: int, max_height: int) -> "Image | None":
    """A page of a picture as it is to be seen, on white, no larger than asked; None if there is no such page."""
    from PIL import Image, ImageOps

    with _open_picture(file) as image:
        if not 1 <= page_number <= _n_pages(image):
            return None
        image.seek(page_number - 1)
        _check_size(image, file)
        image.draft("RGB", (max_width, max_height))  # a JPEG is made smaller while it is decoded
        upright: Image.Image = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):  # scientific instruments: the range that there is, as grey
            upright = ImageOps.autocontrast(upright.convert("L"))
        upright.thumbnail((max_width, max_height))
        seen = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


@contextmanager
def _open_picture(file: SourceFile) -> "Iterator[ImageFile]":
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError.for_extra("pillow", "rag") from error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, for which there is a limit of ours, and of odd metadata
        try:
            with Image.open(io.BytesIO(file.data), formats=_FORMATS) as image:
                _check_size(image, file)
                yield image
        except Image.DecompressionBombError as error:
            raise _too_large(file) from error
        except UnidentifiedImageError as error:
            raise DocumentError(f"{file.path} is no picture that can be read ({error}). Leave it out.") from error


def _check_size(image: "Image", file: SourceFile) -> None:
    if image.width * image.height > _MAX_PIXELS:
        raise _too_large(file)


def _too_large(file: SourceFile) -> DocumentError:
    return DocumentError(f"{file.path} has more than {_MAX_PIXELS / 1e6:,.0f} million pixels. Make it smaller.")


def _n_pages(image: "ImageFile") -> int:
    return getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
