"""Models: the answer model, the embedding model in use, which others there are, and how fast they are here."""

import model_list
import streamlit as st
from connect import draw_connecting, draw_latest, start_on_model
from escaping import escape
from service import errors_shown, service
from shared_index import model_at_hand
from tasks import Kind

from jina_rag.bench import BenchResult
from jina_rag.fingerprint import Fingerprint
from jina_rag.formatting import duration, file_size
from jina_rag.models import get_model_spec

N_DOCUMENTS = 10_000


def main() -> None:
    """Draw the page."""
    st.title("Models", anchor=False)
    st.subheader("Answer model", anchor=False)
    draw_connecting()
    draw_judge()
    st.subheader("Embedding model", anchor=False)
    in_use = None
    with errors_shown():
        in_use = draw_embedding_model()
    draw_measurement(f"{in_use.model}:{in_use.quantization}" if in_use else None)
    with errors_shown():
        draw_all_models(in_use.model if in_use else None)
        draw_download()


def draw_embedding_model() -> Fingerprint | None:
    """The embedding model of the documents, and the switch to another; returns it if there are documents."""
    if not service().has_index():
        st.info(f"There are no documents yet. The first will be embedded by {escape(model_at_hand())}.")
        return None
    in_use = service().fingerprint
    spec = get_model_spec(in_use.model)
    st.markdown(
        f"**{escape(in_use.model)}** :gray-badge[{in_use.quantization}] "
        f":gray-badge[{in_use.dimensions:,} dimensions] :gray-badge[{escape(spec.license)}]"
    )
    st.caption(escape(model_list.why_in_use(in_use.model, model_at_hand())))
    if not service().store:
        draw_change(in_use.model)
    return in_use


def draw_judge() -> None:
    """The choice of what checks claims that are not quoted."""
    now = service().chosen.judge or "none"
    judges = model_list.judges_here()
    judges.setdefault(now, now)
    chosen = st.radio(
        "Judge", judges, list(judges).index(now), format_func=judges.__getitem__, key="judge",
        help="Checks claims that are not quoted word for word. How often a judge is right depends on the model; a "
        "small one is often wrong.",
    )  # fmt: skip
    if chosen and chosen != now:
        with errors_shown():
            service().use(judge=chosen)


def draw_all_models(in_use: str | None) -> None:
    """All models in a table, and the licence that most of them are under."""
    st.subheader("All models", anchor=False)
    st.warning(
        "Jina's models are under CC BY-NC 4.0: free for non-commercial use only. For anything else, ask Jina AI for a "
        "licence. all-MiniLM-L6-v2 is under Apache-2.0, free for all uses; it is small, and made for English.",
        icon=":material/gavel:",
    )
    st.dataframe(
        model_list.rows(in_use),
        hide_index=True,
        column_config={
            "Dimensions": st.column_config.NumberColumn(format="localized", help="Of each vector"),
            "Max tokens": st.column_config.NumberColumn(
                format="localized", help="Of one text; of question and passages where it is made to answer or rerank"
            ),
            "Size": st.column_config.TextColumn(help="Of the usual file, where it is known before the download"),
        },
        alt="The models with licence, size and dimensions, and whether they are on this machine.",
    )


def draw_download() -> None:
    """The choice of a model to download."""
    specs = model_list.downloadable()
    with st.container(border=True):
        left, right = st.columns([3, 2])
        spec = left.selectbox("Download a model", specs, format_func=model_list.download_label, key="download-model")
        names = [file.quantization for file in spec.files]
        chosen = right.selectbox(
            "Quantisation", names, names.index(spec.default_quantization), key="download-quantization",
            format_func=lambda name: model_list.size_label(spec, name),
            help="Fewer bits are smaller and less exact. Q4_K_M is a good start.",
        )  # fmt: skip
        agreed = not spec.license_notice or st.checkbox(
            escape(spec.license_notice) + " I accept these terms.", key=f"agreed-{spec.license}"
        )
        if st.button("Download", disabled=not agreed, icon=":material/download:", key="download") and agreed:
            start_on_model(Kind.DOWNLOAD, f"{spec.name}:{chosen}")
        recommended = model_list.recommended_chat_model()
        draw_latest(Kind.DOWNLOAD, lambda model: not (recommended and model == recommended.name))


def draw_change(in_use: str) -> None:
    """Another embedding model for the documents that are there."""
    others = [name for name in model_list.models_here() if name.partition(":")[0] != in_use]
    with st.expander("Switch embedding model", icon=":material/swap_horiz:"):
        if not others:
            st.write("No other model is on this computer. Download one above first.")
            return
        name = st.selectbox("Model", others, key="change-model")
        st.write(
            "All passages are embedded again, which takes as long as adding them did. The library shows the progress; "
            "you can ask questions meanwhile, and nothing changes until it is done."
        )
        sure = st.checkbox("Yes, embed everything again", key="change-sure")
        if st.button("Switch", disabled=not sure, key="change") and sure:
            with errors_shown():
                service().tasks.start(Kind.REBUILD, model=name)
                st.success("Started.")
                st.page_link("app_pages/library.py", label="Show progress", icon=":material/folder_open:")


def draw_measurement(in_use: str | None) -> None:
    """What a model costs on this machine, measured."""
    st.markdown("**Speed on this computer**")
    names = list(model_list.models_here())
    if not names:
        st.info("No model is on this computer. Download one above first.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Model to measure", names, names.index(in_use) if in_use in names else 0, key="bench-model")
        if st.button("Measure", icon=":material/speed:", key="bench"):
            start_on_model(Kind.MEASURE, name)
    st.caption("Half a minute to several minutes; answers are slower meanwhile. Nothing is sent anywhere.")
    draw_latest(Kind.MEASURE)
    if measured := service().measurement:
        draw_measured(measured)


def draw_measured(result: BenchResult) -> None:
    """The figures of a measurement."""
    cost = result.corpus(N_DOCUMENTS)
    figures = {
        "Tokens a second": f"{result.tokens_per_s.median:,.0f}",
        "One question": f"{result.query_median_s * 1000:.0f} ms",
        "Memory": file_size(result.peak_bytes) if result.peak_bytes else "unknown",
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
        alt="Texts embedded a second, for short, medium and long texts.",
    )
    st.write(
        f"{N_DOCUMENTS:,} documents of a thousand tokens each would take about {duration(cost.seconds)} to embed, and "
        f"about {file_size(cost.index_bytes)} on disk."
    )
    for warning in result.warnings:
        st.warning(escape(warning))


main()
