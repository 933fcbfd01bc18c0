"""How tasks are drawn: a list that follows what happens."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from escaping import escape
from library_rows import reason
from service import errors_shown, service
from tasks import Kind, State, Task

from jina_rag.formatting import counted

_FINISHED_SHOWN = 4
_REASONS_SHOWN = 50
_ICONS = {
    State.QUEUED: ":material/hourglass_empty:",
    State.RUNNING: ":material/sync:",
    State.DONE: ":material/check_circle:",
    State.FAILED: ":material/error:",
    State.CANCELLED: ":material/cancel:",
    State.INTERRUPTED: ":material/pause_circle:",
}
_NOT_ALL = ":material/warning:"
_MESSAGES = {
    State.QUEUED: "Queued",
    State.INTERRUPTED: "Interrupted when the app was closed. Finished documents are in the library; resume to go on.",
}
_RETRY = {State.FAILED: "Try again", State.CANCELLED: "Start again", State.INTERRUPTED: "Resume"}


def draw_tasks(find: Callable[[], list[Task]]) -> None:
    """Tasks, drawn anew each second while one is open, and the whole page when one has ended."""
    n_open = _n_open(find())

    @st.fragment(run_every=1.0 if n_open else None)
    def draw() -> None:
        tasks = find()
        if n_open and _n_open(tasks) != n_open:
            st.rerun()
        finished = [task for task in tasks if task.is_over]
        for task in [*(task for task in reversed(tasks) if not task.is_over), *finished[:_FINISHED_SHOWN]]:
            with st.container(border=True, gap="xsmall", key=f"task-{task.id}"):
                _draw_task(task)
        if len(finished) > _FINISHED_SHOWN:
            st.caption(f"{len(finished) - _FINISHED_SHOWN} earlier")

    draw()


def _n_open(tasks: list[Task]) -> int:
    return sum(not task.is_over for task in tasks)


def _draw_task(task: Task) -> None:
    tasks = service().tasks
    with st.container(horizontal=True, vertical_alignment="center"):
        is_whole = task.state is not State.DONE or not (task.failed or task.withheld)
        st.markdown(f"{_ICONS[task.state] if is_whole else _NOT_ALL} **{escape(title(task))}**", width="stretch")
        if not task.is_over:
            _button("Cancel", ":material/close:", task, tasks.cancel, disabled=task.is_stopping)
        elif task.state in _RETRY:
            _button(_RETRY[task.state], ":material/refresh:", task, tasks.retry)
        if task.is_over:
            _button("Dismiss", ":material/done:", task, tasks.dismiss)
    if task.state is State.RUNNING:
        st.progress(min(1.0, task.progress or 0.0), escape("Cancelling" if task.is_stopping else task.message))
    elif task.error:
        st.error(escape(task.error))
    else:
        st.caption(_MESSAGES.get(task.state) or escape(task.message))
    _draw_not_done(task)


def _draw_not_done(task: Task) -> None:
    """Documents that could not be read, and those that were not removed with the way to do so."""
    if task.withheld:
        st.warning("  \n".join(map(escape, task.withheld)))
        start = lambda _: service().tasks.start(Kind.REMOVE_GONE)  # noqa: E731
        _button("Remove them from the library", ":material/delete:", task, start)
    if task.failed:
        with st.expander(f"{counted(len(task.failed), 'document')} could not be read", icon=_NOT_ALL):
            for source, why in task.failed[:_REASONS_SHOWN]:
                st.text(reason(source, why))
            if len(task.failed) > _REASONS_SHOWN:
                st.caption(f"And {len(task.failed) - _REASONS_SHOWN:,} more; all are in the list of documents.")


def _button(label: str, icon: str, task: Task, act: Callable[[str], object], *, disabled: bool = False) -> None:
    if st.button(label, icon=icon, type="tertiary", key=f"{label}-{task.id}", disabled=disabled):
        with errors_shown():
            act(task.id)
            st.rerun()  # of the whole page: other tasks may begin or have ended


def title(task: Task) -> str:
    """What a task is about, in a few words."""
    names = task.paths if task.kind is Kind.ADD else [Path(path).name for path in task.paths]
    documents = names[0] if len(names) == 1 else counted(len(names), "document")
    return {
        Kind.UPLOAD: f"Add {documents}",
        Kind.ADD: f"Add {documents}",
        Kind.SYNC: "Update all documents",
        Kind.REMOVE_GONE: "Remove documents whose files are gone",
        Kind.RETRY: "Retry failed documents",
        Kind.REMOVE: f"Remove {documents}",
        Kind.REBUILD: f"Switch to {task.model}" if task.model else "Rebuild the index",
        Kind.DOWNLOAD: f"Download {task.model}",
        Kind.TEST: f"Test {(task.model or '').rpartition('#')[2]}",
    }[task.kind]
