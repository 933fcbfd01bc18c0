"""Library: add documents, update and remove them, see what could not be read, check and repair the index."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st
from access import only_this_machine
from escaping import escape
from filters import filter_by_documents
from first_start import draw_samples_button, draw_uploader
from library_rows import Entry, entries, reason
from passage_view import draw_original
from rendering import text_html
from service import draw_kept_error, errors_kept, errors_shown, service
from task_view import draw_tasks
from tasks import Kind
from uploads import folder_size

from jina_rag.errors import JinaRagError
from jina_rag.formatting import counted, file_size
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.indexing.index import IndexStatus
from jina_rag.rag.text.cleaning import remove_invisible

PASSAGES_SHOWN = 20
REPAIRS = {"jina-rag rebuild": "“Rebuild…” repairs it.", "jina-rag sync": "“Update” repairs it."}


def main() -> None:
    """Draw the page."""
    st.title("Library", anchor=False)
    draw_kept_error()
    index, status = open_index()
    if index and status:
        draw_overview(index, status)
    draw_adding(status)
    if service().tasks.all():
        st.subheader("Activity", anchor=False)
        draw_tasks(service().tasks.all)
    if index and status:
        draw_documents(index, status)
    if index or st.session_state.get("cannot_open"):
        draw_care()


def open_index() -> tuple[DocumentIndex | None, IndexStatus | None]:
    """The index and what is in it; nothing if there is none or it can't be opened, and the page says so."""
    st.session_state.cannot_open = False
    try:
        if service().has_index():
            return service().index, service().index.status()
        if not service().tasks.running():
            st.info("There are no documents yet. Add your own below, or try the sample documents.")
            draw_samples_button()
    except JinaRagError as error:
        st.session_state.cannot_open = True
        st.error(escape(str(error)), icon=":material/error:")
    return None, None


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
    """Fields for files, which are added when they are dropped, and for a folder of this computer."""
    collections = sorted({"default", *(status.collections if status else ())})
    with st.container(border=True):
        st.subheader("Add documents", anchor=False)
        place = st.container()
        collection = st.selectbox(
            "Into the collection",
            collections,
            format_func=remove_invisible,
            accept_new_options=True,
            help="Choose one or type a new name before you add. A question can be limited to collections.",
            key="collection",
        )
        collection = (collection or "default").strip()
        with place:
            draw_uploader(collection)
        if only_this_machine():
            draw_folder(collection, has_index=status is not None)


def draw_folder(collection: str, *, has_index: bool) -> None:
    """A field for a folder, and the switch that keeps the library equal to what is in it."""
    with st.form("add", clear_on_submit=True, border=False):
        path = st.text_input(
            "Or a folder or file on this computer",
            placeholder="~/Documents/notes or ~/Documents/**/*.pdf",
            help="The files stay where they are. “Update” later adds what has changed there.",
            key="path",
        )
        if st.form_submit_button("Add folder", icon=":material/create_new_folder:", key="add-button") and path.strip():
            with errors_shown():
                service().tasks.start(Kind.ADD, [str(Path(path.strip()).expanduser().absolute())], collection)
                st.rerun()
    watching = service().watching
    st.toggle(
        "Watch folders for changes",
        watching.is_on,
        on_change=watching.switch,
        help="What is new or changed in folders that were added is read within seconds, while the app runs.",
        disabled=not has_index,
        key="watch",
    )
    if watching.problem:
        st.warning(escape(watching.problem), icon=":material/warning:")


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
        [{"Read": "Open", **entry.row()} for entry in shown],
        column_config={
            "Read": st.column_config.ButtonColumn(
                "", type="tertiary", on_click=open_clicked, args=(shown,), key="clicked"
            ),
            "Name": st.column_config.TextColumn(width="medium"),
            "Size": st.column_config.NumberColumn(format="bytes"),
            "Added": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        hide_index=True,
        on_select="rerun",
        key=key,
        alt="The documents of the library, one a row; open one, or choose rows to ask about or remove them",
    )
    if "opened" in st.session_state:
        show_document(st.session_state.pop("opened"))
    draw_chosen([shown[row] for row in state.selection.rows if row < len(shown)])
    draw_notes([entry for entry in found if entry.note])


