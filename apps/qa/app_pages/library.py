"""Library: put documents in, see how far that is, bring them up to date, take them out, keep the index in order."""

from collections.abc import Callable

import streamlit as st
from access import only_this_machine
from escaping import escape
from launcher import options
from library_rows import Entry, counted, entries, folder_size, reason, size
from queue_view import draw_queue
from service import SAMPLES, SAMPLES_COLLECTION, errors_shown, service

from jina_rag.errors import JinaRagError
from jina_rag.rag import DocumentIndex, IndexStatus, Problem
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.text.cleaning import remove_invisible


def main() -> None:
    """Draw the page."""
    st.title("Library", anchor=False)
    if "refused" in st.session_state:
        st.error(escape(st.session_state.pop("refused")), icon=":material/error:")
    index, status = open_index()
    if index and status:
        draw_overview(index, status)
    draw_adding(status)
    draw_queue(service().jobs)
    if index and status:
        draw_documents(index, status)
        draw_collections(status)
    if index or st.session_state.get("cannot_open"):
        draw_care()


def open_index() -> tuple[DocumentIndex | None, IndexStatus | None]:
    """The index and what is in it; nothing if there is none or it can't be opened, and the page says so."""
    st.session_state.cannot_open = False
    try:
        if not service().has_index():
            if not service().jobs.running():
                draw_nothing_yet()
            return None, None
        return service().index, service().index.status()
    except JinaRagError as error:
        st.session_state.cannot_open = True
        st.error(escape(str(error)), icon=":material/error:")
        return None, None


def draw_nothing_yet() -> None:
    """What to do while there is no document."""
    st.info("There are no documents yet. Add your own below, or begin with a few sample documents.")
    if options().samples and st.button("Add the sample documents", icon=":material/lighthouse:", key="samples"):
        with errors_shown():
            service().jobs.add([SAMPLES], SAMPLES_COLLECTION)
            st.rerun()


def draw_overview(index: DocumentIndex, status: IndexStatus) -> None:
    """How much there is, how much room it takes, and which model has read it."""
    uploads = folder_size(index.folder / "uploads")
    parts = [
        counted(status.n_documents, "document"),
        counted(status.n_chunks, "passage"),
        f"{size(status.n_bytes)} on disk" + (f" and {size(uploads)} of uploaded files" if uploads else ""),
        f"read by {status.fingerprint.model} {status.fingerprint.quantization}",
    ]
    st.caption(escape(" · ".join(parts)))
    if status.is_being_written and not service().jobs.running():
        st.warning(
            "Another program is writing to this library, such as `jina-rag add` in a terminal. You can ask meanwhile; "
            "adding and removing have to wait until it is done.",
            icon=":material/lock:",
        )


def draw_adding(status: IndexStatus | None) -> None:
    """Fields for files, for a folder and for the collection that they go into."""
    collections = sorted({"default", *(status.collections if status else ())})
    with st.form("add", clear_on_submit=True):  # cleared, so that uploads don't stay in memory
        st.subheader("Add documents", anchor=False)
        files = st.file_uploader(
            "Drop files here: PDF, Word, PowerPoint, Excel, EPUB, HTML, Markdown, text, CSV, JSON or source code",
            accept_multiple_files=True,
            key="files",
        )
        path = ""
        if only_this_machine():
            path = st.text_input(
                "Or a folder or file on this computer",
                placeholder="~/Documents/notes or ~/Documents/**/*.pdf",
                help="The files stay where they are. “Update” later brings in what has changed there.",
                key="path",
            )
        collection = st.selectbox(
            "Collection",
            collections,
            format_func=remove_invisible,
            accept_new_options=True,
            help="Choose one or type a new name. Questions can be asked of one collection alone.",
            key="collection",
        )
        if st.form_submit_button("Add", icon=":material/add:", type="primary", key="add-button"):
            with errors_shown():
                add(files, path.strip(), (collection or "default").strip())


def add(files: list[st.runtime.uploaded_file_manager.UploadedFile], path: str, collection: str) -> None:
    """Put what was chosen into the queue."""
    jobs = service().jobs
    if files:
        with st.spinner("Keeping the files"):
            jobs.upload([(file.name, file) for file in files], collection)
    if path:
        jobs.add([path], collection)
    if files or path:
        st.rerun()
    most = st.get_option("server.maxUploadSize")
    st.warning(f"Choose files or type a folder first. A file that is marked red is larger than {most} MB: split it.")


