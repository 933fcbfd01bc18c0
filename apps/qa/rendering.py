"""Markdown of documents and language models as HTML in which nothing loads, runs or leads elsewhere."""

import re
from collections.abc import Iterable, Sequence
from html import escape

from markdown_it import MarkdownIt
from passages import readable

from jina_rag.rag import Answer
from jina_rag.rag.answering.wording import describe_claim
from jina_rag.rag.citations.claims import Claim, find_claim_spans
from jina_rag.rag.citations.marks import CitationMark, split_marks
from jina_rag.rag.retrieval.snippets import Snippet
from jina_rag.rag.text.cleaning import remove_invisible

MAX_MARKDOWN = 50_000
"""Characters; a longer text is shown as it stands, since Markdown can take time by the square of the length."""

Span = tuple[int, int]

_LIVE = ("image", "link", "autolink", "reference", "html_inline", "html_block")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(_LIVE)
_PLAIN = MarkdownIt("zero", {"html": False, "breaks": True}).enable(["table", "newline"])
"""Lines as they are; only tables are drawn."""

# Characters for private use, which no rule of Markdown knows, stand for tags until the rest is HTML.
_OPEN, _CLOSE, _CITE, _CITED = "\ue000", "\ue001", "\ue002", "\ue003"
_RESERVED = str.maketrans(dict.fromkeys((_OPEN, _CLOSE, _CITE, _CITED), "\ufffd"))
_INLINE = re.compile(r"[^\n|]+")
"""What may be marked in one piece: a mark crosses neither lines nor the cells of a table."""
_SYNTAX_BEFORE, _SYNTAX_BEHIND = re.compile(r"(?:[\s>#*_`~+-]|\d{1,9}[.)]\s)*"), " \t*_`~\\"


def text_html(text: str, marked: Iterable[Span] = (), *, is_markdown: bool, style: str = "") -> str:
    """A text of a document, in which spans from one character to another are marked.

    Args:
        text: The text.
        marked: Where each span begins and ends.
        is_markdown: As `Document.is_markdown`.
        style: A class of answer.css.
    """
    edits = [edit for span in marked for edit in _marking(text, *span)]
    return f'<div class="text {style}">{_rendered(text, edits, is_markdown=is_markdown)}</div>'


def answer_html(answer: Answer) -> str:
    """An answer: its citations as buttons, and what no passage has marked."""
    text, edits = answer.text, _citing(answer.text)
    spans = find_claim_spans(text)
    if len(spans) == len(answer.claims):
        edits += [
            edit
            for claim, span in zip(answer.claims, spans, strict=True)
            for doubt in _doubts(text, claim, span)
            for edit in _marking(text, *doubt)
        ]
    return f'<div class="text">{_rendered(text, edits)}</div>'


def unfinished_html(text: str) -> str:
    """As much of an answer as there is."""
    return f'<div class="text">{_rendered(text, _citing(text))}</div>'


def snippet_html(snippet: Snippet) -> str:
    """A snippet with the sentence that it is about marked."""
    before, sentence, after = (
        _MARKDOWN.renderInline(remove_invisible(text)) for text in (snippet.before, snippet.sentence, snippet.after)
    )
    return f'<div class="text"><p>{before}<mark>{sentence}</mark>{after}</p></div>'


def claims_html(answer: Answer) -> str:
    """The claims of an answer as a list: the verdict on each, what it says and cites, and what is missing."""
    return f'<ul class="text claims">{"".join(map(_claim_html, answer.claims))}</ul>'


def _claim_html(claim: Claim) -> str:
    text = _MARKDOWN.renderInline(remove_invisible(readable(claim)))
    marks = "".join(f" [{number}]" for number in claim.numbers)
    note = f" ({escape(describe_claim(claim))})" if describe_claim(claim) else ""
    return f'<li><b class="{claim.verdict.replace(" ", "-")}">{claim.verdict}</b> {text}{marks}{note}</li>'


def _doubts(text: str, claim: Claim, span: Span) -> list[Span]:
    """What is marked of a claim: all that no cited passage has, or the claim itself if the judge did not find it."""
    if claim.verdict != "not found":
        return []
    places = [(text.find(missing, *span), len(missing)) for missing in claim.missing]
    if not places or min(places)[0] < 0:
        return [span]
    return [(place, place + length) for place, length in places]


def _citing(text: str) -> list[tuple[int, int, str]]:
    edits, place = [], 0
    for part in split_marks(text):
        if isinstance(part, CitationMark):
            numbers = ",".join(map(str, part.numbers))
            edits.append((place, place + len(part.text), f"{_CITE}{numbers}{_CITED}"))
        place += len(part.text)
    return edits


def _marking(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Tags around what has letters in a span; the syntax of Markdown at both ends of it stays outside."""
    edits = []
    for piece in _INLINE.finditer(text, start, end):
        opens = _SYNTAX_BEFORE.match(text, *piece.span())
        first = opens.end() if opens else piece.start()
        last = piece.start() + len(piece[0].rstrip(_SYNTAX_BEHIND))
        if any(map(str.isalnum, text[first:last])):
            edits += [(first, first, _OPEN), (last, last, _CLOSE)]
    return edits


def _rendered(text: str, edits: Sequence[tuple[int, int, str]], *, is_markdown: bool = True) -> str:
    source = text.translate(_RESERVED)
    parts, place = [], 0
    for start, end, replacement in sorted(edits, key=lambda edit: edit[:2]):
        parts += [source[place:start], replacement]
        place = max(place, end)
    shown = remove_invisible("".join([*parts, source[place:]]))
    if len(shown) > MAX_MARKDOWN:
        html = f"<p>{escape(shown)}</p>"
    else:
        parser = _MARKDOWN if is_markdown else _PLAIN
        tokens = parser.parse(shown)
        for token in tokens:
            token.info = ""  # the name of a language would become an attribute
            if token.tag in _HEADINGS:
                token.tag = _HEADINGS[token.tag]
        html = parser.renderer.render(tokens, parser.options, {})
    html = html.replace(_OPEN, "<mark>").replace(_CLOSE, "</mark>")
    return re.sub(f"{_CITE}([^{_CITED}]*){_CITED}", _buttons, html)


_HEADINGS = {"h1": "h4", "h2": "h5", "h3": "h6", "h4": "h6", "h5": "h6"}
"""The page has headings of its own above them."""


def _buttons(cited: re.Match[str]) -> str:
    return "".join(
        f'<button type="button" class="cite" data-number="{number}" aria-label="Source {number}">{number}</button>'
        for number in cited[1].split(",")
    )