def open_clicked(shown: list[Entry]) -> None:
    """Let the document open whose button was clicked."""
    st.session_state.opened = shown[st.session_state.clicked.row]


def draw_chosen(chosen: list[Entry]) -> None:
    """What can be done with chosen documents."""
    if not chosen:
        st.caption("Choose rows to ask about documents or to remove them.")
        return
    with st.container(horizontal=True):
        documents = counted(len(chosen), "document")
        st.button(
            f"Ask about {documents}", on_click=filter_by_documents, args=([entry.source for entry in chosen],),
            icon=":material/forum:", key="ask-about",
        )  # fmt: skip
        if st.session_state["ask-about"]:
            st.switch_page("app_pages/ask.py")
        if st.button(f"Remove {documents}…", icon=":material/delete:", key="remove"):
            confirm_removing(chosen)


@st.dialog("Document", width="large", icon=":material/description:")
def show_document(entry: Entry) -> None:
    """A document as it was read, with what should be known of it, and the way to ask about it alone."""
    st.markdown(f"**{escape(str(entry.row()['Name']))}**")
    document = next((each for each in service().index.documents() if each.source == entry.source), None)
    for note in document.notes if document else [entry.note]:
        st.caption(f":material/info: {escape(note)}" if note else entry.state)
    if document is None:
        return
    facts = {"Collections": entry.collection, "Passages": str(entry.n_chunks), **document.metadata}
    st.caption(escape(" · ".join(f"{name.capitalize()}: {value}" for name, value in facts.items())))
    with st.container(horizontal=True):
        if st.button("Ask about this document", icon=":material/forum:", type="primary", key="ask-about-it"):
            filter_by_documents([entry.source])
            st.switch_page("app_pages/ask.py")
        draw_original(entry.source)
    passages = service().index.chunks_of(entry.source)
    parts = [passages[n : n + PASSAGES_SHOWN] for n in range(0, len(passages), PASSAGES_SHOWN)]
    part = st.pagination(len(parts), key="document-part") if len(parts) > 1 else 1
    for passage in parts[part - 1] if parts else []:
        if passage.page:
            st.caption(f"Page {passage.page}")
        st.html(text_html(passage.text, is_markdown=entry.source.endswith((".md", ".html"))))


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


def confirm_removing(chosen: list[Entry]) -> None:
    """Ask before documents are removed."""
    confirm(
        "Remove documents?",
        "Answers will not use them any more. Uploaded files are deleted; all other files stay where they are, and stay "
        "out when the library is updated. Name a file itself to add it again.",
        "Remove",
        lambda: service().tasks.start(Kind.REMOVE, [entry.source for entry in chosen]),
        [str(entry.row()["Name"]) for entry in chosen],
    )


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


def confirm_rebuild() -> None:
    """Ask before the vectors are made again."""
    confirm(
        "Rebuild the index?",
        "All passages are put into a new search index, from the text that is stored; documents are not read again. The "
        "old index is searched until the new one is complete. It needs as much room again while it runs.",
        "Rebuild",
        lambda: service().tasks.start(Kind.REBUILD),
    )


def confirm(title: str, explanation: str, label: str, start: Callable[[], object], names: Sequence[str] = ()) -> None:
    """A dialog before a task is started; the page below says so if it can't be."""

    def start_and_close() -> None:
        with errors_kept():
            start()
            st.session_state.pop("problems", None)  # they may be repaired

    def draw() -> None:
        st.write(explanation)
        if names:
            st.text("\n".join(names))
        if st.button(label, type="primary", key="confirm", on_click=start_and_close):
            st.rerun()

    st.dialog(title)(draw)()


def task_button(label: str, icon: str, kind: Kind, explanation: str) -> None:
    """A button that starts a task."""
    if st.button(label, icon=icon, type="tertiary", help=explanation, key=kind.value):
        with errors_shown():
            service().tasks.start(kind)
            st.rerun()


main()
