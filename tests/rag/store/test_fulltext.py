"""Search by words: what is a word, which passage ranks first, and no text that breaks it."""

import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store import fulltext as lexical

Index = Callable[..., sqlite3.Connection]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.execute("CREATE TABLE chunks (number INTEGER PRIMARY KEY, id TEXT UNIQUE, source TEXT, text TEXT)")
        for statement in lexical.TABLES:
            opened.execute(statement)
        yield opened


@pytest.fixture
def index(connection: sqlite3.Connection) -> Index:
    """Adds texts; their ids are the texts themselves."""

    def add(*texts: str, source: str = "/a.txt", title: str = "", heading: str | None = None) -> sqlite3.Connection:
        chunks = [Chunk(text, source, title, 0, None, heading, 0, len(text), text) for text in texts]
        connection.executemany(
            "INSERT INTO chunks (id, source, text) VALUES (?, ?, ?)", [(c.id, c.source, c.text) for c in chunks]
        )
        lexical.add(connection, chunks)
        return connection

    return add


def _found(connection: sqlite3.Connection, query: str, k: int = 10) -> list[str]:
    return [hit.id for hit in lexical.search(connection, query, k)]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The pump reports ERR_CONN-42 and stops", "ERR_CONN-42"),
        ("Upgrade to v1.2.3 first", "v1.2.3"),
        ("Call foo_bar(x) twice", "foo_bar"),
        ("See https://example.org/a-b?c=1", "https://example.org/a-b?c=1"),
        ("Ein Zürcher Café", "zurcher cafe"),
        ("Ein Zu\u0308rcher Cafe\u0301", "Zürcher Café"),
        ("naïve", "NAIVE"),
        ("The cats were running", "cat runs"),
        ("a ﬁle in ＦＵＬＬ width", "file full"),
        ("Это красный дом", "красный"),
        ("Η Αθήνα είναι πόλη", "αθηνα"),
        ("ещё и чай", "еще"),
        ("यह एक किताब है", "किताब"),
        ("هذا كتاب جديد", "كتاب"),
        ("机器学习很有趣", "学习"),
        ("机器学习很有趣", "趣"),
        ("かばんを買う", "かばん"),
        ("ﾃｽﾄを書く", "テスト"),
        ("이 문장은 한국어입니다", "한국어"),
        ("ภาษาไทยไม่มีช่องว่าง", "ไม่มี"),
        ("東京towerの猫", "東京tower"),
        ("東京towerの猫", "猫"),
        ("𠮷野家で食べる", "𠮷野家"),
        ("the **N**orthern f**oo**bar and South**ern**", '"the Northern foobar and Southern"'),
        ("area = width*height*depth", "height"),
        ("an ex\u00adam\u00ad\n  ple, zero\u200bwidth Auf\u200clage", '"an example, zerowidth Auflage"'),
        ("a well-\nknown exam-\nple", "known"),
        ("a well-\nknown exam-\nple", "example"),
        ("H_2O, CO₂ and H<sub>2</sub>S", '"H2O, CO2 and H₂S"'),
        ("CO₂", "CO_2"),
        ("about 10<sup>6</sup> or 10⁶", '"10^6 or 10^6"'),
        ("about 10⁶ of them", "10^6"),
        ("50 m² and 1½", "m2"),
        ("the 21^st of May", '"the 21st"'),
    ],
)
def test_words_are_found(index: Index, text: str, query: str) -> None:
    assert _found(index(text, "something else altogether"), query) == [text]


@pytest.mark.parametrize(
    ("text", "query"),
    [("がん", "かん"), ("10^6", "106"), ("1½", "112"), ("机器学习", "机学"), ("cat", "category"), ("한국어", "국한")],
)
def test_other_words_are_not(index: Index, text: str, query: str) -> None:
    assert _found(index(text), query) == []


def test_a_question_finds_the_passage_that_has_its_rare_words(index: Index) -> None:
    texts = ["What is the time? It is the time that it is.", "Phobos is a moon of Mars.", "The Earth has the Moon."]
    assert _found(index(*texts), "What is the moon of the planet Mars?")[0] == texts[1]


def test_a_query_of_common_words_alone_looks_for_them(index: Index) -> None:
    assert _found(index("To be, or not to be", "Phobos"), "to be or not to be") == ["To be, or not to be"]


def test_words_that_many_chunks_have_are_looked_for_only_alone(index: Index) -> None:
    connection = index("a moon of red ice", *(f"the moon {number}" for number in range(1200)))
    assert _found(connection, "the moon of ice") == ["a moon of red ice"]
    assert len(_found(connection, "the moon")) == 10
    assert _found(connection, '"red ice" the moon') == ["a moon of red ice"]


