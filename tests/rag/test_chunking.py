from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_rag import Embedder
from jina_rag.rag.chunking import split_document
from jina_rag.rag.documents import Document, Page
from jina_rag.rag.documents.headings import Heading, find_headings, heading_path
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder

WILD = st.text(max_size=300) | st.text(alphabet="aé😀\u200d\u0301 .\n#-`|\r\t中", max_size=300)
WORDS_BEFORE = 3  # the fake's opening token, and the two words of the prompt


def _markdown(text: str) -> Document:
    return Document("/a.md", "A", (Page(None, text),), is_markdown=True)


@settings(max_examples=200)
@given(pages=st.lists(WILD, min_size=1, max_size=3), is_markdown=st.booleans(), overlap=st.integers(0, 3))
def test_a_chunk_says_exactly_where_it_stands(pages: list[str], is_markdown: bool, overlap: int) -> None:
    numbered = tuple(Page(number, text) for number, text in enumerate(pages, start=1))
    document = Document("/a", "A", numbered, is_markdown)
    embedder = fake_embedder()
    chunks = split_document(document, embedder, max_tokens=WORDS_BEFORE + 8, overlap=overlap)
    for chunk in chunks:
        assert chunk.page is not None
        assert document.pages[chunk.page - 1].text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert chunks == split_document(document, embedder, max_tokens=WORDS_BEFORE + 8, overlap=overlap)


@settings(max_examples=100)
@given(text=WILD, is_markdown=st.booleans())
def test_no_character_is_lost(text: str, is_markdown: bool) -> None:
    document = Document("/a", "A", (Page(None, text),), is_markdown)
    chunks = split_document(document, fake_embedder(), max_tokens=WORDS_BEFORE + 8)
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())


@pytest.mark.parametrize("is_markdown", [False, True])
def test_long_text_is_cut_in_stretches_without_loss(is_markdown: bool) -> None:
    text = "# One\n\n" + "word " * 15_000 + "\n\n" + "x" * 70_000 + "\n## Two\n\n" + "More words here. " * 3_000
    document = Document("/a", "A", (Page(None, text),), is_markdown)
    chunks = split_document(document, fake_embedder())
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert (chunks[-1].heading == "One > Two") == is_markdown


@pytest.mark.parametrize("text", ["x" * 200_000, "灯台の歴史" * 5_000, "> " * 50_000, "# a\n" * 5_000, "[" * 100_000])
def test_no_text_is_tokenized_again_and_again(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = fake_embedder()
    count_tokens, n_characters = embedder.count_tokens, 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal n_characters
        n_characters += sum(map(len, texts))
        return count_tokens(texts)

    monkeypatch.setattr(embedder, "count_tokens", count)
    chunks = split_document(_markdown(text), embedder, max_tokens=100)
    assert n_characters < 10 * len(text)
    assert max(embedder.count_tokens([chunk.text for chunk in chunks])) <= (200 if text.startswith("#") else 100)


def test_a_chunk_is_never_longer_than_asked_for_or_than_the_model_reads(any_embedder: Embedder) -> None:
    text = "The quick brown fox jumps over the lazy dog near the river bank. " * 200
    document = Document("/a.txt", "A", (Page(None, text),))
    for max_tokens, limit in ((40, 40), (10**6, any_embedder.max_input_tokens)):
        chunks = split_document(document, any_embedder, max_tokens=max_tokens)
        assert max(any_embedder.count_tokens([chunk.text for chunk in chunks])) <= limit
        assert len(any_embedder.embed_documents([chunk.text for chunk in chunks])) == len(chunks)


def test_chunks_carry_the_headings_above_them() -> None:
    text = (
        "Before.\n\n# Guide\n\nWelcome.\n\n## Hours\n\nOpen daily from ten.\n\n### Winter\n\nClosed.\n\n## Dogs\n\nYes."
    )
    chunks = split_document(_markdown(text), fake_embedder(), max_tokens=WORDS_BEFORE + 8)
    assert [(chunk.heading, chunk.text.split("\n")[-1]) for chunk in chunks] == [
        (None, "Before."),
        ("Guide", "Welcome."),
        ("Guide > Hours", "Open daily from ten."),
        ("Guide > Hours > Winter", "Closed."),
        ("Guide > Dogs", "Yes."),
    ]


def test_a_heading_never_stands_alone() -> None:
    text = "# Guide\n\n## Hours\n\n" + "one two three four five six seven eight. " * 5
    chunks = split_document(_markdown(text), fake_embedder(), max_tokens=WORDS_BEFORE + 9)
    assert chunks[0].text.startswith("# Guide\n\n## Hours\n\none two")
    assert all("one two" in chunk.text for chunk in chunks)


def test_chunks_do_not_cross_pages() -> None:
    document = Document("/a.pdf", "A", (Page(1, "one"), Page(2, ""), Page(3, "three")))
    chunks = split_document(document, fake_embedder())
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "one"), (3, "three")]


