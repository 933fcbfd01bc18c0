"""What is kept of documents for a while after they have gone, so that one that comes back takes hardly any time.

The functions work inside the transaction of the connection that they are handed.
"""

import json
import sqlite3
import time

from jina_rag.rag.documents.ocr import MODEL
from jina_rag.rag.documents.scans import PageScan
from jina_rag.rag.store.rows import as_scan

DAYS_KEPT = 30
MOST_VECTORS = 25_000  # 100 MB at 1,024 dimensions
_SECONDS_PER_DAY = 86_400


_FORGET = (
    """INSERT OR IGNORE INTO unused_vectors
        SELECT digest, :now FROM vectors WHERE digest NOT IN (SELECT digest FROM chunks)""",
    "DELETE FROM unused_vectors WHERE digest IN (SELECT digest FROM chunks)",
    """UPDATE unused_vectors SET since = 0 WHERE digest IN
        (SELECT digest FROM unused_vectors ORDER BY since DESC LIMIT -1 OFFSET :most)""",
    "DELETE FROM vectors WHERE digest IN (SELECT digest FROM unused_vectors WHERE since <= :last)",
    "DELETE FROM unused_vectors WHERE since <= :last",
    "DELETE FROM scans WHERE since <= :last AND sha256 NOT IN (SELECT sha256 FROM documents)",
)


def forget_unused(connection: sqlite3.Connection, days: int) -> None:
    """Drop the vectors of texts that no chunk has had for so many days, and the scans of files that no document has.

    Of these vectors only the latest are kept.
    """
    now = int(time.time())
    for statement in _FORGET:
        connection.execute(statement, {"now": now, "last": now - days * _SECONDS_PER_DAY, "most": MOST_VECTORS})


def scans(connection: sqlite3.Connection, sha256: str) -> dict[int, PageScan | None]:
    """What OCR has read on the pages of a file, without boxes, by page; None where the page's own text says no less."""
    query = "SELECT page, content FROM scans WHERE sha256 = ? AND model = ?"
    return {page: as_scan(page, content) for page, content in connection.execute(query, [sha256, MODEL])}


def keep_scan(connection: sqlite3.Connection, sha256: str, page: int, scan: PageScan | None) -> None:
    """Keep what OCR has read on a page."""
    content = [scan.page.text, scan.page.headings, scan.is_turned, scan.n_unclear] if scan else None
    row = [sha256, page, MODEL, json.dumps(content, ensure_ascii=False), int(time.time())]
    connection.execute("INSERT OR REPLACE INTO scans VALUES (?, ?, ?, ?, ?)", row)


def date_scans(connection: sqlite3.Connection, source: str) -> None:
    """Note that the scans of a document were in use until now."""
    query = "UPDATE scans SET since = ? WHERE sha256 = (SELECT sha256 FROM documents WHERE source = ?)"
    connection.execute(query, [int(time.time()), source])
