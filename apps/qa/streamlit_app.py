"""The question-answering page: ask, read the answer, check its sources. All that it knows comes from `jina_rag.rag`.

Text from documents and models is data: documents are shown as plain text, answers as Markdown with nothing in it that
could load, link or draw.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import streamlit as st
from untrusted import harmless, plain, safe_name, unlinked

from jina_rag.errors import DocumentError, IndexFolderError, JinaRagError
from jina_rag.rag import (
    DEFAULT_INDEX_FOLDER,
    READERS,
    AddProgress,
    Answer,
    Citation,
    DocumentIndex,
    RagPipeline,
    read_document,
    read_index_settings,
)

# Questions that the sample documents answer; each is offered only where its document is in the index.
EXAMPLES = {
    "ferry-timetable.html": "When does the last boat leave Ostrel?",
    "lamp-manual.pdf": "What does fault code E7 mean?",
    "history-of-the-light.pdf": "Whom did Edith Marrable rescue in the gale?",
    "haeufige-fragen.de.html": "Wie hoch ist das Pfand für den Audioguide?",
}
READER, LIBRARIAN = ":material/person:", ":material/menu_book:"


def main() -> None:
    """Draw the page."""
    st.set_page_config("Ask your documents")  # no icon: browsers would fetch it from a public server
    st.title("Ask your documents")
    options = parse_options()
    try:
        read_index_settings(options.index)
    except IndexFolderError as error:
        explain_missing_index(options.index, error)
        return
    with errors_shown():
        pipeline = open_pipeline(str(options.index), options.llm)
        with st.sidebar, errors_shown():
            draw_sidebar(pipeline)
        draw_conversation(pipeline)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what went wrong where it went wrong; the messages are written for readers."""
    try:
        yield
    except JinaRagError as error:
        st.error(plain(str(error)))


def parse_options() -> argparse.Namespace:
    """What follows `--` on the command line."""
    parser = argparse.ArgumentParser(prog="streamlit run streamlit_app.py --", description="Ask your documents.")
    parser.add_argument("--index", type=Path, default=DEFAULT_INDEX_FOLDER, help="the folder that `jina-rag add` made")
    parser.add_argument("--llm", help="extractive, smollm2, a chat model's GGUF file, or http://host/v1#model")
    return parser.parse_args()


@st.cache_resource(max_entries=1, on_release=lambda pipeline: pipeline.index.close(), show_spinner="Loading the model")
def open_pipeline(folder: str, llm: str | None) -> RagPipeline:
    """The index with its own model, shared by all who have the page open."""
    return RagPipeline.open(folder, llm=llm)


def explain_missing_index(folder: Path, error: IndexFolderError) -> None:
    """Say how to make an index."""
    st.info(plain(str(error)))
    st.markdown("Put documents into an index, then load this page again:")
    st.code(f'jina-rag add my-documents --index "{folder}"', language="shell")


def draw_sidebar(pipeline: RagPipeline) -> None:
    """What is in the index, the way to add to it, and which models are at work."""
    index, spec = pipeline.index, pipeline.index.embedder.spec
    st.header("Documents")
    contents = st.container()  # above the form, drawn after it: the form changes what is in the index
    with st.form("add", clear_on_submit=True, border=False):
        kinds = [suffix.lstrip(".") for suffix in READERS]
        files = st.file_uploader("Add files", kinds, accept_multiple_files=True, key="files")
        if st.form_submit_button("Add to the index", icon=":material/add:") and files:
            with errors_shown():
                add_files(index, [(file.name, file.getvalue()) for file in files])
    names = sorted(Path(document.source).name for document in index.documents())
    with contents, st.expander(f"{len(names)} in the index", icon=":material/folder_open:"):
        st.text("\n".join(names))
    st.caption(f":material/search: {plain(spec.name)}, licence {plain(spec.license)}")
    st.caption(f":material/edit_note: Answers: {plain(pipeline.generator.name)}")
    if spec.license_notice:
        st.info(plain(spec.license_notice))


