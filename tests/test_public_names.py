import pickle
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import jina_rag
import jina_rag.rag
from jina_rag import errors

HEAVY = (
    "numpy",
    "llama_cpp",
    "chromadb",
    "torch",
    "streamlit",
    "langchain_core",
    "llama_index",
    "huggingface_hub",
    "gguf",
)


def test_public_names_are_exactly_those_listed() -> None:
    assert list(jina_rag.__all__) == sorted(jina_rag.__all__)
    assert all(getattr(jina_rag, name) is not None for name in jina_rag.__all__)
    assert set(jina_rag.__all__) <= set(dir(jina_rag))
    with pytest.raises(AttributeError, match="no attribute 'Embeder'"):
        _ = jina_rag.Embeder


def test_the_door_of_rag_has_few_names() -> None:
    assert sorted(jina_rag.rag.__all__) == [
        "Answer",
        "Conversation",
        "DocumentIndex",
        "Filters",
        "RagPipeline",
        "Retriever",
        "SearchOptions",
        "SearchResult",
        "make_generator",
        "make_reranker",
        "watch",
    ]
    assert all(getattr(jina_rag.rag, name) is not None for name in jina_rag.rag.__all__)
    assert set(jina_rag.rag.__all__) <= set(dir(jina_rag.rag))
    with pytest.raises(AttributeError, match="no attribute 'search'"):
        _ = jina_rag.rag.search


def test_every_error_is_a_jina_rag_error() -> None:
    assert {name for name in dir(errors) if name.endswith("Error")} <= set(jina_rag.__all__)
    for name in jina_rag.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(jina_rag, name), jina_rag.JinaRagError)


def test_every_error_has_its_part_of_the_documentation() -> None:
    headings = re.findall(
        r"^#+ (\w+Error)$", (Path(__file__).parents[1] / "docs" / "errors.md").read_text(), re.MULTILINE
    )
    assert sorted(headings) == [name for name in jina_rag.__all__ if name.endswith("Error")]


def test_an_error_names_the_documentation_of_its_nearest_public_class() -> None:
    class OwnError(jina_rag.BackendError):
        """What a module of ours or of others derives."""

    error = pickle.loads(pickle.dumps(jina_rag.ModelNotFoundError("It is gone.")))
    assert str(error) == "It is gone."
    assert OwnError("x").docs_url.endswith("/errors/#backenderror")
    for raised in (error, jina_rag.InputTooLongError(3, 900, 512)):
        assert traceback.format_exception_only(raised)[-1] == f"More: {raised.docs_url}\n"


def test_import_loads_nothing_heavy() -> None:
    """The time it takes is in the benchmarks; these modules are what it would go to."""
    code = f"import sys, jina_rag; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_the_library_never_loads_the_page() -> None:
    code = "import sys, jina_rag.rag.answering.pipeline, jina_rag.cli; print('streamlit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
