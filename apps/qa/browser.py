"""What pages need of the browser beyond Streamlit: clicks inside an answer, the clipboard, and where the view is."""

import streamlit as st

_ANSWER = """
export default function ({ parentElement, data, setTriggerValue }) {
  const place = parentElement.querySelector("div") ?? parentElement.appendChild(document.createElement("div"))
  if (place.dataset.shown !== data.html) {
    place.innerHTML = data.html
    place.dataset.shown = data.html
  }
  for (const button of place.querySelectorAll("button"))
    button.onclick = () => setTriggerValue("cited", Number(button.dataset.number))
}"""

_COPY = """
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button") ?? parentElement.appendChild(document.createElement("button"))
  button.type = "button"
  button.className = "copy"
  button.textContent = "Copy"
  button.onclick = async () => {
    await navigator.clipboard.writeText(data.text)
    button.textContent = "Copied"
    setTimeout(() => (button.textContent = "Copy"), 2000)
  }
}"""

# A picture has its height only once it is there.
_SCROLL = """
export default function ({ data }) {
  const done = (window.scrolled ??= {})
  if (done[data.to] === data.once) return
  done[data.to] = data.once
  let frames = 600  // of patience
  const go = () => {
    const found = document.querySelector(data.to)
    if (!found) return frames-- && requestAnimationFrame(go)
    let view = found.parentElement
    while (view.parentElement && !/auto|scroll/.test(getComputedStyle(view).overflowY)) {
      if (data.focus && getComputedStyle(view).overflowX === "auto") view.tabIndex = 0
      view = view.parentElement
    }
    if (data.focus) view.tabIndex = 0
    if (found.tagName === "IMG" && !found.complete) return found.addEventListener("load", go, { once: true })
    const [inner, outer] = [found.getBoundingClientRect(), view.getBoundingClientRect()]
    view.scrollTop += inner.top - outer.top + data.share * inner.height - data.from_top * outer.height
    if (data.focus) view.focus({ preventScroll: true })
  }
  requestAnimationFrame(() => requestAnimationFrame(go))
}"""


def draw_clickable(html: str, key: str) -> int | None:
    """Draw an answer; returns the number of the citation that was clicked.

    Args:
        html: From `rendering`, which lets no live HTML through.
        key: The element's key.
    """
    component = st.components.v2.component("answer", js=_ANSWER, isolate_styles=False)
    cited = component(key=key, data={"html": html}, on_cited_change=_ignore).cited
    return cited if isinstance(cited, int) else None


def draw_copy_button(text: str, key: str) -> None:
    """A button that copies a text."""
    st.components.v2.component("copy", js=_COPY, isolate_styles=False)(key=key, data={"text": text}, width="content")


def scroll_to(
    selector: str, key: str, once: str, *, share: float = 0.0, from_top: float = 0.0, focus: bool = False
) -> None:
    """Bring an element into view.

    Args:
        selector: Which, in CSS.
        key: The element's key.
        once: What this is for: the view moves when it changes, and stays when the page is drawn again.
        share: Which place of the element, from 0, its top, to 1.
        from_top: Where in the view that place comes to be, from 0, its top, to 1.
        focus: Whether the keyboard scrolls what the element is in from now on.
    """
    data = {"to": selector, "once": once, "share": share, "from_top": from_top, "focus": focus}
    st.components.v2.component("scroll", js=_SCROLL, isolate_styles=False)(key=f"scroll-{key}", data=data)


def _ignore() -> None:
    """What was clicked is read where the answer is drawn."""