def add_files(index: DocumentIndex, files: list[tuple[str, bytes]]) -> None:
    """Keep uploaded files beside the index and add them to it; a file of the same name takes the place of the old."""
    folder = index.folder / "uploads"
    folder.mkdir(exist_ok=True)
    paths = keep_readable(folder, files)
    if not paths:
        return
    bar = st.progress(0.0)

    def show(progress: AddProgress) -> None:
        part = progress.chunks_done / max(progress.chunks_total, 1)
        done = (progress.documents_done + part) / max(progress.documents_total, 1)
        bar.progress(min(done, 1.0), f"Reading {plain(Path(progress.source).name)}")

    report = index.add(paths, on_progress=show)
    bar.empty()
    for failure in report.failed:
        st.error(plain(failure.reason))
    st.success(f"{len(report.added)} added, {len(report.updated)} updated, {len(report.unchanged)} known already.")


def keep_readable(folder: Path, files: list[tuple[str, bytes]]) -> list[Path]:
    """Put files into a folder. One that can't be read is named, and takes the place of none."""
    kept = []
    with TemporaryDirectory(dir=folder) as incoming:
        for name, content in files:
            path = Path(incoming, safe_name(name))
            path.write_bytes(content)
            try:
                read_document(path)
            except DocumentError as error:
                st.error(plain(str(error).replace(str(path), name)))
            else:
                kept.append(path.replace(folder / path.name))
    return kept


def draw_conversation(pipeline: RagPipeline) -> None:
    """The questions so far with their answers, and the field for the next one."""
    st.caption("Every answer names the passages that it rests on. Open them, and check.")
    answers: list[Answer] = st.session_state.setdefault("answers", [])
    for answer in answers:
        draw_question(answer.question)
        with st.chat_message("assistant", avatar=LIBRARIAN):
            st.markdown(harmless(answer.text))
            draw_sources(answer)
    question = st.chat_input("Ask a question about your documents", key="question", submit_mode="disable")
    if not answers:
        question = offer_examples(pipeline, question)
    if question:
        draw_question(question)
        with st.chat_message("assistant", avatar=LIBRARIAN):
            answers.append(draw_new_answer(pipeline, question))


def offer_examples(pipeline: RagPipeline, typed: str | None) -> str | None:
    """The typed question or, before the first one, an example that was clicked."""
    names = {Path(document.source).name for document in pipeline.index.documents()}
    examples = [question for name, question in EXAMPLES.items() if name in names]
    place = st.empty()
    if typed or not examples:
        return typed
    chosen = place.pills("For example", examples, key="example")
    if chosen:
        place.empty()
    return chosen


def draw_question(question: str) -> None:
    """What the reader asked, letter for letter."""
    with st.chat_message("user", avatar=READER):
        st.text(question)


def draw_new_answer(pipeline: RagPipeline, question: str) -> Answer:
    """Find passages, stream the answer onto the page, then show where it comes from."""
    with st.spinner("Searching"):
        passages = pipeline.search(question)
    text, place = "", st.empty()
    for piece in pipeline.stream(question, passages):
        text += piece
        place.markdown(harmless(text))  # the whole of it each time: a sign may be dangerous only with the next
    answer = pipeline.finish(question, text, passages)
    draw_sources(answer)
    return answer


def draw_sources(answer: Answer) -> None:
    """The passages that the answer cites."""
    if answer.unknown_numbers:
        numbers = ", ".join(map(str, answer.unknown_numbers))
        st.warning(f"The answer cites passages that do not exist: {numbers}.")
    if answer.answered and not answer.citations:
        st.warning("The answer names no passage, so nothing shows that it is true.")
    if answer.citations:
        st.caption("Sources")
    for citation in answer.citations:
        with st.expander(source_label(citation)):
            st.text(citation.result.chunk.text)


def source_label(citation: Citation) -> str:
    """One line: number, file, page, heading, and whether the passage really says so."""
    chunk = citation.result.chunk
    place = [f"**{unlinked(plain(f'[{citation.number}] {Path(chunk.source).name}'))}**"]
    if chunk.page is not None:
        place.append(f"page {chunk.page}")
    if chunk.heading:
        place.append(unlinked(plain(chunk.heading)))
    badge = ":green-badge[verified]" if citation.verified else ":orange-badge[not verified]"
    return f"{', '.join(place)} {badge}"


main()
