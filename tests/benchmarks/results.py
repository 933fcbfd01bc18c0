"""The figures in our documents, from saved runs.

    python -m tests.benchmarks.results                      # write them into the documents again
    python -m tests.benchmarks.results save NAME COMMAND …  # run a command and save what it prints, JSON or text

A document is its own template. It shows a run between two comments, the first with the run's name and how to show it:

    <!-- run xquad search -->
    …
    <!-- /run -->

A run is a file in `runs`, with its command, date and processor. Those made before runs were saved have the table or the
sentences that were written down from what their command printed.
"""

import json
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jina_rag.machine import available_cores, processor
from jina_rag.rag.chunking import MAX_CHUNK_TOKENS

ROOT = Path(__file__).parents[2]
RUNS = Path(__file__).with_name("runs")
DOCUMENTS = tuple(
    ROOT / name
    for name in (
        "README.md",
        "tests/benchmarks/RESULTS.md",
        "tests/apps/ANSWERS.md",
        "docs/evaluation.md",
        "docs/growth.md",
    )
)

BLOCK = re.compile(r"<!-- run (\S+) (\S+) -->\n.*?<!-- /run -->", re.DOTALL)
_OF_EACH_QUESTION = {"questions", "values", "ranks", "scores"}
"""Parts of an evaluation that are long, and have texts that are not ours to copy."""


def render(document: str, runs: Path = RUNS) -> str:
    """A document with the figures of its runs."""

    def shown(block: re.Match[str]) -> str:
        name, view = block.groups()
        run = _load(name, runs)
        return f"<!-- run {name} {view} -->\n{VIEWS[view](run)}\n<!-- /run -->"

    return BLOCK.sub(shown, document)


def _load(name: str, runs: Path = RUNS) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((runs / f"{name}.json").read_text("utf-8"))
    return run


