"""Library: add documents, update and remove them, see what could not be read, check and repair the index."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st
from access import only_this_machine
from escaping import escape
from index_work import start_upload
from launcher import options
from library_rows import Entry, entries, reason
from service import errors_shown, service
from task_view import draw_tasks
from tasks import Kind
from uploads import MAX_PENDING_BYTES, folder_size

from jina_rag.errors import JinaRagError
from jina_rag.formatting import counted, file_size
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.indexing.index import IndexStatus
from jina_rag.rag.text.cleaning import remove_invisible

REPAIRS = {"jina-rag rebuild": "“Rebuild…” repairs it.", "jina-rag sync": "“Update” repairs it."}


def main() -> None:
    """Draw the page."""
    st.title("Library", anchor=False)
    if "refused" in st.session_state:
        st.error(escape(st.session_state.pop("refused")), icon=":material/error:")
    index, status = open_index()
    if index and status:
        draw_overview(index, status)
    draw_adding(status)
    if service().tasks.all():
        st.subheader("Activity", anchor=False)
        draw_tasks(service().tasks.all)
    if index and status:
        draw_documents(index, status)
        draw_collections(status)
    if index or st.session_state.get("cannot_open"):
        draw_care()


def open_index() -> tuple[DocumentIndex | None, IndexStatus | None]:
    """The index and what is in it; nothing if there is none or it can't be opened, and the page says so."""
    st.session_state.cannot_open = False
    try:
        if service().has_index():
            return service().index, service().index.status()
        if not service().tasks.running():
            draw_nothing_yet()
    except JinaRagError as error:
        st.session_state.cannot_open = True
        st.error(escape(str(error)), icon=":material/error:")
    return None, None


def draw_nothing_yet() -> None:
    """What to do while there is no document."""
    st.info("There are no documents yet. Add your own below, or try the sample documents.")
    if options().samples and st.button("Try the sample documents", icon=":material/lighthouse:", key="samples"):
        with errors_shown():
            service().add_samples()
            st.rerun()


