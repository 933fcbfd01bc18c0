"""The pictures of the Explore page, as Altair charts; they draw what they are given and fetch nothing."""

from collections.abc import Mapping, Sequence

import altair as alt
from vector_map import OTHERS

from jina_rag.vectors import FloatArray

CHOSEN = "chosen"
"""The name under which a chart says which point was clicked."""

_HOVER = [
    alt.Tooltip("document:N", title="Document"),
    alt.Tooltip("heading:N", title="Heading"),
    alt.Tooltip("begins:N", title="Begins"),
]
_MARK = "#d1495b"  # as all of these, seen on white and on black
_DOCUMENTS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#8c6bb1", "#a6761d")  # also by the colour-blind
_GREY = "#9aa5ab"


def map_chart(
    points: Sequence[dict[str, object]],
    colored: Sequence[str],
    hits: Sequence[dict[str, object]] = (),
    query: FloatArray | None = None,
) -> alt.LayerChart:
    """A map of chunks.

    Args:
        points: Rows from `map_points`.
        colored: Documents with a colour of their own; the others share one.
        hits: Rows of the chunks that a question found, best first; they get a ring and their rank.
        query: Where the question itself lies, of shape (2,).
    """
    rows = [{**point, "shown": point["document"] if point["document"] in colored else OTHERS} for point in points]
    names = [*colored, *([OTHERS] if any(row["shown"] == OTHERS for row in rows) else [])]
    colors = alt.Scale(domain=names, range=[*_DOCUMENTS[: len(colored)], _GREY])
    # One column: a phone is narrow, and file names are long.
    legend = alt.Legend(title=None, orient="bottom", columns=1, labelLimit=260, symbolOpacity=1)
    x, y = (alt.X("x:Q", axis=None, scale=_SCALE), alt.Y("y:Q", axis=None, scale=_SCALE))
    layers = [
        _chart(rows)
        .mark_circle(size=70, opacity=0.65)
        .encode(x, y, color=alt.Color("shown:N", scale=colors, legend=legend), tooltip=_HOVER)
        .add_params(alt.selection_point(name=CHOSEN, fields=["id"], on="click", empty=False))
    ]
    if hits:
        ranked = [{**hit, "rank": str(rank)} for rank, hit in enumerate(hits, start=1)]
        rings = _chart(ranked).encode(x, y, tooltip=_HOVER)
        layers.append(rings.mark_point(size=170, color=_MARK, strokeWidth=2))
        layers.append(rings.mark_text(color=_MARK, fontWeight="bold", dx=13, dy=-9).encode(text="rank:N"))
    if query is not None:
        star = _chart([{"x": float(query[0]), "y": float(query[1]), "what": "Your question"}])
        layers.append(
            star.mark_point(shape=_STAR, size=260, color=_MARK, fill=_MARK).encode(
                x, y, tooltip=alt.Tooltip("what:N", title="This is")
            )
        )
    return alt.LayerChart(layer=layers).properties(height=520)


_SCALE = alt.Scale(zero=False, nice=False, padding=24)
_STAR = "M0,-1L0.22,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.22,-0.31Z"


def _chart(rows: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def heat_map(cosines: FloatArray) -> alt.LayerChart:
    """The cosine of each of n texts with each, of shape (n, n): numbers on coloured cells. Texts go by their number."""
    n = len(cosines)
    values = [
        {"row": row + 1, "column": column + 1, "cosine": round(float(cosines[row, column]), 3)}
        for row in range(n)
        for column in range(n)
    ]
    cells = _chart(values).encode(
        alt.X("column:O", title=None, axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False)),
        alt.Y("row:O", title=None, axis=alt.Axis(ticks=False, domain=False)),
        tooltip=[
            alt.Tooltip("row:O", title="Text"),
            alt.Tooltip("column:O", title="and text"),
            alt.Tooltip("cosine:Q", title="Cosine", format=".3f"),
        ],
    )
    scale = alt.Scale(domain=[0, 1], clamp=True, range=["#f2f6f8", "#0f5c7a"])
    squares = cells.mark_rect(cornerRadius=3).encode(alt.Color("cosine:Q", scale=scale, legend=None))
    is_dark = alt.datum.cosine > 0.55
    numbers = cells.mark_text(fontSize=12).encode(
        alt.Text("cosine:Q", format=".2f"), color=alt.condition(is_dark, alt.value("#ffffff"), alt.value("#1d2a30"))
    )
    return alt.LayerChart(layer=[squares, numbers]).properties(height=max(160, 44 * n + 30))
