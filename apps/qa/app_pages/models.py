"""Models: the answer model and the embedding model in use, and others to use or download."""

import model_list
import streamlit as st
from access import only_this_machine
from connect import draw_connecting, draw_latest, start_on_model
from escaping import escape
from service import errors_shown, service
from shared_index import model_at_hand
from tasks import Kind

from jina_rag.models import get_model_spec


def main() -> None:
    """Draw the page. Only the owner changes what all readers share."""
    owner = only_this_machine()
    st.title("Models", anchor=False)
    st.subheader("Answer model", anchor=False)
    draw_connecting(owner=owner)
    st.subheader("Embedding model", anchor=False)
    with errors_shown():
        draw_embedding_model(can_change=owner and not service().store)
        if owner:
            draw_download()


def draw_embedding_model(*, can_change: bool) -> None:
    """The embedding model of the documents, and the switch to another."""
    if not service().has_index():
        st.info(f"There are no documents yet. The first will be embedded by {escape(model_at_hand())}.")
        return
    in_use = service().fingerprint
    spec = get_model_spec(in_use.model)
    st.markdown(
        f"**{escape(in_use.model)}** :gray-badge[{in_use.quantization}] "
        f":gray-badge[{in_use.dimensions:,} dimensions] :gray-badge[{escape(spec.license)}]"
    )
    st.caption(escape(model_list.why_in_use(in_use.model, model_at_hand())))
    if can_change:
        draw_change(in_use.model)


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
        st.caption(f"Licence: {escape(spec.license)}")
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
            st.write("No other model is on this computer. Download one below first.")
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


main()
