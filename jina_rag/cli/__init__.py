"""The command `jina-rag`: models, embeddings and questions about documents, in a terminal.

What was asked for goes to stdout and all else to stderr, so that a pipe gets the one without the other. What a document
says is cleaned of control codes before it reaches a terminal. Heavy imports stand in the commands: `--help` is quick.

Each module registers its commands on `app`, in the order in which `--help` lists them.
"""

from jina_rag.cli.app import app, main

# isort: split
# Imported for the commands in them.
from jina_rag.cli import documents, index, status, get, upkeep, questions, chat, evaluate  # noqa: F401, I001
from jina_rag.cli import models, verify, bench, serve, mcp  # noqa: F401

__all__ = ["app", "main"]
