"""The server's log: one JSON object on a line, on stderr. It holds no text, no key and no address of a client."""

import json
import logging
import sys
import time
import traceback
from typing import Any

_log = logging.getLogger("jina_rag.server")


def log_event(event: str, fields: dict[str, Any], level: int = logging.INFO) -> None:
    """Log something that happened, with its figures."""
    _log.log(level, event, extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, logger, event, and the fields that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            # Without the message, which may quote a text.
            kind, _, frames = record.exc_info
            line["error"] = kind.__name__ if kind else ""
            line["traceback"] = "".join(traceback.format_tb(frames))
        return json.dumps(line)


def log_as_json(level: int = logging.INFO) -> None:
    """Send the server's log, uvicorn's, and the engine's warnings to stderr as JSON, for this whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name, at_least in {
        "jina_rag.server": level,
        "uvicorn": logging.ERROR,  # its warnings are about what strangers send, in any number
        "jina_rag.llama_cpp": logging.WARNING,
    }.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(at_least)
        logger.propagate = False
