"""Notebooks: text, code and what the code has put out."""

import json
from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import read_document

TABLE = "<table><tr><th>name</th></tr><tr><td>TableWord</td></tr></table>"
CELLS = [
    {
        "cell_type": "markdown",
        "source": ["# The TitleWord\n", "text ![x](attachment:a.png)"],
        "attachments": {"a.png": {}},
    },
    {
        "cell_type": "code",
        "source": "print('CodeWord')",
        "outputs": [
            {"output_type": "stream", "text": ["\x1b[31mStreamWord\x1b[0m\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "PlainWord", "text/html": TABLE}},
            {"output_type": "display_data", "data": {"text/plain": "<Figure FigureWord>", "image/png": "iVBO"}},
            {"output_type": "error", "ename": "ValueError", "evalue": "ErrorWord", "traceback": ["..."]},
        ],
    },
    {"cell_type": "raw", "source": "RawWord ``` fence"},
]


@pytest.mark.parametrize("is_old", [False, True])
def test_a_notebook_is_read_in_order(tmp_path: Path, is_old: bool) -> None:
    notebook = {"metadata": {"language_info": {"name": "python"}, "authors": [{"name": "AuthorWord"}]}}
    content = {"worksheets": [{"cells": CELLS}]} if is_old else {"cells": CELLS}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({**notebook, **content}))
    document = read_document(path)
    assert document.title == "The TitleWord"
    assert document.metadata == {"author": "AuthorWord"}
    assert document.notes == ("Left out: pictures (2).",)
    assert document.pages[0].text.split("\n\n") == [
        "# The TitleWord\ntext ![x](attachment:a.png)",
        "```python\nprint('CodeWord')\n```",
        "```\nStreamWord\n```",
        "| name |\n| --- |\n| TableWord |",
        "```\n<Figure FigureWord>\n```",
        "```\nValueError: ErrorWord\n```",
        "RawWord ``` fence",
    ]


def test_a_notebook_without_losses_has_no_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "text"}]}))
    assert read_document(path).notes == ()


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    for content in ("no json", "[]", '{"nbformat": 4}'):
        path.write_text(content)
        with pytest.raises(DocumentError, match="no notebook"):
            read_document(path)
