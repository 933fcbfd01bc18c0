import re
from pathlib import Path

import pytest

from tests.benchmarks.results import BLOCK, DOCUMENTS, RUNS, render


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_have_the_figures_of_their_runs(path: Path) -> None:
    document = path.read_text("utf-8")
    assert render(document) == document, "Write them again: python -m tests.benchmarks.results"
    assert not re.findall(r"^\|.*\d.*", BLOCK.sub("", document), re.MULTILINE), "Figures belong into a run."


def test_every_run_is_shown() -> None:
    shown = {name for path in DOCUMENTS for name in re.findall(r"<!-- run (\S+) ", path.read_text("utf-8"))}
    assert shown == {path.stem for path in RUNS.glob("*.json")}
