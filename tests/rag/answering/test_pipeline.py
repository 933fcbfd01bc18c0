import json
import subprocess
import sys
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
from jina_rag.rag.answering.run import Found, Stage
from jina_rag.rag.answering.types import NO_ANSWER, Turn
from jina_rag.rag.citations.judges import JudgedPair
from jina_rag.rag.citations.marks import CitationMark, Text
from tests.rag.conftest import FixedJudge, FixedRetriever, ScriptedModel, passages
from tests.rag.documents.pdf import write_pdf


@pytest.fixture
def pipeline(index: DocumentIndex, notes: Path) -> RagPipeline:
    write_pdf(notes / "manual.pdf", ["Io has many volcanoes.", "Jupiter has a great storm."])
    index.add([notes])
    model = ScriptedModel("Mars looks red because ", "of iron rust. [1]")
    return RagPipeline(Retriever(index), ChatGenerator(model), options=SearchOptions(k=2))


def test_an_answer_cites_the_passage_it_comes_from(pipeline: RagPipeline, notes: Path) -> None:
    answer = pipeline.ask("Why does Mars look red, is it because of rust?")
    assert answer.text == "Mars looks red because of iron rust. [1]"
    assert answer.answered
    (citation,) = answer.citations
    assert citation.verdict == "quoted"
    assert citation.result is answer.passages[0]
    assert citation.result.chunk.source == str(notes / "mars.md")
    assert len(answer.passages) == 2
    assert answer.unknown_numbers == ()


def test_an_answer_from_a_pdf_names_the_page(pipeline: RagPipeline) -> None:
    generator = ChatGenerator(ScriptedModel("Jupiter has a great storm. [1]"))
    (citation,) = RagPipeline(pipeline.retriever, generator).ask("Has Jupiter a great storm?").citations
    assert citation.result.chunk.page == 2


def test_a_question_that_the_documents_do_not_answer(pipeline: RagPipeline) -> None:
    generator = ChatGenerator(ScriptedModel(NO_ANSWER))
    answer = RagPipeline(pipeline.retriever, generator).ask("Who won the football cup?")
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


class SlowWriter(ChatGenerator):
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


def test_an_answer_can_be_stopped_and_what_is_written_stays(pipeline: RagPipeline) -> None:
    writer = SlowWriter(ScriptedModel())
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
    assert run.answer.citations[0].verdict == "quoted"
    assert ended == [run.answer]
    with pytest.raises(StopIteration):
        next(run)


