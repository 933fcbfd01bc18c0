"""Tables and a plot of the rounds that `tests.benchmarks.peers` has measured."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def report(groups: dict[str, dict[str, Any]], folder: Path) -> Path:
    """Write peers.md and peers.svg; gives the first."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [table(key, group) for key, group in groups.items()]
    parts.append(f"![{plot(groups, folder / 'peers.svg')}](peers.svg)")
    target = folder / "peers.md"
    target.write_text("\n\n".join(parts) + "\n")
    return target


def ratios(rounds: Sequence[dict[str, float]], name: str, ours: str) -> list[float]:
    """How many times as fast as `name` ours was, in each round."""
    return [seconds[name] / seconds[ours] for seconds in rounds]


def table(key: str, group: dict[str, Any]) -> str:
    """A group as Markdown: one row for each way beside the first, or for torch one for each of our quantisations."""
    rounds, peaks = group["rounds"], group["peaks"]
    ours = next(iter(peaks))
    heading = (
        f"{key}: {group['passages']} passages, {group['tokens']:,} tokens, {len(rounds)} rounds, {group['date']}\n"
        f"({group['machine']})\n\n"
    )
    if key == "torch":
        return heading + _torch_table(rounds, peaks, group["tokens"])
    lines = [
        f"| way | {ours} is so many times as fast (spread) | tokens/s | peak memory | {ours}'s share of that |",
        "|---|---|---|---|---|",
    ]
    for name in peaks:
        speed = statistics.median(group["tokens"] / seconds[name] for seconds in rounds)
        share = peaks[ours] / peaks[name]
        ratio = _spread(ratios(rounds, name, ours))
        lines.append(f"| {name} | {ratio} | {speed:,.0f} | {peaks[name]:,} MB | {share:.2f} |")
    return heading + "\n".join(lines)


def _torch_table(rounds: Sequence[dict[str, float]], peaks: dict[str, int], tokens: int) -> str:
    peers = [name for name in peaks if name.startswith("torch")]
    lines = [
        f"| | tokens/s | peak memory | {' | '.join(f'against {name}' for name in peers)} |",
        f"|---|---|---|{'---|' * len(peers)}",
    ]
    for name in peaks:
        speed = statistics.median(tokens / seconds[name] for seconds in rounds)
        against = ["" if name in peers else _spread(ratios(rounds, peer, name)) for peer in peers]
        lines.append(f"| {name} | {speed:,.0f} | {peaks[name]:,} MB | {' | '.join(against)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def plot(groups: dict[str, dict[str, Any]], target: Path) -> str:
    """Two bar charts, speed and memory of every way beside jina_rag's; gives its alternative text."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    bars = _bars(groups)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 0.3 * len(bars) + 1.1), sharey=True, layout="constrained")
    places = range(len(bars))
    colors = ["tab:blue" if bar[0].startswith("jina_rag") else "0.65" for bar in bars]
    errors = [[bar[1] - bar[2] for bar in bars], [bar[3] - bar[1] for bar in bars]]
    left.barh(places, [bar[1] for bar in bars], color=colors, xerr=errors, error_kw={"lw": 0.8, "capsize": 2})
    left.set_xlabel("speed (jina_rag Q4_K_M = 1)")
    right.barh(places, [bar[4] for bar in bars], color=colors)
    right.set_xlabel("peak memory (MB)")
    left.set_yticks(places, [bar[0] for bar in bars], fontsize=8)
    left.invert_yaxis()
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", lw=0.4)
        axis.set_axisbelow(True)
    mpl.rcParams["svg.hashsalt"] = "peers"  # the same figures give the same file
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
    told = "; ".join(f"{name} {speed:.2f} at {peak:,} MB" for name, speed, _, _, peak in bars)
    return f"Speed of each way against jina_rag with Q4_K_M, and its peak memory: {told}"


def _bars(groups: dict[str, dict[str, Any]]) -> list[tuple[str, float, float, float, int]]:
    """Name, median, lowest and highest speed against jina_rag Q4_K_M, and peak memory; each way once."""
    bars: dict[str, tuple[str, float, float, float, int]] = {}
    for key, base in (("torch", "jina_rag Q4_K_M"), ("Q4_K_M", "jina_rag"), ("Q4_K_M others", "jina_rag")):
        group = groups.get(key, {"peaks": {}})
        for name in group["peaks"]:
            label = f"{name} Q4_K_M" if name == "jina_rag" else name
            speeds = [1 / ratio for ratio in ratios(group["rounds"], name, base)] if base in group["peaks"] else []
            if speeds and label not in bars:
                median, peak = statistics.median(speeds), group["peaks"][name]
                bars[label] = (label, median, min(speeds), max(speeds), peak)
    return sorted(bars.values(), key=lambda bar: -bar[1])
