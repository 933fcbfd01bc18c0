import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

import jina_rag.rag
from jina_rag import Embedder
from jina_rag.backends.base import WaitCallback
from jina_rag.errors import GenerationError, IndexFolderError
from jina_rag.rag import (
    Answer,
    Conversation,
    DocumentIndex,
    Filters,
    RagPipeline,
    Retriever,
    SearchOptions,
    SearchResult,
)
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.extractive import ExtractiveGenerator
from jina_rag.rag.answering.run import Found, Stage
from jina_rag.rag.answering.types import NO_ANSWER, Turn
from jina_rag.rag.citations.marks import CitationMark, Text
from jina_rag.rag.citations.support import Support, find_support
from tests.rag.conftest import FixedRetriever, ScriptedModel, passages
from tests.rag.documents.pdf import write_pdf


@pytest.fixture
def pipeline(index: DocumentIndex, notes: Path, embedder: Embedder) -> RagPipeline:
    write_pdf(notes / "manual.pdf", ["Io has many volcanoes.", "Jupiter has a great storm."])
    index.add([notes])
    return RagPipeline(Retriever(index), ExtractiveGenerator(embedder), options=SearchOptions(k=2))


def test_an_answer_cites_the_passage_it_comes_from(pipeline: RagPipeline, notes: Path) -> None:
    answer = pipeline.ask("Why does Mars look red, is it because of rust?")
    assert answer.text == "Mars looks red because of iron rust. [1]"
    assert answer.answered
    (citation,) = answer.citations
    assert citation.verified
    assert citation.result is answer.passages[0]
    assert citation.result.chunk.source == str(notes / "mars.md")
    assert len(answer.passages) == 2
    assert answer.unknown_numbers == ()


def test_an_answer_from_a_pdf_names_the_page(pipeline: RagPipeline) -> None:
    (citation,) = pipeline.ask("Has Jupiter a great storm?").citations
    assert citation.result.chunk.page == 2


def test_a_question_that_the_documents_do_not_answer(pipeline: RagPipeline) -> None:
    answer = pipeline.ask("Who won the football cup?")
    assert (answer.text, answer.answered, answer.citations) == (NO_ANSWER, False, ())


def test_streaming_gives_the_same_answer(pipeline: RagPipeline) -> None:
    question = "Why does Mars look red, is it because of rust?"
    with pipeline.start(question) as run:
        text = "".join(event.text for event in run if isinstance(event, Text | CitationMark))
    assert text == run.answer.text
    assert run.answer == pipeline.ask(question)


def test_a_run_tells_stages_passages_text_and_marks(pipeline: RagPipeline) -> None:
    run = pipeline.start("Why does Mars look red, is it because of rust?")
    events = list(run)
    assert [event.name for event in events if isinstance(event, Stage)] == ["searching", "reading", "answering"]
    (found,) = (event for event in events if isinstance(event, Found))
    assert found.passages == run.answer.passages
    assert "".join(event.text for event in events if isinstance(event, Text | CitationMark)) == run.answer.text
    assert [event.numbers for event in events if isinstance(event, CitationMark)] == [(1,)]
    assert run.answer == pipeline.ask(run.answer.question)
    timings = run.answer.timings
    assert timings is not None
    assert min(timings.searching, timings.reading) > 0
    assert timings.total == pytest.approx(timings.searching + timings.reading + timings.answering)


class SlowWriter(ExtractiveGenerator):
    """Writes one word after another, for ever, and knows whether it was closed; before that it waits in a queue."""

    closed = False

    def stream(
        self,
        question: str,  # noqa: ARG002
        passages: Sequence[SearchResult],  # noqa: ARG002
        history: Sequence[Turn] = (),  # noqa: ARG002
        on_wait: WaitCallback | None = None,
    ) -> Iterator[str]:
        assert on_wait
        try:
            for n_ahead in (2, 1, 0):
                on_wait(n_ahead)
                yield ""
            while True:
                yield "Mars looks red because of iron rust [1]. "
        finally:
            self.closed = True


def test_an_answer_can_be_stopped_and_what_had_come_stays(pipeline: RagPipeline, embedder: Embedder) -> None:
    writer = SlowWriter(embedder)
    pipeline = RagPipeline(pipeline.retriever, writer, options=SearchOptions(k=2))
    ended: list[Answer] = []
    with pipeline.start("Why is Mars red?", on_end=ended.append) as run:
        stages = [event for event in islice(run, 12) if isinstance(event, Stage)]
        assert not run.answer.stopped
    assert [(stage.name, stage.n_ahead) for stage in stages] == [
        ("searching", 0),
        ("reading", 0),
        ("waiting", 2),
        ("waiting", 1),
        ("reading", 0),
        ("answering", 0),
    ]
    assert writer.closed
    assert run.answer.stopped
    assert run.answer.text.startswith("Mars looks red")
    assert run.answer.citations[0].verified
    assert ended == [run.answer]
    with pytest.raises(StopIteration):
        next(run)


