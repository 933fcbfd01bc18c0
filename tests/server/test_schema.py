"""The OpenAPI document is true: schemathesis finds no request whose answer it does not describe.

The run here is short. A longer one, against a server of your own:
`schemathesis run http://127.0.0.1:8080/openapi.json -n 500`.
"""

import subprocess
import sys
from pathlib import Path

from tests.server.conftest import RunningServer


def test_the_document_describes_every_answer(reranking_server: RunningServer, tmp_path: Path) -> None:
    command = [
        "run",
        f"{reranking_server.url}/openapi.json",
        "--max-examples=15",
        "--seed=1",
        "--phases=coverage,fuzzing",
    ]
    # Whether a text is too long, or a width was trained for, no schema can say: valid bodies may still be refused.
    checks = ["--checks=all", "--exclude-checks=positive_data_acceptance"]
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, *checks],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