def test_a_failure_ends_a_run_and_what_is_written_stays(pipeline: RagPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[str]:
        yield "Mars looks red [1]"
        raise GenerationError("The server is gone. Start it again.")

    monkeypatch.setattr(ChatGenerator, "stream", broken)
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
    model = ScriptedModel("Io has many volcanoes [1].")
    options = SearchOptions(k=1, context_window=1)
    answer = RagPipeline(pipeline.retriever, ChatGenerator(model), options=options).ask("Has Jupiter a great storm?")
    assert answer.passages[0].chunk.text == "Jupiter has a great storm."
    assert "Io has many" in model.asked[0][-1]["content"]
    assert answer.checked


def test_an_answer_in_plain_types(pipeline: RagPipeline) -> None:
    answer = pipeline.ask("Why does Mars look red, is it because of rust?")
    told = json.loads(json.dumps(answer.as_dict()))
    assert (told["answered"], told["checked"], told["stopped"]) == (True, True, False)
    assert told["citations"][0]["id"] == told["passages"][0]["chunk"]["id"]
    assert told["claims"][0]["verdict"] == "quoted"
    assert told["timings"]["searching"] > 0


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_blank_question_is_refused(pipeline: RagPipeline, question: str) -> None:
    with pytest.raises(GenerationError, match="question is empty"):
        pipeline.ask(question)


@pytest.mark.parametrize("n_words", [600, 400_000])
def test_a_question_that_is_too_long_is_counted_in_words(pipeline: RagPipeline, n_words: int) -> None:
    with pytest.raises(GenerationError, match=f"too long: {n_words:,} words, {5 * n_words - 1:,} characters"):
        pipeline.ask(" ".join(["lamp"] * n_words))


def test_a_folder_opens_with_its_own_model(tmp_path: Path, notes: Path, minilm: Embedder) -> None:
    with pytest.raises(IndexFolderError):
        RagPipeline.open(tmp_path / "index")
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    with RagPipeline.open(tmp_path / "index") as pipeline:
        answer = pipeline.ask("What are Saturn's rings made of?")
        assert answer.passages[answer.highlights[0].number - 1].chunk.text == "Saturn has rings made of ice."


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
        with RagPipeline(Retriever(index), None):
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
    with RagPipeline.open(tmp_path / "index", llm="smollm2", judge="llm") as pipeline:
        assert pipeline.judge
        with pipeline.start("What are Saturn's rings made of?") as run:
            next(event for event in run if isinstance(event, Stage) and event.name == "answering")
        assert not freed
    assert len(freed) == 1
    freed[0].close()
    model = ScriptedModel("Ice.")
    with RagPipeline(FixedRetriever(passages("Ice.")), ChatGenerator(model)):
        pass
    assert not model.n_closed  # it was handed over


def test_citations_count_from_1_in_the_order_of_the_answer() -> None:
    pieces = ("Venus is hot [3", "] and ", "bright [9][2]. ", "Hot [3, 2, 1].", " `[1]`")
    found = passages("First.", "Second.", "Third.")
    with RagPipeline(FixedRetriever(found), ChatGenerator(ScriptedModel(*pieces))).start("What is there?") as run:
        shown = "".join(event.text for event in run if isinstance(event, Text | CitationMark))
    answer = run.answer
    assert shown == answer.text == "Venus is hot [1] and bright [9][2]. Hot [1, 2, 3]. `[1]`"
    assert answer.passages == (found[2], found[1], found[0])
    assert [claim.numbers for claim in answer.claims] == [(1,), (9, 2), (1, 2, 3), ()]
    assert [citation.number for citation in answer.citations] == [1, 2, 3]


def test_a_judge_reads_each_claim_once() -> None:
    """At the end, and not whenever somebody reads the answer."""
    judge = FixedJudge({"moons": 0.9})
    model = ScriptedModel("Two moons circle Mars [1]. ", "The tower has 142 ", "steps [2].", " Venus is hot.")
    found = passages("Mars has two moons.", "The tower has 142 steps.")
    conversation = Conversation(RagPipeline(FixedRetriever(found), ChatGenerator(model), judge=judge))
    with conversation.start("What is there?") as run:
        stages = [event.name for event in run if isinstance(event, Stage) and not run.answer.checked]
    assert stages == ["searching", "reading", "answering", "checking"]
    assert [claim.verdict for claim in run.answer.claims] == ["supported", "quoted", "unchecked"]
    assert [(citation.number, citation.verdict) for citation in run.answer.citations] == [
        (1, "supported"),
        (2, "quoted"),
    ]
    assert not run.answer.checked
    assert run.answer.judge == "fixed"
    assert [pair.claim for pair in judge.asked] == ["Two moons circle Mars."]
    assert "(supported)" in conversation.as_markdown()
    assert len(judge.asked) == 1


def test_an_answer_whose_judge_fails_stays_unchecked() -> None:
    class BrokenJudge(FixedJudge):
        def judge(self, pairs: Sequence[JudgedPair]) -> list[float]:  # noqa: ARG002
            raise GenerationError("The server is gone. Start it again.")

    pipeline = RagPipeline(
        FixedRetriever(passages("Mars has two moons.")),
        ChatGenerator(ScriptedModel("Two moons circle Mars [1].")),
        judge=BrokenJudge({}),
    )
    ended: list[Answer] = []
    with pytest.raises(GenerationError, match="server is gone"):
        list(pipeline.start("What is there?", on_end=ended.append))
    assert [(answer.text, answer.claims[0].verdict, answer.stopped) for answer in ended] == [
        ("Two moons circle Mars [1].", "unchecked", False)
    ]


def test_without_a_language_model_nothing_is_said(pipeline: RagPipeline) -> None:
    question = "Why does Mars look red, is it because of rust?"
    conversation = Conversation(RagPipeline(pipeline.retriever, None, options=SearchOptions(k=2)))
    with conversation.start(question) as run:
        assert [event.name for event in run if isinstance(event, Stage)] == ["searching", "reading"]
    answer = run.answer
    assert (answer.text, answer.claims, answer.generator, answer.answered, answer.checked) == ("", (), "", False, False)
    best = answer.highlights[0]
    text = answer.passages[best.number - 1].chunk.text
    assert text[best.start : best.end] == "Mars looks red because of iron rust."
    assert {highlight.number for highlight in answer.highlights} == {1, 2}
    assert json.loads(json.dumps(answer.as_dict()))["highlights"][0]["number"] == best.number
    assert "No language model is connected" in conversation.as_markdown()
    assert conversation.turns == [answer]


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
    assert text or run.answer.highlights


def test_public_names_exist_and_are_cheap() -> None:
    assert all(getattr(jina_rag.rag, name) is not None for name in jina_rag.rag.__all__)
    heavy = {"numpy", "chromadb", "openai", "rich.table"}
    code = f"import sys, jina_rag.rag, jina_rag.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