def test_a_failure_ends_a_run_and_what_had_come_stays(pipeline: RagPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[str]:
        yield "Mars looks red [1]"
        raise GenerationError("The server is gone. Start it again.")

    monkeypatch.setattr(ExtractiveGenerator, "stream", broken)
    ended: list[Answer] = []
    run = pipeline.start("Why is Mars red?", on_end=ended.append)
    with pytest.raises(GenerationError, match="server is gone"):
        list(run)
    assert [(answer.text, answer.stopped) for answer in ended] == [("Mars looks red [1]", True)]


def test_options_reach_the_search(pipeline: RagPipeline) -> None:
    question = "Which planet has clouds or rings or storms?"
    only_text = SearchOptions(k=9, filters=Filters(file_types=(".txt",)))
    assert {Path(r.chunk.source).suffix for r in pipeline.retriever.retrieve(question, only_text)} == {".txt"}
    assert len(pipeline.retriever.retrieve(question, SearchOptions(k=1))) == 1
    assert pipeline.retriever.retrieve(question, SearchOptions(mode="dense"))[0].lexical is None
    around = pipeline.retriever.retrieve("Has Jupiter a great storm?", SearchOptions(k=1, context_window=1))[0]
    assert [chunk.text for chunk in around.before] == ["Io has many volcanoes."]
    assert pipeline.ask(question, only_text).passages == tuple(pipeline.retriever.retrieve(question, only_text))


def test_neighbours_are_read_and_checked_too(pipeline: RagPipeline) -> None:
    model = ScriptedModel("There are many volcanoes on Io [1].")
    options = SearchOptions(k=1, context_window=1)
    answer = RagPipeline(pipeline.retriever, ChatGenerator(model), options=options).ask("Has Jupiter a great storm?")
    assert answer.passages[0].chunk.text == "Jupiter has a great storm."
    assert "Io has many" in model.asked[0][-1]["content"]
    assert answer.verified


def test_an_answer_in_plain_types(pipeline: RagPipeline) -> None:
    answer = pipeline.ask("Why does Mars look red, is it because of rust?")
    told = json.loads(json.dumps(answer.as_dict()))
    assert (told["answered"], told["verified"], told["stopped"]) == (True, True, False)
    assert told["citations"][0]["id"] == told["passages"][0]["chunk"]["id"]
    assert told["claims"][0]["verbatim"]
    assert told["timings"]["searching"] > 0


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_blank_question_is_refused(pipeline: RagPipeline, question: str) -> None:
    with pytest.raises(GenerationError, match="question is empty"):
        pipeline.ask(question)


def test_a_folder_opens_with_its_own_model(tmp_path: Path, notes: Path, minilm: Embedder) -> None:
    with pytest.raises(IndexFolderError):
        RagPipeline.open(tmp_path / "index")
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    with RagPipeline.open(tmp_path / "index") as pipeline:
        assert pipeline.ask("What are Saturn's rings made of?").text == "Saturn has rings made of ice. [1]"


def test_what_was_opened_is_closed_and_what_was_handed_over_is_not(
    tmp_path: Path, notes: Path, minilm: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[DocumentIndex] = []
    close = DocumentIndex.close

    def noted(index: DocumentIndex) -> None:
        closed.append(index)
        close(index)

    monkeypatch.setattr(DocumentIndex, "close", noted)
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
        with RagPipeline(Retriever(index), ExtractiveGenerator(minilm, index)):
            pass
        assert not closed
    with RagPipeline.open(tmp_path / "index") as pipeline:
        opened = pipeline.retriever.index
    assert closed == [index, opened]
    with pytest.raises(GenerationError):
        RagPipeline.open(tmp_path / "index", llm="nowhere.gguf")
    assert len(closed) == 3


def test_a_chat_model_that_was_opened_is_closed(
    tmp_path: Path, notes: Path, minilm: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    freed: list[llama_cpp.Llama] = []
    monkeypatch.setattr(llama_cpp.Llama, "__del__", lambda llama: freed.append(llama))
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    with RagPipeline.open(tmp_path / "index", llm="smollm2") as pipeline:
        with pipeline.start("What are Saturn's rings made of?") as run:
            next(event for event in run if isinstance(event, Stage) and event.name == "answering")
        assert not freed
    assert len(freed) == 1
    freed[0].close()
    model = ScriptedModel("Ice.")
    with RagPipeline(FixedRetriever(passages("Ice.")), ChatGenerator(model)):
        pass
    assert not model.n_closed  # it was handed over


def test_a_claim_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written; not at the end again, and not whenever somebody looks at the answer."""
    checked: Counter[tuple[str, str]] = Counter()

    def counting(claim: str, passage: str, *rest: str) -> Support:
        checked[claim, passage] += 1
        return find_support(claim, passage, *rest)

    monkeypatch.setattr("jina_rag.rag.citations.claims.find_support", counting)
    model = ScriptedModel("Mars has two moons [1]. ", "The tower has 142 ", "steps [2].")
    found = passages("Mars has two moons.", "The tower has 142 steps.", "Venus is hot.")
    conversation = Conversation(RagPipeline(FixedRetriever(found), ChatGenerator(model)))
    for n_answers in (1, 2):
        with conversation.start("Tell me.") as run:
            for _ in run:
                assert run.answer.citations is not None
        assert run.answer.verified
        assert [citation.number for citation in run.answer.citations] == [1, 2]
        assert conversation.as_markdown().count("(verified)") == 2 * n_answers
        assert checked.total() == 2 * n_answers


@pytest.mark.parametrize("llm", [None, "smollm2"])
def test_nothing_needs_a_network(
    llm: str | None,
    tmp_path: Path,
    notes: Path,
    minilm: Embedder,
    socket_disabled: None,  # noqa: ARG001 - not even this machine's own addresses
) -> None:
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        assert not index.add([notes]).failed
    with RagPipeline.open(tmp_path / "index", llm=llm, options=SearchOptions(k=2)) as pipeline:
        assert pipeline.retriever.retrieve("Saturn's rings")
        with pipeline.start("What are Saturn's rings made of?") as run:
            text = "".join(event.text for event in islice(run, 40) if isinstance(event, Text))
    assert text


def test_public_names_exist_and_are_cheap() -> None:
    assert all(getattr(jina_rag.rag, name) is not None for name in jina_rag.rag.__all__)
    heavy = {"numpy", "chromadb", "openai", "rich.table"}
    code = f"import sys, jina_rag.rag, jina_rag.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
