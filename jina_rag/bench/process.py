"""A process with one model in it that is asked for figures: our end. The other end is `jina_rag.bench.worker`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from jina_rag.bench.files import FoundModel
from jina_rag.bench.progress import Steps
from jina_rag.closeable import Closeable
from jina_rag.errors import BackendError

WORKER_COMMAND = (sys.executable, "-P", "-m", "jina_rag.bench.worker")
_QUERY_TOKENS = 12


@dataclass(frozen=True)
class Timing:
    """One call: how many texts and tokens, and how long it took."""

    texts: int
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens embedded a second."""
        return self.tokens / self.seconds

    @classmethod
    def total(cls, timings: Sequence["Timing"]) -> "Timing":
        """All the calls as one."""
        return cls(
            sum(timing.texts for timing in timings),
            sum(timing.tokens for timing in timings),
            sum(timing.seconds for timing in timings),
        )


class Process(Closeable):
    """A process with one model in it, which answers one request after another, each a line of JSON."""

    def __init__(self) -> None:
        """Start it; the first model is loaded by `load`."""
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            WORKER_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def load(self, found: FoundModel, backend: str | None, dimensions: int | None) -> dict[str, Any]:
        """Load the model and embed a word: gives the seconds, the engine and the width of vectors."""
        row = found.spec.name if found.spec.files else None
        return self._ask("load", path=str(found.path), row=row, dimensions=dimensions, backend=backend)

    def documents(self, tokens: int, texts: int, *, steps: Steps) -> Timing:
        """Embed `texts` texts of `tokens` tokens each, the same at every call."""
        answer = self._ask("documents", tokens=tokens, texts=texts)
        steps.done()
        return Timing(texts, answer["tokens"], answer["seconds"])

    def queries(self, count: int) -> list[float]:
        """Embed questions, one after another: seconds of each."""
        seconds: list[float] = self._ask("queries", tokens=_QUERY_TOKENS, texts=count)["seconds"]
        return seconds

    def peak_bytes(self) -> int | None:
        """The most memory that it has held so far; None where the system doesn't say."""
        peak: int | None = self._ask("memory")["peak_bytes"]
        return peak

    def _ask(self, kind: str, **request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"kind": kind, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise BackendError(
                f"The process that measures has ended ({self._last_words()}). Close other programs if memory is "
                "short, and try a smaller model or quantisation."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"code {code}")

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._log.close()