def test_words_joined_by_signs_count_for_more_together(index: Index) -> None:
    apart, together = "42 times CONN gave ERR or not", "the code ERR_CONN-42 says so"
    assert _found(index(apart, together), "ERR_CONN-42") == [together, apart]


def test_quoted_words_must_stand_together(index: Index) -> None:
    together, apart = "a red planet indeed", "a planet that is red"
    connection = index(together, apart)
    assert sorted(_found(connection, "red planet")) == sorted([together, apart])
    for query in ('"red planet"', "“red planet”", "«red planet»"):
        assert _found(connection, query) == [together]
    assert _found(connection, '"planet red"') == []


def test_titles_and_headings_count(index: Index) -> None:
    index("It opens at nine.", title="Museum guide", heading="Opening hours")
    assert _found(index("It closes at six."), "museum hours") == ["It opens at nine."]


def test_rarer_words_and_shorter_passages_score_higher(index: Index) -> None:
    short, long = "Deimos orbits", "Deimos orbits and very much else is said at length in this passage"
    scored = lexical.search(index(short, long, "nothing", "of", "the sort"), "Deimos", 5)
    assert [hit.id for hit in scored] == [short, long]
    assert scored[0].score > scored[1].score > 0


def test_coverage_is_the_share_of_the_query_that_a_passage_has(index: Index) -> None:
    connection = index("moon K0234 one", "moon two of", "sun three four", "sun five six", "sun seven eight")
    whole, part = lexical.search(connection, "moon K0234 elsewhere", 5)
    assert 0.9 <= whole.coverage <= 1
    assert part.coverage < 0.5
    assert lexical.search(connection, "elsewhere", 5) == []


def test_no_more_than_k(index: Index) -> None:
    assert len(_found(index(*(f"moon {n}" for n in range(9))), "moon", k=4)) == 4


def test_a_condition_restricts(index: Index) -> None:
    index("moon one", source="/a.txt")
    connection = index("moon two", source="/b.txt")
    found = lexical.search(connection, "moon", 5, "chunks.source = ?", ["/b.txt"])
    assert [hit.id for hit in found] == ["moon two"]


def test_deleted_words_are_gone_and_may_come_back(index: Index) -> None:
    index("moon one", source="/a.txt")
    connection = index("moon two", source="/b.txt")
    lexical.delete(connection, "/a.txt")
    connection.execute("DELETE FROM chunks WHERE source = '/a.txt'")
    assert _found(connection, "moon") == ["moon two"]
    assert sorted(_found(index("moon three", source="/a.txt"), "moon")) == ["moon three", "moon two"]
    connection.execute("INSERT INTO lexical (lexical) VALUES ('integrity-check')")


def test_words_left_behind_by_a_chunk_that_is_gone_are_replaced(index: Index) -> None:
    connection = index("old moon")
    connection.execute("DELETE FROM chunks")
    assert _found(index("new sun"), "sun") == ["new sun"]  # with the number of the old one
    assert _found(connection, "moon") == []
    lexical.clear(connection)
    assert _found(connection, "sun") == []


WILD = st.text(
    st.characters() | st.sampled_from("\"'*^(){}:+-.,~|&!<>@#\\\0\ud800\udfff\u200d\u202e猫が한ไ😀_")
) | st.lists(
    st.sampled_from(["AND", "OR", "NOT", "NEAR(", ")", '"', "*", "^", "title:", "{text}", "-", "+", "moon", "猫"])
).map(" ".join)


@given(query=WILD)
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_looked_for(index: Index, query: str) -> None:
    connection = index()
    if not connection.execute("SELECT count(*) FROM chunks").fetchone()[0]:
        index("moon and 猫", "AND OR NOT NEAR")
    for hit in lexical.search(connection, query, 5):
        assert hit.score > 0
        assert 0 < hit.coverage <= 1


# What is not assigned yet may be a letter to a later version of Unicode, in Python or in SQLite.
ASSIGNED = WILD.filter(lambda text: not {"Cn", "Cs"} & set(map(unicodedata.category, text)))


@given(text=ASSIGNED)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_finds_itself(index: Index, text: str) -> None:
    connection = index()
    connection.execute("DELETE FROM chunks")
    lexical.clear(connection)
    index(text, "something else altogether")
    assert text in _found(connection, text) or not any(sign.isalnum() for sign in text)


@pytest.mark.parametrize(
    "text",
    ["\u0301\u0316" * 200_000, "猫" * 300_000, "word " * 100_000, '"' * 300_000, " ".join(map(str, range(50_000)))],
)
def test_long_texts_are_searched_and_indexed(index: Index, text: str) -> None:
    connection = index("moon 猫")
    assert _found(connection, text) == []
    index(text)
    assert _found(connection, "moon") == ["moon 猫"]