def draw_overview(index: DocumentIndex, status: IndexStatus) -> None:
    """How much there is, how much room it takes, and which model has embedded it."""
    uploaded = folder_size(index.folder / "uploads")
    parts = [
        counted(status.n_documents, "document"),
        counted(status.n_chunks, "passage"),
        f"{file_size(status.n_bytes)} on disk" + (f" and {file_size(uploaded)} of uploaded files" if uploaded else ""),
        f"embedding model {status.fingerprint.model} {status.fingerprint.quantization}",
    ]
    st.caption(escape(" · ".join(parts)))
    if status.is_being_written and not service().tasks.running():
        st.warning(
            "Another program is writing to this library. You can ask questions meanwhile; adding and removing have to "
            "wait until it is done.",
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
        st.caption(f"Up to {file_size(MAX_PENDING_BYTES)} of uploaded files may wait to be added.")
        path = ""
        if only_this_machine():
            path = st.text_input(
                "Or a folder or file on this computer",
                placeholder="~/Documents/notes or ~/Documents/**/*.pdf",
                help="The files stay where they are. “Update” later adds what has changed there.",
                key="path",
            )
        collection = st.selectbox(
            "Collection",
            collections,
            format_func=remove_invisible,
            accept_new_options=True,
            help="Choose one or type a new name. A question can be limited to collections.",
            key="collection",
        )
        if st.form_submit_button("Add", icon=":material/add:", type="primary", key="add-button"):
            with errors_shown():
                add(files, path.strip(), (collection or "default").strip())


def add(files: Sequence[st.runtime.uploaded_file_manager.UploadedFile], path: str, collection: str) -> None:
    """Start the tasks that add what was chosen."""
    if files:
        with st.spinner("Storing the files"):
            start_upload(service(), [(file.name, file) for file in files], collection)
    if path:
        service().tasks.start(Kind.ADD, [str(Path(path).expanduser().absolute())], collection)
    if files or path:
        st.rerun()
    most = st.get_option("server.maxUploadSize")
    st.warning(f"Choose files or type a folder first. A file that is marked red is larger than {most} MB: split it.")


def draw_documents(index: DocumentIndex, status: IndexStatus) -> None:
    """The list of documents, and what can be done with those that are chosen in it."""
    found = entries(index.documents(), status.failed, service().tasks.all())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Documents", anchor=False)
        task_button("Update", ":material/sync:", Kind.SYNC, "Add what is new or has changed, remove what is gone.")
        if status.failed:
            task_button("Retry failed documents", ":material/refresh:", Kind.RETRY, "Read them once more.")
    if not found:
        st.caption("No documents.")
        return
    words = st.text_input("Find a document", placeholder="Part of its name, folder, collection or state", key="find")
    shown = [entry for entry in found if entry.fits(words)]
    if not shown:
        st.caption("No document matches.")
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
    if not chosen:
        st.caption("Choose rows to remove documents.")
    elif st.button(f"Remove {counted(len(chosen), 'document')}…", icon=":material/delete:", key="remove"):
        confirm_removing(chosen)
    draw_notes([entry for entry in found if entry.note])


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
    """Ask before documents are removed."""
    st.write("Answers will not use them any more. Uploaded files are deleted; all other files stay where they are.")
    st.text("\n".join(str(entry.row()["Name"]) for entry in chosen))
    st.caption("A file that stays in a folder of the library comes back with the next update.")
    sources = [entry.source for entry in chosen]
    confirm_button("Remove", ":material/delete:", lambda: service().tasks.start(Kind.REMOVE, sources))


def draw_collections(status: IndexStatus) -> None:
    """The collections with the number of their documents, and the way to remove one."""
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
    """Ask before a collection is removed."""
    st.markdown(
        f"**{escape(name)}** with {counted(n_documents, 'document')}. Uploaded files are deleted; all other files stay "
        "where they are."
    )
    start = lambda: service().tasks.start(Kind.REMOVE_COLLECTION, collection=name)  # noqa: E731
    confirm_button("Remove", ":material/delete:", start)


def draw_care() -> None:
    """Check the index, and rebuild it."""
    with st.expander("Check and repair", icon=":material/health_and_safety:", expanded="problems" in st.session_state):
        with st.container(horizontal=True):
            if st.button("Check the library", icon=":material/stethoscope:", key="check"):
                with errors_shown(), st.spinner("Checking…"):
                    st.session_state.problems = doctor(service().folder)
            if st.button("Rebuild…", icon=":material/construction:", key="rebuild"):
                confirm_rebuild()
        if st.session_state.get("problems") == []:
            st.success("No problems found.", icon=":material/check_circle:")
        for problem in st.session_state.get("problems", ()):
            st.warning(f"**{escape(problem.what)}** {escape(problem.why)}", icon=":material/warning:")
            command = " ".join(problem.remedy.split()[:2])
            st.caption(REPAIRS.get(command, "Rename the folder of the index, then add your documents again."))


@st.dialog("Rebuild the index?")
def confirm_rebuild() -> None:
    """Ask before the vectors are made again."""
    st.write(
        "All passages are put into a new search index, from the text that is stored; documents are not read again. "
        "The old index is searched until the new one is complete. It needs as much room again while it runs."
    )
    confirm_button("Rebuild", ":material/construction:", lambda: service().tasks.start(Kind.REBUILD))


def confirm_button(label: str, icon: str, start: Callable[[], object]) -> None:
    """A dialog's button; the page below says so if the task can't be started."""

    def confirm() -> None:
        try:
            start()
            st.session_state.pop("problems", None)  # they may be repaired
        except JinaRagError as error:
            st.session_state.refused = str(error)

    if st.button(label, type="primary", icon=icon, key="confirm", on_click=confirm):
        st.rerun()


def task_button(label: str, icon: str, kind: Kind, explanation: str) -> None:
    """A button that starts a task."""
    if st.button(label, icon=icon, type="tertiary", help=explanation, key=kind.value):
        with errors_shown():
            service().tasks.start(kind)
            st.rerun()


main()