def save(name: str, command: Sequence[str]) -> None:
    """Run a command and save what it prints."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    try:
        result = _rounded(json.loads(output))
    except ValueError:
        result = output.splitlines()
    run = {
        "command": shlex.join(Path(part).name if Path(part).is_absolute() else part for part in command),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{processor()}, {available_cores()} cores",
        "result": result,
    }
    RUNS.mkdir(exist_ok=True)
    (RUNS / f"{name}.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items() if name not in _OF_EACH_QUESTION}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 5) if isinstance(value, float) else value


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(heads), "|---" * len(heads) + "|", *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _with_source(shown: str, run: dict[str, Any]) -> str:
    command = f"`{run['command']}`" if run.get("command") else ""
    source = ", ".join(filter(None, (run.get("processor"), run.get("date"), command)))
    return f"{shown}\n\n*{source}*" if source else shown


def recorded(run: dict[str, Any]) -> str:
    """The table and the sentences that were written down."""
    parts = [_table(run["columns"], run["rows"])] if "rows" in run else []
    return _with_source("\n\n".join([*parts, *run.get("notes", ())]), run)


def output(run: dict[str, Any]) -> str:
    """What a command printed, as it is."""
    return _with_source("\n".join(["```", *run["result"], "```"]), run)


def speed(run: dict[str, Any]) -> str:
    """The run "peers" in short, without llama.cpp called by hand, and torch at its best in the run "peers-torch"."""
    rows = [[way, ratio, share] for way, ratio, _, _, share in run["rows"][2:]]
    torch = _load("peers-torch")
    ours, theirs = torch["rows"][0], torch["rows"][-1]
    share = f"{int(ours[2].split()[0]) / int(theirs[2].split()[0].replace(',', '')):.2f}"
    rows += [["torch, bfloat16, one by one", ours[3].strip("*"), share], ["torch, int8, one by one", ours[5], share]]
    heads = ["the same model through", "jina_rag is so many times as fast, median (spread)", "in so much of its memory"]
    return _with_source(_table(heads, rows), run)


def search(run: dict[str, Any]) -> str:
    """How well each way to search did: `jina-rag eval --json`."""
    methods = run["result"]["methods"]
    names = list(methods[0]["measures"])
    rows = [[method["name"], *(_estimate(method["measures"][name]) for name in names)] for method in methods]
    return _with_source(_table(["search", *names], rows), run)


def answers(run: dict[str, Any]) -> str:
    """How good answers or highlights were: `jina-rag eval --llm … --json`."""
    measures = run["result"]["answers"]["measures"].items()
    return _with_source(
        _table(["", "mean (95% interval)"], [[name, _estimate(value)] for name, value in measures]), run
    )


def quantizations(run: dict[str, Any]) -> str:
    """The rows of `jina-rag eval --sweep --json` at full width and precision; its speeds need an idle machine."""
    rows = run["result"]["rows"]
    whole = [row for row in rows if row["precision"] == "float32" and row["dimensions"] == rows[0]["dimensions"]]
    cells = [
        [
            row["quantization"],
            _estimate(row["ndcg"]),
            f"{row['recall']['mean']:.3f}",
            f"{row['file_bytes'] / 1e6:,.0f} MB",
        ]
        for row in whole
    ]
    heads = ["weights", "nDCG@10 (95% interval)", "recall@10", "file"]
    return _with_source(_table(heads, cells), run)


def precisions(run: dict[str, Any]) -> str:
    """The rows of `jina-rag eval --sweep --json` for the first quantisation."""
    rows = [row for row in run["result"]["rows"] if row["quantization"] == run["result"]["rows"][0]["quantization"]]
    cells = [
        [
            f"{row['dimensions']:,}",
            row["precision"],
            _estimate(row["ndcg"]),
            f"{row['recall']['mean']:.3f}",
            f"{row['found_again']:.1%}",
            f"{row['memory_bytes']:,}",
            f"{row['disk_bytes']:,}",
        ]
        for row in rows
    ]
    heads = ["dimensions", "vectors", "nDCG@10 (95% interval)", "recall@10", "of float32's ten nearest"]
    return _with_source(_table([*heads, "bytes in memory", "on disk"], cells), run)


def costs(run: dict[str, Any]) -> str:
    """What 1, 10 and 100 million chunks take, by arithmetic from the run "peers" and those of the stores."""
    rate = float(run["rows"][0][2]) / 2  # it has two threads
    chroma = _bytes_of_a_row("chroma-256", "chroma-768")
    lance = _bytes_of_a_row("lancedb-million", of_a_dimension=5)  # float32, and a byte in its index (IVF-SQ)
    heads = ["chunks", "dimensions", "core-hours to embed", "Chroma on disk", "LanceDB on disk"]
    vectors = ["vectors alone in float32", "float16", "int8", "binary"]
    rows = []
    for millions in (1, 10, 100):
        for width in (256, 512, 1024):
            n_bytes = [chroma(width), lance(width), *(width * size for size in (4, 2, 1, 1 / 8))]
            hours = MAX_CHUNK_TOKENS / rate * millions * 1e6 / 3600
            cells = [f"{millions} million", f"{width:,}", f"{hours:,.0f}"]
            rows.append([*cells, *(f"{each * millions / 1e3:,.1f} GB" for each in n_bytes)])
    note = (
        f"By arithmetic: a chunk of {MAX_CHUNK_TOKENS} tokens, the longest there is by default; {rate:,.0f} tokens "
        f"in a second of one core, measured with a model of jina-v5-small's shape in Q4_K_M ({run['processor']}, "
        f"{run['date']}); bytes of a row from the measurements above, for other widths with what a dimension takes."
    )
    return f"{_table([*heads, *vectors], rows)}\n\n{note}"


def _bytes_of_a_row(*names: str, of_a_dimension: float = 4) -> Callable[[int], float]:
    """What a row takes by its dimensions: the line through two runs, or one run and so much for each dimension."""
    points = []
    for name in names:
        lines = _load(name)["result"]
        found = re.search(r"([\d,]+) bytes a row, (\d+) of them the vector", lines[-1])
        assert found, f"{name} says nothing of bytes"
        points.append((int(found[2]) / 4, float(found[1].replace(",", ""))))
    (first, at_first), (last, at_last) = points[0], points[-1]
    slope = (at_last - at_first) / (last - first) if last > first else of_a_dimension
    return lambda width: at_first + slope * (width - first)


def pairs(run: dict[str, Any]) -> str:
    """Two actors of Ray beside two processes: `python -m tests.benchmarks.cluster FOLDER pairs`."""
    result, shown = run["result"], []
    for key in ("seconds", "with_start", "cpu_seconds"):
        ratios = [turn["processes"][key] / turn["ray"][key] for turn in result["rounds"]]
        shown.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return _with_source(
        f"Throughput of two one-CPU actors relative to two processes of one thread, {len(result['rounds'])} rounds of "
        f"{result['chunks']:,} chunks in turn, from the first shard to the last {shown[0]}; with the workers' start "
        f"{shown[1]}; by processor time {shown[2]}.",
        run,
    )


def level(run: dict[str, Any]) -> str:
    """The cost of a chunk by their number: `python -m tests.benchmarks.cluster FOLDER level`."""
    cells: list[list[str]] = []
    before: dict[str, Any] = {"chunks": 0, "cpu_ms": 0.0, "way": ""}
    for row in run["result"]["rows"]:
        way = row.setdefault("way", "no model")
        each = "" if way == "Ray" else f"{row['cpu_ms']:.2f} ms"
        more = (row["chunks"] * row["cpu_ms"] - before["chunks"] * before["cpu_ms"]) / (
            row["chunks"] - before["chunks"]
        )
        further = f"{more:.2f} ms" if each and way == before["way"] else ""
        cells.append([way, f"{row['chunks']:,}", each, further, f"{row['peak_mb']:,} MB"])
        before = row
    heads = ["engine", "chunks", "processor time of a chunk", "of each further one", "most memory of the driver"]
    return _with_source(_table(heads, cells), run)


def _estimate(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


VIEWS: dict[str, Callable[[dict[str, Any]], str]] = {
    view.__name__: view
    for view in (recorded, output, speed, search, answers, quantizations, precisions, costs, pairs, level)
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["save"]:
        save(sys.argv[2], sys.argv[3:])
    for path in DOCUMENTS:
        path.write_text(render(path.read_text("utf-8")), "utf-8")
