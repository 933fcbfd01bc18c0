"""The models: which are in use and why, which others there are, what they cost here, and what writes the answers."""

import catalogue
import streamlit as st
from access import only_this_machine
from escaping import escape
from library_rows import duration, size
from model_tasks import Task
from service import errors_shown, model_at_hand, service

from jina_rag.bench import BenchResult
from jina_rag.models import get_model_spec
from jina_rag.rag import read_index_settings

N_DOCUMENTS = 10_000


def main() -> None:
    """Draw the page."""
    st.title("Models", anchor=False)
    in_use = None
    with errors_shown():
        if service().has_index():
            in_use = read_index_settings(service().folder)
            spec = get_model_spec(in_use.model)
            st.markdown(
                f"**Your documents are read by {escape(in_use.model)}** "
                f":gray-badge[{in_use.quantization}] :gray-badge[{in_use.dimensions:,} numbers] "
                f":gray-badge[{escape(spec.license)}]"
            )
            st.caption(escape(catalogue.why_in_use(in_use.model, model_at_hand())))
        else:
            st.info(f"There is no index yet. The first documents will be read by {escape(model_at_hand())}.")
    draw_writer()
    with errors_shown():
        draw_catalogue(in_use.model if in_use else None)
        draw_download()
    if in_use:
        draw_change(in_use.model)
    draw_measurement(f"{in_use.model}:{in_use.quantization}" if in_use else None)


def draw_writer() -> None:
    """What writes the answers, and the choice of another."""
    st.subheader("What writes the answers", anchor=False)
    now, kinds = service().llm, list(catalogue.LLM_KINDS)
    if not only_this_machine():  # who sits elsewhere must not name this machine's files and addresses
        kinds = ["extractive", "smollm2"]
    kind = st.radio(
        "Who writes", kinds, format_func=catalogue.LLM_KINDS.__getitem__, key="llm-kind", label_visibility="collapsed",
        index=kinds.index(catalogue.kind_of(now)) if catalogue.kind_of(now) in kinds else 0,
    )  # fmt: skip
    kind = kind or "extractive"
    path = address = model = ""
    if kind == "file":
        path = st.text_input("The file", now if catalogue.kind_of(now) == "file" else "", key="llm-path",
                             placeholder="/home/me/models/Qwen3-4B-Q4_K_M.gguf")  # fmt: skip
    elif kind == "server":
        before, _, name = now.partition("#") if catalogue.kind_of(now) == "server" else ("", "", "")
        address = st.text_input("Its address", before, key="llm-address", placeholder="http://localhost:11434/v1")
        model = st.text_input("The model's name there, if it has several", name, key="llm-model")
    note = st.warning if kind in ("smollm2", "server") else st.caption
    note(escape(catalogue.LLM_NOTES[kind]))
    with st.container(horizontal=True):
        try_it = service().has_index() and st.button("Test", icon=":material/network_check:", key="llm-test")
        use_it = st.button("Use for everybody", icon=":material/check:", type="primary", key="llm-use")
    with errors_shown():
        if try_it or use_it:
            setting = catalogue.llm_setting(kind, path, address, model)
            try_writer(setting) if try_it else use_writer(setting)
    st.caption(f"In use: {escape(service().llm)}")


def try_writer(setting: str) -> None:
    """Let it begin an answer."""
    with st.spinner("Waiting for the first words"):
        trial = catalogue.try_llm(setting, service().index)
    st.success(f"{escape(trial.name)} answers; its first words came after {trial.seconds:.1f} seconds:")
    st.text(f"{trial.words} …")


def use_writer(setting: str) -> None:
    """Take it for all answers from now on."""
    service().use_llm(setting)
    st.toast("The next answer is written by it.", icon=":material/check:")


def draw_catalogue(in_use: str | None) -> None:
    """All models in a table, and the licence that most of them are under."""
    st.subheader("Embedding models", anchor=False)
    st.warning(
        "Jina's models are under CC BY-NC 4.0: free for non-commercial use only. For anything else, ask Jina AI for a "
        "licence. all-MiniLM-L6-v2 is under Apache-2.0, free for all uses; it is small, and reads English.",
        icon=":material/gavel:",
    )
    st.dataframe(
        catalogue.rows(in_use),
        hide_index=True,
        column_config={
            "Dimensions": st.column_config.NumberColumn(format="localized", help="Numbers in each vector"),
            "Reads tokens": st.column_config.NumberColumn(format="localized", help="Of one text, at most"),
            "Size": st.column_config.TextColumn(help="Of the usual file, where it is known before the download"),
        },
        alt="The models with licence, size and dimensions, and whether they are on this machine.",
    )