def draw_documents(index: DocumentIndex, status: IndexStatus) -> None:
    """The list of documents, and what can be done with those that are chosen in it."""
    found = entries(index.documents(), status.failed, service().jobs.all())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Documents", anchor=False)
        ask_button("Update", ":material/sync:", "sync", "Add what is new or has changed, remove what is gone.")
        if status.failed:
            ask_button("Try failed ones again", ":material/refresh:", "retry_failed", "Read them once more.")
    if not found:
        st.caption("None so far.")
        return
    words = st.text_input("Find a document", placeholder="Part of its name, folder, collection or state", key="find")
    shown = [entry for entry in found if entry.fits(words)]
    if not shown:
        st.caption("No document fits.")
        return
    # The choice is by row, so another list must not take over the old one's.
    key = f"documents-{hash(tuple(entry.source for entry in shown))}"
    state = st.dataframe(
        [entry.row() for entry in shown],
        column_config={
            "Name": st.column_config.TextColumn(pinned=True, width="medium"),
            "Size": st.column_config.NumberColumn(format="bytes"),
            "Added": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        hide_index=True,
        on_select="rerun",
        key=key,
        alt="The documents of the library, one a row; choose rows to see their notes or remove them",
    )
    chosen = [shown[row] for row in state.selection.rows if row < len(shown)]
    draw_chosen(chosen)
    draw_notes([entry for entry in found if entry.note])


def draw_chosen(chosen: list[Entry]) -> None:
    """What can be done with the chosen documents."""
    if not chosen:
        st.caption("Choose rows to remove documents.")
    elif st.button(f"Remove {counted(len(chosen), 'document')}…", icon=":material/delete:", key="remove"):
        confirm_removing(chosen)


def draw_notes(noted: list[Entry]) -> None:
    """Why documents could not be read, and what should be known of how others were."""
    failed = [entry for entry in noted if entry.state == "Not read"]
    others = [entry for entry in noted if entry not in failed]
    for label, icon, group in (
        ("could not be read", ":material/warning:", failed),
        ("with a note on how it was read", ":material/info:", others),
    ):
        if group:
            with st.expander(f"{counted(len(group), 'document')} {label}", icon=icon, expanded=group is failed):
                for entry in group:
                    st.text(reason(entry.source, entry.note))


@st.dialog("Remove documents?")
def confirm_removing(chosen: list[Entry]) -> None:
    """Ask before documents are taken out."""
    st.write("Answers will not use them any more. Uploaded files are deleted; all other files stay where they are.")
    st.text("\n".join(str(entry.row()["Name"]) for entry in chosen))
    st.caption("A file that stays in a folder of the library comes back with the next update.")
    sources = [entry.source for entry in chosen]
    confirm_button("Remove", ":material/delete:", "confirm-remove", lambda: service().jobs.remove(sources))


def draw_collections(status: IndexStatus) -> None:
    """The collections with the number of their documents, and the way to take one out."""
    if not status.collections:
        return
    with st.expander(f"Collections ({len(status.collections)})", icon=":material/folder_copy:"):
        for number, (name, n_documents) in enumerate(sorted(status.collections.items())):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{escape(name)}**, {counted(n_documents, 'document')}")
                if st.button("Remove…", icon=":material/delete:", type="tertiary", key=f"remove-collection-{number}"):
                    confirm_removing_collection(name, n_documents)


@st.dialog("Remove the collection?")
def confirm_removing_collection(name: str, n_documents: int) -> None:
    """Ask before a collection is taken out."""
    st.markdown(
        f"**{escape(name)}** with {counted(n_documents, 'document')}. Uploaded files are deleted; all other files "
        "stay where they are."
    )
    do = lambda: service().jobs.remove_collection(name)  # noqa: E731
    confirm_button("Remove", ":material/delete:", "confirm-remove-collection", do)


def draw_care() -> None:
    """Look the index through, and rebuild it."""
    with st.expander("Check and repair", icon=":material/health_and_safety:", expanded="problems" in st.session_state):
        with st.container(horizontal=True):
            if st.button("Check the library", icon=":material/stethoscope:", key="check"):
                with errors_shown(), st.spinner("Looking at every passage"):
                    st.session_state.problems = doctor(service().folder)
            if st.button("Rebuild…", icon=":material/construction:", key="rebuild"):
                confirm_rebuild()
        if "problems" in st.session_state:
            draw_problems(st.session_state.problems)


def draw_problems(problems: list[Problem]) -> None:
    """What the last check has found."""
    if not problems:
        st.success("All is well.", icon=":material/check_circle:")
    for problem in problems:
        st.warning(f"**{escape(problem.what)}** {escape(problem.why)}", icon=":material/warning:")
        if problem.remedy.startswith("jina-rag rebuild"):
            st.caption("“Rebuild” above mends it. In a terminal:")
        elif problem.remedy.startswith("jina-rag sync"):
            st.caption("“Update” above mends it. In a terminal:")
        else:
            st.caption("In a terminal:")
        st.code(remove_invisible(problem.remedy), language=None, wrap_lines=True)


@st.dialog("Rebuild the index?")
def confirm_rebuild() -> None:
    """Ask before the vectors are made anew."""
    st.write(
        "All passages are put into a new search index, from the text that is stored; documents are not read again. "
        "The old one serves until the new one is whole. It needs as much room again while it runs."
    )
    confirm_button("Rebuild", ":material/construction:", "confirm-rebuild", lambda: service().jobs.rebuild())


def confirm_button(label: str, icon: str, key: str, do: Callable[[], object]) -> None:
    """A dialog's button; the page below says so if what it asks for can't be had."""

    def ask() -> None:
        try:
            do()
            st.session_state.pop("problems", None)  # they may be mended
        except JinaRagError as error:
            st.session_state.refused = str(error)

    if st.button(label, type="primary", icon=icon, key=key, on_click=ask):
        st.rerun()


def ask_button(label: str, icon: str, name: str, explanation: str) -> None:
    """A button that puts a job into the queue."""
    if st.button(label, icon=icon, type="tertiary", help=explanation, key=name):
        with errors_shown():
            getattr(service().jobs, name)()
            st.rerun()


main()
