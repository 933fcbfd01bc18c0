"""What the app does and shows while there is nothing to ask: no index yet, an empty one, or one that is being made."""

import streamlit as st
from escaping import escape
from launcher import options
from service import SAMPLES_COLLECTION, service
from tasks import State, Task


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
    elif not ready:
        draw_nothing_yet()
    return ready


def _can_ask(task: Task | None) -> bool:
    """The sample documents are worth the wait for all of them, which is short."""
    if task and task.collection == SAMPLES_COLLECTION:
        return False
    return service().has_index() and service().index.count_chunks() > 0


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
    """Why there is nothing to ask, and the ways to change that."""
    st.title("Ask your documents")
    problem = _last_problem(service().tasks.all())
    if problem:
        st.error(escape(problem), icon=":material/error:")
    st.info("There are no documents yet. Add your own in the library, or try the sample documents.")
    with st.container(horizontal=True):
        st.page_link("app_pages/library.py", label="Add documents", icon=":material/folder_open:")
        if st.button("Try the sample documents", icon=":material/auto_stories:", key="samples"):
            service().add_samples()
            st.rerun()


def _last_problem(tasks: list[Task]) -> str:
    """Why the last task failed, if it did."""
    return tasks[0].error if tasks and tasks[0].state is State.FAILED else ""
