"""An evaluation as one HTML file that needs nothing else: no script, no font and no request to anywhere."""

from collections.abc import Iterable, Sequence
from html import escape

from jina_rag.evaluation.measures import SIGNIFICANT, Difference, Estimate, compare
from jina_rag.evaluation.results import AnswersResult, Comparison, Evaluation, MethodResult
from jina_rag.formatting import counted, duration

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .35rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr + tr { border-top: 1px solid #d8dee6; }
th { font-weight: 600; } small, .quiet { color: #5a6675; } .lead { font-size: 1.15rem; }
svg { width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: #1c2430; }
.better { color: #1a7f37; } .worse { color: #b42318; } li { margin: .2rem 0; }
"""

_COLOURS = ("#0b6e4f", "#3a9d76", "#8cc9a1", "#e0c36a", "#c9ced6")
_BANDS = ((1, 1, "first"), (2, 3, "2nd or 3rd"), (4, 5, "4th or 5th"), (6, None, "later"))
_NOT_FOUND = "not found"
_MOST_QUESTIONS = 200
_MOST_NOTES = 20
_FEW_QUESTIONS = 50

_MEANINGS = {
    "nDCG@10": "counts each right passage among the first ten, the more the higher up it is: 1 if all are on top, 0 "
    "if none is there. It is the usual figure to compare search by.",
    "recall@k": "the share of the right passages among the first k.",
    "MRR@10": "the mean of 1 for a right passage in first place, 1/2 in second, 1/3 in third, and 0 if it is not among "
    "ten.",
    "MAP@10": "the same idea where a question has several right passages: the mean of the precision at each.",
}


def make_report(evaluation: Evaluation, comparisons: Sequence[Comparison] = (), against: str = "") -> str:
    """The report as HTML.

    Args:
        evaluation: What was found.
        comparisons: With an earlier run, by measure and way to search.
        against: What that run is called.
    """
    title = f"How well search finds the answers ({evaluation.dataset})"
    parts = [f"<h1>{escape(title)}</h1>"]
    if evaluation.methods:
        parts += [_summary(evaluation)]
    parts += [_notes(evaluation.notes)]
    if evaluation.methods:
        parts += [_rank_plot(evaluation.methods)]
    if comparisons:
        parts += [_comparison_table(comparisons, against)]
    if evaluation.answers:
        parts += [_answers(evaluation.answers)]
    if evaluation.methods:
        parts += [_places_table(evaluation), _measures_table(evaluation.methods), _meanings()]
    parts += [_how_it_was_measured(evaluation)]
    return page(title, parts)


def page(title: str, parts: Iterable[str]) -> str:
    """Parts of HTML as a whole page that may load nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _summary(evaluation: Evaluation) -> str:
    """What the last method found, which is what a user asks for, and whether the others differ from it."""
    *others, shown = evaluation.methods
    n, found = len(shown.ranks), [rank for rank in shown.ranks.values() if rank]
    lead = (
        f'<p class="lead">With <b>{escape(shown.name)}</b> search the right passage came first for <b>{found.count(1)} '
        f"of {counted(n, 'question')}</b>, and was among the first {evaluation.k} for <b>{len(found)} of {n}</b>.</p>"
    )
    groups: dict[str, list[str]] = {}
    for method in others:
        difference = compare(shown.values["nDCG@10"], method.values["nDCG@10"])
        kind = "as good" if difference.p > SIGNIFICANT else "better" if difference.mean > 0 else "worse"
        groups.setdefault(kind, []).append(escape(method.name))
    level = groups.pop("as good", [])
    notes = [f"{_joined(names)} search is {kind} here." for kind, names in groups.items()]
    if level:
        notes.append(f"{_joined(level)} search may be as good: a difference so small can be chance.")
    if n < _FEW_QUESTIONS:
        notes.append(f"{n} questions are few. The more you ask, the surer the figures are.")
    return f"{lead}<p>{' '.join(note[0].upper() + note[1:] for note in notes)}</p>" if notes else lead


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _rank_plot(methods: Sequence[MethodResult]) -> str:
    """A bar for each way to search: at which rank the first expected passage of a question is."""
    left, width, step = 170, 700, 38
    bars = []
    for row, method in enumerate(methods):
        y, x = row * step + 6, float(left)
        bars.append(f'<text x="0" y="{y + 17}">{escape(method.name[:24])}</text>')
        for (_, share), colour in zip(_bands(method), _COLOURS, strict=True):
            bars.append(f'<rect x="{x:.1f}" y="{y}" width="{share * width:.1f}" height="24" fill="{colour}"/>')
            if share >= 0.06:
                ink = "#fff" if colour in _COLOURS[:2] else "#1c2430"
                bars.append(
                    f'<text x="{x + share * width / 2:.1f}" y="{y + 17}" text-anchor="middle" style="fill:{ink}">'
                    f"{share:.0%}</text>"
                )
            x += share * width
    legend_y = len(methods) * step + 20
    for place, (name, _) in enumerate(_bands(methods[0])):
        x = left + place * 130
        bars.append(f'<rect x="{x}" y="{legend_y - 11}" width="12" height="12" fill="{_COLOURS[place]}"/>')
        bars.append(f'<text x="{x + 18}" y="{legend_y}">{name}</text>')
    return (
        "<h2>In which place the right passage comes</h2>"
        f'<svg viewBox="0 0 {left + width + 10} {legend_y + 12}" role="img" '
        f'aria-label="Share of the questions by rank">{"".join(bars)}</svg>'
    )


def _bands(method: MethodResult) -> list[tuple[str, float]]:
    """The share of questions whose first expected passage is within each band of ranks, and of those without."""
    ranks = list(method.ranks.values())
    shares = [
        (name, sum(rank is not None and low <= rank <= (high or rank) for rank in ranks) / len(ranks))
        for low, high, name in _BANDS
    ]
    return [*shares, (_NOT_FOUND, ranks.count(None) / len(ranks))]


def _measures_table(methods: Sequence[MethodResult]) -> str:
    names = list(methods[0].measures)
    rows = (
        [
            escape(method.name),
            *(_with_interval(method.measures[name]) for name in names),
            f"{1000 * method.search_s:.1f} ms",
        ]
        for method in methods
    )
    return "<h2>Measures</h2>" + table(["search", *map(escape, names), "time of a search"], rows)


def _with_interval(value: Estimate) -> str:
    return f"{value.mean:.3f}<br><small>{value.low:.3f} to {value.high:.3f}</small>"


def _meanings() -> str:
    meanings = "".join(f"<li><b>{name}</b>: {text}</li>" for name, text in _MEANINGS.items())
    return (
        "<details open><summary>What this means</summary><ul>"
        "<li>The <b>right passage</b> of a question is one that the questions' file expects.</li>"
        "<li><b>dense</b> search compares the meaning of question and passage by their vectors, <b>lexical</b> search "
        "their words (BM25), and <b>hybrid</b> search joins both.</li>"
        "<li>Each measure is a mean over the questions, from 0 to 1, higher is better. The small figures are a 95% "
        "confidence interval: other questions of the same kind would give a mean in there.</li>"
        f"{meanings}<li>The <b>time of a search</b> is the median of the first questions (30 at most), without "
        "embedding the question.</li></ul></details>"
    )


def _comparison_table(comparisons: Sequence[Comparison], against: str) -> str:
    rows = (
        [
            f"{escape(one.method)}, {escape(one.measure)}",
            _signed(one.difference),
            f"{one.difference.low:+.3f} to {one.difference.high:+.3f}",
            f"{one.difference.better:,} / {one.difference.worse:,}",
            f"{one.difference.p:.4f}",
        ]
        for one in comparisons
    )
    return (
        f"<h2>Compared with {escape(against)}</h2><p>Both runs answered the same {comparisons[0].difference.n:,} "
        "questions, which are compared one by one. p is how often chance alone would make so large a difference "
        f"(paired randomisation test): from {SIGNIFICANT} down it is hardly chance.</p>"
        + table(["", "difference", "95% interval", "questions better / worse", "p"], rows)
    )


def _signed(difference: Difference) -> str:
    kind = "" if difference.p > SIGNIFICANT else "better" if difference.mean > 0 else "worse"
    return f'<span class="{kind}">{difference.mean:+.3f}</span>'


def _answers(answers: AnswersResult) -> str:
    measures = table(["", "mean"], ([escape(name), _with_interval(value)] for name, value in answers.measures.items()))
    if not answers.generator:
        return (
            "<h2>Highlighted sentences</h2><p>Without a language model, the sentence of each passage that is most "
            "similar to the question is highlighted: how often it is in the right passage, and how often it has the "
            f"expected phrase.</p>{measures}"
        )
    judge = f"checked by {answers.judge}" if answers.judge else "only word for word quotations count as support"
    errors = [score.error for score in answers.scores.values() if score.error]
    failed = f"<p>{counted(len(errors), 'answer')} failed, the first with: {escape(errors[0])}</p>" if errors else ""
    return (
        f"<h2>Answers of {escape(answers.generator)}</h2>"
        f"<p>Citations: {escape(judge)}. Recall is the share of an answer's claims that the passages they cite "
        "support; precision the share of its citations that are needed for that (ALCE).</p>"
        f"{measures}{failed}"
    )


def _places_table(evaluation: Evaluation) -> str:
    """The questions whose passage is not first everywhere, those that the last method does worst with on top."""
    last = evaluation.k + 1

    def places(question: str) -> list[int]:
        return [method.ranks[question] or last for method in evaluation.methods]

    later = [question for question in evaluation.questions if max(places(question)) > 1]
    head = "<h2>Questions whose right passage does not come first</h2>"
    if not later:
        return f"{head}<p>None.</p>"
    later.sort(key=lambda question: (-places(question)[-1], -sum(places(question))))
    rows = (
        [
            escape(evaluation.questions[question]),
            *(_NOT_FOUND if place == last else str(place) for place in places(question)),
        ]
        for question in later[:_MOST_QUESTIONS]
    )
    more = f"<p>And {len(later) - _MOST_QUESTIONS:,} more.</p>" if len(later) > _MOST_QUESTIONS else ""
    names = (escape(method.name) for method in evaluation.methods)
    return f"{head}<p>In which place it comes:</p>{table(['', *names], rows)}{more}"


def _notes(notes: Sequence[str]) -> str:
    """What may make the figures worse than search is, such as a question whose file is not in the index."""
    shown = [escape(note) for note in notes[:_MOST_NOTES]]
    if len(notes) > _MOST_NOTES:
        shown.append(f"And {len(notes) - _MOST_NOTES:,} more, which the command prints.")
    return f"<ul>{''.join(f'<li>{note}</li>' for note in shown)}</ul>" if shown else ""


def _how_it_was_measured(evaluation: Evaluation) -> str:
    return (
        f"<h2>How it was measured</h2><p>{escape(evaluation.model)} {escape(evaluation.quantization)}, "
        f"{evaluation.dimensions:,} dimensions, over {counted(evaluation.n_texts, 'passage')}; "
        f"{duration(evaluation.total_s)}, of which {duration(evaluation.embedding_s)} embedding. "
        f'<span class="quiet">{escape(evaluation.created[:16].replace("T", " "))} UTC, questions '
        f"{escape(evaluation.digest)}.</span></p>"
    )