def draw_download() -> None:
    """The choice of a file to fetch, and how far that is."""
    specs = catalogue.downloadable()
    with st.container(border=True):
        left, right = st.columns([3, 2])
        spec = left.selectbox("Fetch a model", specs, format_func=lambda spec: spec.name, key="fetch-model")
        names = [file.quantization for file in spec.files]
        chosen = right.selectbox(
            "Quantisation", names, names.index(spec.default_quantization), key="fetch-quantization",
            format_func=lambda name: catalogue.size_label(spec, name),
            help="Fewer bits are smaller, and less exact. Q4_K_M is a good beginning.",
        )  # fmt: skip
        agreed = st.checkbox(escape(spec.license_notice) + " I will keep to it.", key=f"agreed-{spec.license}")
        if st.button("Fetch", disabled=not agreed, icon=":material/download:", key="fetch") and agreed:
            service().model_tasks.download(f"{spec.name}:{chosen}")
        draw_task(service().model_tasks.downloading, "is on this machine now.")


def draw_task(task: Task | None, ending: str) -> None:  # type: ignore[type-arg]
    """How far something is that goes on in the background; the page is drawn anew when it is over."""
    if task is None:
        return
    if task.is_running:
        draw_running(task)
    elif task.error:
        st.error(f"{escape(task.title)}: {escape(task.error)}", icon=":material/error:")
    elif task.fraction == 1:
        st.success(f"{escape(task.title)} {ending}", icon=":material/check_circle:")
    else:
        st.caption(f"{escape(task.title)}: {escape(task.sentence)}")


@st.fragment(run_every=0.5)
def draw_running(task: Task) -> None:  # type: ignore[type-arg]
    """A bar and a way to cancel."""
    if not task.is_running:
        st.rerun()
    st.progress(task.fraction or 0.0, f"{escape(task.title)}: {escape(task.sentence)} …")
    st.button(
        "Ending" if task.is_stopping else "Cancel", on_click=task.cancel, disabled=task.is_stopping,
        icon=":material/close:", key=f"cancel-{id(task)}",
    )  # fmt: skip


def draw_change(in_use: str) -> None:
    """Another embedding model for the documents that are there."""
    others = [name for name in catalogue.models_here() if name.partition(":")[0] != in_use]
    with st.expander("Let another model read your documents", icon=":material/swap_horiz:"):
        if not others:
            st.write("No other model is on this machine. Fetch one above first.")
            return
        name = st.selectbox("Model", others, key="change-model")
        st.write(
            "All passages are embedded again, which takes as long as adding them did. The library shows how far it is; "
            "you can ask meanwhile, and nothing changes until it is done."
        )
        sure = st.checkbox("Yes, embed everything again", key="change-sure")
        if st.button("Change", disabled=not sure, key="change") and sure:
            with errors_shown():
                service().jobs.rebuild(name)
                st.success("It has begun.")
                st.page_link("app_pages/library.py", label="See how far it is", icon=":material/folder_open:")


def draw_measurement(in_use: str | None) -> None:
    """What a model costs on this machine, measured."""
    st.subheader("How fast it is here", anchor=False)
    names = list(catalogue.models_here())
    if not names:
        st.info("No model is on this machine. Fetch one above first.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Model to measure", names, names.index(in_use) if in_use in names else 0, key="bench-model")
        if st.button("Measure", icon=":material/speed:", key="bench"):
            service().model_tasks.measure(*name.split(":"))
    st.caption("It takes half a minute to some minutes, and answers are slower meanwhile. Nothing is sent anywhere.")
    task = service().model_tasks.measuring
    draw_task(task, "was measured.")
    if task and task.result:
        draw_result(task.result)


def draw_result(result: BenchResult) -> None:
    """The figures of a measurement."""
    cost = result.corpus(N_DOCUMENTS)
    figures = {
        "Tokens a second": f"{result.tokens_per_s.median:,.0f}",
        "One question": f"{result.query_median_s * 1000:.0f} ms",
        "Memory": size(result.peak_bytes) if result.peak_bytes else "unknown",
        "Loading": f"{result.load_s:.1f} s",
    }
    with st.container(horizontal=True):
        for label, figure in figures.items():
            st.metric(label, figure, border=True, width=150)
    st.dataframe(
        [
            {"Texts": length.name, "Tokens each": round(length.tokens), "Texts a second": round(length.texts_per_s, 1)}
            for length in result.by_length
        ],
        hide_index=True,
        alt="Texts embedded a second, for short, middling and long texts.",
    )
    st.write(
        f"{N_DOCUMENTS:,} documents of a thousand tokens each would take about {duration(cost.seconds)} to embed, and "
        f"about {size(cost.index_bytes)} on disk."
    )
    for warning in result.warnings:
        st.warning(escape(warning))


main()
