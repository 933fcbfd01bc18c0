"""How each kind of file is read: one module for each family, one row of `READERS` for each ending."""

from jina_rag.rag.documents.formats.data import read_csv, read_json, read_json_lines
from jina_rag.rag.documents.formats.epub import read_epub
from jina_rag.rag.documents.formats.excel import read_xlsx
from jina_rag.rag.documents.formats.html import read_html
from jina_rag.rag.documents.formats.mail import read_eml
from jina_rag.rag.documents.formats.markdown import MARKDOWN_KINDS, read_markdown
from jina_rag.rag.documents.formats.notebooks import read_ipynb
from jina_rag.rag.documents.formats.opendocument import read_odt
from jina_rag.rag.documents.formats.opendocument_sheets import read_ods
from jina_rag.rag.documents.formats.opendocument_slides import read_odp
from jina_rag.rag.documents.formats.pdf import read_pdf
from jina_rag.rag.documents.formats.pictures import PICTURE_KINDS, read_picture
from jina_rag.rag.documents.formats.rtf import read_rtf
from jina_rag.rag.documents.formats.slides import read_pptx
from jina_rag.rag.documents.formats.text import CODE_KINDS, TEXT_KINDS, read_code, read_text
from jina_rag.rag.documents.formats.word import read_docx
from jina_rag.rag.documents.ocr import is_installed as has_ocr
from jina_rag.rag.documents.types import Reader

READERS: dict[str, Reader] = {
    ".csv": read_csv,
    **dict.fromkeys((".docm", ".docx", ".dotm", ".dotx"), read_docx),
    ".epub": read_epub,
    ".eml": read_eml,
    ".htm": read_html,
    ".html": read_html,
    ".ipynb": read_ipynb,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    **dict.fromkeys((".odp", ".otp"), read_odp),
    **dict.fromkeys((".ods", ".ots"), read_ods),
    **dict.fromkeys((".odt", ".ott"), read_odt),
    ".pdf": read_pdf,
    **dict.fromkeys((".potm", ".potx", ".ppsm", ".ppsx", ".pptm", ".pptx"), read_pptx),
    ".rtf": read_rtf,
    ".tsv": read_csv,
    ".xhtml": read_html,
    **dict.fromkeys((".xlsm", ".xlsx", ".xltm", ".xltx"), read_xlsx),
    **dict.fromkeys(CODE_KINDS, read_code),
    **dict.fromkeys(MARKDOWN_KINDS, read_markdown),
    **dict.fromkeys(TEXT_KINDS, read_text),
    **dict.fromkeys(PICTURE_KINDS if has_ocr() else (), read_picture),
}
"""How each kind of file is read, by its ending in lower case. To read one, call `jina_rag.rag.read_document`, which
does it in a process of its own, under limits."""
