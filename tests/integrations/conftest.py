"""What the tests of the adapters share: an index folder about planets."""

from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex

PLANETS = {
    "Mars": "Mars looks red because of the rust in its soil.",
    "Venus": "Venus is covered in thick clouds of sulphuric acid.",
    "Saturn": "Saturn is known for the rings of ice around it.",
}


@pytest.fixture(scope="session")
def index_folder(tmp_path_factory: pytest.TempPathFactory, minilm: Embedder) -> Path:
    folder = tmp_path_factory.mktemp("planets")
    for name, text in PLANETS.items():
        (folder / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    with DocumentIndex.create_or_open(folder / "index", minilm) as made:
        made.add([folder])
    return folder / "index"
