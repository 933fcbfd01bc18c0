"""What the app does and shows before the first question: without an index, with an empty one, and with one."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from escaping import escape
from index_work import start_upload
from options import options
from service import SAMPLES_COLLECTION, draw_kept_error, errors_kept, errors_shown, is_sample, service
from tasks import State, Task

from jina_rag.formatting import counted
from jina_rag.rag import DocumentIndex
from jina_rag.rag.store.types import IndexedDocument

# Questions that the sample documents answer; each is offered only where its document is in the index.
SAMPLE_QUESTIONS = {
    "ferry-timetable.html": "When does the last boat leave Ostrel?",
    "lamp-manual.pdf": "What does fault code E7 mean?",
    "history-of-the-light.pdf": "Whom did Edith Marrable rescue in the gale?",
    "haeufige-fragen.de.html": "Wie hoch ist das Pfand für den Audioguide?",
}
N_QUESTIONS = 3
_HEADING_LENGTHS = range(3, 61)  # characters: neither a number nor a sentence
_KINDS = "PDF, Word, PowerPoint, Excel, EPUB, HTML, Markdown, text, CSV, JSON, mail, pictures or source code"
_N_LOOKED_AT = 200  # passages, spread over the index


def begin_with_samples() -> None:
    """Put the sample documents into an index that is yet to be made, in the background, unless told not to.

    Raises:
        ServerSettingsError: the app was started with settings that it does not know.
        IndexFolderError: there is an index, and it is damaged.
    """
    if options().samples and not service().has_index() and not service().tasks.all():
        service().add_samples()


def is_ready() -> bool:
    """Whether there is something to ask. If not, the page says why and what to do, and goes on by itself."""
    task = service().tasks.running()
    ready = _can_ask(task)
    if task:
        draw_progress(ready=ready)
    elif not ready and service().store:
        st.info(f"{escape(service().store or '')} has no passages yet.")
    elif not ready:
        draw_nothing_yet()
    return ready


def _can_ask(task: Task | None) -> bool:
    """The sample documents are worth the wait for all of them, which is short."""
    if task and task.collection == SAMPLES_COLLECTION:
        return False
    return service().has_index() and service().searched.count_chunks() > 0


@st.fragment(run_every=0.5)
def draw_progress(*, ready: bool) -> None:
    """How far the work on the documents is; the page is drawn anew when it is over, or there is enough to ask."""
    task = service().tasks.running()
    if task is None or ready != _can_ask(task):
        st.rerun()
    if not ready:
        st.title("Getting your documents ready")
    st.progress(task.progress or 0.0, escape(task.message) or "Starting")
    if ready:
        st.caption("You can ask already. New documents become searchable as they finish.")


def draw_nothing_yet() -> None:
    """What the app is for, and the ways to give it something to answer from."""
    st.title("Welcome", anchor=False)
    st.write("Add documents and ask questions about them. Answers show the passages they come from.")
    tasks = service().tasks.all()
    if tasks and tasks[0].state is State.FAILED:
        st.error(escape(tasks[0].error), icon=":material/error:")
    draw_uploader()
    draw_samples_button()


def draw_uploader(collection: str = "default") -> None:
    """A field for files. It is a new one after each drop, so that uploads don't stay in memory."""
    key = f"files-{st.session_state.setdefault('n_drops', 0)}"
    st.file_uploader(
        f"Drop files here: {_KINDS}", accept_multiple_files=True, key=key, on_change=_add, args=(key, collection)
    )
    draw_kept_error()


def _add(key: str, collection: str) -> None:
    files = st.session_state[key]
    st.session_state.n_drops += 1
    with errors_kept():
        if files:
            start_upload(service(), service().tasks, [(file.name, file) for file in files], collection)


def draw_samples_button() -> None:
    """The way to the sample documents."""
    if st.button("Try the sample documents", icon=":material/auto_stories:", key="samples"):
        with errors_shown():
            service().add_samples()
            st.rerun()


def draw_beginning(ask: Callable[[str], None]) -> None:
    """What there is to ask about and which model answers, and questions to begin with."""
    if service().store:
        st.title("Ask your documents", anchor=False)
        st.write(f"{counted(service().searched.count_chunks(), 'passage')} in {escape(service().store or '')}")
        _draw_first_steps()
        return
    index = service().index
    documents = index.documents()
    own = [document for document in documents if not is_sample(document.source)]
    n_samples = len(documents) - len(own)
    st.title("Ask your documents" if own else "Try it with sample documents", anchor=False)
    if own:
        st.write(counted(len(own), "document") + (f", and {n_samples} samples" if n_samples else ""))
    else:
        st.write(f"{counted(n_samples, 'file')} about a fictional lighthouse. Try the app, then add your own.")
    _draw_first_steps()
    st.caption("Or ask, for example:")
    for number, question in enumerate(_questions(index, documents, own)):
        st.button(escape(question), on_click=ask, args=(question,), icon=":material/help:", key=f"example-{number}")


def _draw_first_steps() -> None:
    with errors_shown():
        if service().pipeline().generator is None:
            st.write("No language model is connected: you see the passages that fit a question best.")
        with st.container(horizontal=True):
            if not service().store and st.button(
                "Add documents", icon=":material/note_add:", type="primary", key="add-documents"
            ):
                st.switch_page("app_pages/library.py")
            label = "Connect a model" if service().pipeline().generator is None else "Change the model"
            if st.button(label, icon=":material/memory:", key="connect-model"):
                st.switch_page("app_pages/models.py")


def _questions(index: DocumentIndex, documents: list[IndexedDocument], own: list[IndexedDocument]) -> list[str]:
    """Questions to begin with: about headings of the reader's own documents, else about the samples."""
    if not own:
        names = {Path(document.source).name for document in documents}
        return [question for name, question in SAMPLE_QUESTIONS.items() if name in names][:N_QUESTIONS]
    about = {document.source: f"What is “{document.title}” about?" for document in own}
    for chunk in index.sample(_N_LOOKED_AT):
        heading = (chunk.heading or "").split(" > ")[-1].strip()
        if chunk.source in about and len(heading) in _HEADING_LENGTHS:
            about[chunk.source] = f"What is said about “{heading}”?"
    return list(dict.fromkeys(about.values()))[:N_QUESTIONS]
