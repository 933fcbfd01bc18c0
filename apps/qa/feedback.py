"""What readers thought of answers, in `feedback.jsonl` beside the index."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from private_files import disk_errors, open_private

from jina_rag.rag import Answer


def keep_feedback(folder: Path, answer: Answer, *, helpful: bool) -> None:
    """Write down what a reader thought of an answer.

    Raises:
        IndexFolderError: it can't be written, or is a link.
    """
    record = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "helpful": helpful, **answer.as_dict()}
    with disk_errors(folder), open_private(folder / "feedback.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