def test_headings_of_print_hold_until_the_next() -> None:
    first = Page(1, "Guide\n\nHours\n\nOpen daily.", (Heading(1, "Guide", 0, 5), Heading(2, "Hours", 7, 12)))
    second = Page(2, "From ten.\n\nDogs\n\nYes.", (Heading(2, "Dogs", 11, 15),))
    chunks = split_document(Document("/a.pdf", "A", (first, second, Page(3, "No."))), fake_embedder(), max_tokens=6)
    assert [(chunk.page, chunk.heading, chunk.text) for chunk in chunks] == [
        (1, "Guide", "Guide\n\nHours\n\nOpen daily."),
        (2, "Guide > Hours", "From ten."),
        (2, "Guide > Dogs", "Dogs\n\nYes."),
        (3, "Guide > Dogs", "No."),
    ]


def test_headings_of_a_slide_end_with_it() -> None:
    document = Document("/a.pptx", "A", (Page(1, "# One\n\ntext"), Page(2, "more")), is_markdown=True)
    assert [chunk.heading for chunk in split_document(document, fake_embedder())] == ["One", None]


def test_tables_are_cut_between_rows_and_code_is_kept_whole() -> None:
    rows = [f"| row {number} | some words |" for number in range(20)]
    code = "```python\ndef f():\n\n    return 1\n```"
    text = "\n".join(["| a | b |", "| - | - |", *rows]) + f"\n\nAfter it comes code.\n\n{code}\n"
    chunks = split_document(_markdown(text), fake_embedder(), max_tokens=WORDS_BEFORE + 25)
    lines = [line for chunk in chunks for line in chunk.text.split("\n")]
    assert [line for line in lines if line.startswith("| row")] == rows
    assert any(code in chunk.text for chunk in chunks)


class _Joining(FakeBackend):
    """Words in a row become more tokens than each has alone, as no tokenizer does."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [n_tokens + n_tokens // 4 for n_tokens in super().count_tokens(texts)]


def test_the_limit_holds_where_words_do_not_add_up() -> None:
    embedder = Embedder(_Joining(), FAKE_SPEC)
    text = "The quick brown fox jumps over the lazy dog near the river bank. " * 20
    chunks = split_document(Document("/a.txt", "A", (Page(None, text),)), embedder, max_tokens=30)
    assert max(embedder.count_tokens([chunk.text for chunk in chunks])) <= 30
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()


def test_words_are_tokenized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = fake_embedder()
    text = "The quick brown fox jumps over the lazy dog near the river bank. " * 100
    document = Document("/a.txt", "A", (Page(None, text),))
    first = split_document(document, embedder, max_tokens=40)
    counted: list[str] = []
    count = embedder.count_tokens

    def note(texts: Sequence[str]) -> list[int]:
        counted.extend(texts)
        return count(texts)

    monkeypatch.setattr(embedder, "count_tokens", note)
    assert split_document(document, embedder, max_tokens=40) == first
    assert len(counted) <= len(first) + 3


def test_ids_depend_on_source_position_text_and_model() -> None:
    document = Document("/a", "A", (Page(None, "some text"),))
    (chunk,) = split_document(document, fake_embedder())
    assert len(chunk.id) == 32
    assert int(chunk.id, 16)
    moved = replace(document, source="/b")
    changed = replace(document, pages=(Page(None, "some texts"),))
    ids = {split_document(other, fake_embedder())[0].id for other in (document, moved, changed)}
    ids.add(split_document(document, fake_embedder(dimensions=32))[0].id)
    assert len(ids) == 4
    assert split_document(replace(document, title="B"), fake_embedder())[0].id == chunk.id


def test_an_overlap_as_large_as_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        split_document(_markdown("text"), fake_embedder(), max_tokens=10, overlap=10)


def test_headings_in_code_and_front_matter_are_none() -> None:
    text = "---\ntitle: no\n---\n# One `x`\n```\n# no\n```\nTwo\n===\n    # no\n"
    headings = find_headings(text)
    assert [(heading.level, heading.title) for heading in headings] == [(1, "One x"), (1, "Two")]
    assert [text[heading.start : heading.end] for heading in headings] == ["# One `x`\n", "Two\n===\n"]
    assert heading_path(headings, 0) is None
    assert heading_path(headings, len(text)) == "Two"


@settings(max_examples=200)
@given(WILD)
def test_headings_of_any_text_are_found_in_order(text: str) -> None:
    headings = find_headings(text)
    assert all(0 <= heading.start < heading.end <= len(text) for heading in headings)
    assert headings == sorted(headings, key=lambda heading: heading.start)
