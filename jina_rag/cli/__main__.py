"""`python -m jina_rag.cli` is `jina-rag`."""

from jina_rag.cli import main

main()
