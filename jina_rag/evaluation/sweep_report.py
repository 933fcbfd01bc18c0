"""A sweep as one HTML file, with a plot of what quality costs."""

from collections.abc import Sequence
from html import escape
from math import log2

from jina_rag.evaluation.report import page, table
from jina_rag.evaluation.sweeping import MARGIN, RESCORED, Sweep, SweepRow
from jina_rag.formatting import counted, file_size

_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 20, 740, 320
_APART = 12


def make_sweep_report(sweep: Sweep) -> str:
    """The report as HTML."""
    title = f"What {sweep.model} costs and finds: {sweep.dataset}"
    advised = sweep.advised
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="lead">Take <b>{escape(advised.name)}</b>: {_bytes(advised)} of memory for a vector, and at '
            f"most {MARGIN} of nDCG@10 below the best, as far as these questions can say.</p>",
            f"<p>{counted(sweep.n_questions, 'question')}, each compared with {counted(sweep.n_texts, 'text')}.</p>",
            "<h2>Quality and memory</h2>",
            _plot(sweep.rows),
            _rows(sweep),
            _meanings(),
        ],
    )


def _plot(rows: Sequence[SweepRow]) -> str:
    """nDCG@10 over the bytes of a vector, on a logarithmic axis; the Pareto front is joined."""
    low, high = min(row.ndcg.mean for row in rows) - 0.01, max(row.ndcg.mean for row in rows) + 0.01
    left, right = (log2(size) for size in (min(_sizes(rows)) / 2, max(_sizes(rows)) * 2))

    def x_of(size: int) -> float:
        return _LEFT + (log2(size) - left) / (right - left) * _WIDTH

    quantizations = list(dict.fromkeys(row.quantization for row in rows))
    parts = []
    for value in (low, (low + high) / 2, high):
        y = _y(value, low, high)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" stroke="#d8dee6"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    front = sorted((x_of(row.memory_bytes), _y(row.ndcg.mean, low, high)) for row in rows if row.is_pareto)
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="#0b6e4f"/>')
    for row in rows:  # those of equal size side by side
        x = x_of(row.memory_bytes) + _APART * quantizations.index(row.quantization)
        place = f'cx="{x:.1f}" cy="{_y(row.ndcg.mean, low, high):.1f}"'
        colour = "#0b6e4f" if row.is_pareto else "#9aa5b1"
        parts.append(f'<circle {place} r="5" fill="{colour}"><title>{escape(row.name)}</title></circle>')
    for size in _sizes(rows):
        parts.append(f'<text x="{x_of(size):.1f}" y="{_TOP + _HEIGHT + 22}" text-anchor="middle">{size:,}</text>')
    where = f'x="{_LEFT + _WIDTH / 2}" y="{_TOP + _HEIGHT + 44}"'
    parts.append(f'<text {where} text-anchor="middle">bytes of memory for a vector</text>')
    return (
        f'<svg viewBox="0 0 {_LEFT + _WIDTH + 10} {_TOP + _HEIGHT + 52}" role="img" '
        f'aria-label="nDCG@10 by bytes of a vector">{"".join(parts)}</svg>'
        f'<p class="quiet">nDCG@10; side by side: {escape(", ".join(quantizations))}. Green: no setting takes as '
        "little memory and finds more.</p>"
    )


def _sizes(rows: Sequence[SweepRow]) -> list[int]:
    return sorted({row.memory_bytes for row in rows})


def _y(value: float, low: float, high: float) -> float:
    return _TOP + (1 - (value - low) / max(high - low, 1e-9)) * _HEIGHT


def _rows(sweep: Sweep) -> str:
    heads = ["setting", "nDCG@10", "recall@10", "found again", "memory", "disk", "all vectors", "model", "texts/s"]
    heads.append("question")
    return "<h2>All settings</h2>" + table(heads, (_cells(row, is_advised=row == sweep.advised) for row in sweep.rows))


def _cells(row: SweepRow, *, is_advised: bool) -> list[str]:
    name = escape(row.name)
    return [
        f"<b>{name}</b>" if is_advised else name,
        f"{row.ndcg.mean:.3f}<br><small>{row.ndcg.low:.3f} to {row.ndcg.high:.3f}</small>",
        f"{row.recall.mean:.3f}",
        f"{row.found_again:.1%}",
        _bytes(row),
        f"{row.disk_bytes:,} bytes",
        file_size(row.index_bytes),
        file_size(row.file_bytes),
        f"{row.texts_per_s:,.1f}",
        f"{1000 * row.question_s:.1f} ms",
    ]


def _bytes(row: SweepRow) -> str:
    return f"{row.memory_bytes:,} bytes"


def _meanings() -> str:
    return (
        "<h2>What this means</h2><ul><li><b>int8</b> keeps each value of a vector in one byte, <b>binary</b> in one "
        f"bit. <b>rescored</b>: of {RESCORED} times as many as are asked for, the best are chosen by their whole "
        "vectors, which lie on disk.</li><li><b>found again</b>: the share of the ten nearest by whole vectors that "
        "this setting finds too.</li><li><b>memory</b> and <b>disk</b> are of one vector, without text or an index "
        "over it; <b>question</b> is the time to embed it and compare it with all vectors.</li><li>The advice is the "
        "setting with the least memory among those that are no worse than the best: the lower end of the 95% "
        f"interval of the difference is above -{MARGIN}. Of equal ones it embeds fastest.</li></ul>"
    )
