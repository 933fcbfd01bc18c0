"""How llama.cpp's library is loaded."""

import json
import os
import subprocess
import sys

import pytest

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
