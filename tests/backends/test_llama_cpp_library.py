"""How llama.cpp's library is loaded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jina_rag.backends.llama_cpp.library import GGML_LOG_LEVEL_ERROR

_TELL = """
import json, os
from jina_rag.backends.llama_cpp.library import library
library()
print(json.dumps([os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")]))
"""


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ["passive", "5000"]),
        ({"GOMP_SPINCOUNT": "7"}, ["passive", "7"]),
        ({"OMP_WAIT_POLICY": "active"}, ["active", None]),  # a count of spins would outrank it
    ],
)
def test_threads_spin_shortly_unless_their_owner_says_otherwise(
    own: dict[str, str], expected: list[str | None]
) -> None:
    others = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    told = subprocess.run([sys.executable, "-c", _TELL], env=others | own, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == expected


def test_log_levels_are_those_of_the_installed_header() -> None:
    """Pooling types, load modes and kinds of attention are taken from llama-cpp-python, which has no log levels."""
    import llama_cpp

    header = Path(llama_cpp.__file__).parents[1] / "include" / "ggml.h"
    if not header.is_file():
        pytest.skip("llama-cpp-python came without ggml.h")
    levels = dict(re.findall(r"GGML_LOG_LEVEL_(\w+)\s*=\s*(\d+)", header.read_text(encoding="utf-8")))
    assert int(levels["ERROR"]) == GGML_LOG_LEVEL_ERROR
