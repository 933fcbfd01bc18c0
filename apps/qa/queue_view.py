"""The work on the index as a list that moves by itself: what runs, what waits, and how the last of it went."""

from collections.abc import Callable

import streamlit as st
from escaping import escape
from job import Job, State
from jobs import Jobs
from library_rows import counted, progress, reason, title
from service import errors_shown

_SHOWN = 4  # of those that are over
_REASONS_SHOWN = 50
_ICONS = {
    State.WAITING: ":material/hourglass_empty:",
    State.RUNNING: ":material/sync:",
    State.DONE: ":material/check_circle:",
    State.FAILED: ":material/error:",
    State.CANCELLED: ":material/cancel:",
    State.INTERRUPTED: ":material/pause_circle:",
}
_AGAIN = {State.FAILED: "Try again", State.CANCELLED: "Start again", State.INTERRUPTED: "Resume"}


def draw_queue(jobs: Jobs) -> None:
    """The list; as long as something runs it is drawn anew each second, and the whole page whenever a job has ended."""
    n_open = _n_open(jobs)

    @st.fragment(run_every=1.0 if n_open else None)
    def draw() -> None:
        if n_open and _n_open(jobs) != n_open:
            st.rerun()
        _draw_jobs(jobs)

    draw()


def _n_open(jobs: Jobs) -> int:
    return sum(not job.is_over for job in jobs.all())


def _draw_jobs(jobs: Jobs) -> None:
    known = jobs.all()
    unfinished = [job for job in reversed(known) if not job.is_over]
    over = [job for job in known if job.is_over]
    if not known:
        return
    st.subheader("Work on the library", anchor=False)
    for job in [*unfinished, *over[:_SHOWN]]:
        with st.container(border=True, gap="xsmall", key=f"job-{job.id}"):
            _draw_job(jobs, job)
    if len(over) > _SHOWN:
        st.caption(f"{counted(len(over) - _SHOWN, 'job')} before these.")


def _draw_job(jobs: Jobs, job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{_ICONS[job.state]} **{escape(title(job))}**", width="stretch")
        if not job.is_over:
            _button("Cancel", ":material/close:", job, jobs.cancel, disabled=job.is_stopping)
        elif job.state in _AGAIN:
            _button(_AGAIN[job.state], ":material/refresh:", job, jobs.again)
        if job.is_over:
            _button("Dismiss", ":material/done:", job, jobs.forget)
    if job.state is State.RUNNING:
        st.progress(min(1.0, job.fraction), escape(progress(job)))
    elif job.state is State.WAITING:
        st.caption(escape(progress(job)))
    elif job.error:
        st.error(escape(job.error))
    elif job.state is State.INTERRUPTED:
        st.caption("Interrupted when the app was closed. What was complete is in the library; resume to go on.")
    else:
        st.caption(escape(job.sentence))
    if job.failed:
        with st.expander(f"{counted(len(job.failed), 'document')} could not be read", icon=":material/warning:"):
            _draw_reasons(job)


def _draw_reasons(job: Job) -> None:
    for source, why in job.failed[:_REASONS_SHOWN]:
        st.text(reason(source, why))
    if len(job.failed) > _REASONS_SHOWN:
        st.caption(f"And {len(job.failed) - _REASONS_SHOWN:,} more; all are in the list of documents.")


def _button(label: str, icon: str, job: Job, act: Callable[[str], None], *, disabled: bool = False) -> None:
    if st.button(label, icon=icon, type="tertiary", key=f"{label}-{job.id}", disabled=disabled):
        with errors_shown():
            act(job.id)
            st.rerun()  # of the whole page: other work may begin or have ended
