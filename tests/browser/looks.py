"""What can be measured of how a page looks, in the browser."""

from dataclasses import dataclass

from playwright.sync_api import Page

# For each piece of text that can be seen: how far its colour is from the ground behind it, as WCAG 2 has it. Disabled
# controls are left out, as they are there; so is what is only for screen readers.
_CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const numbers = color => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const luminance = rgb => {
    const [r, g, b] = rgb.map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const layer = numbers(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const opacity = element => {
    let all = 1;
    for (let e = element; e; e = e.parentElement) all *= +getComputedStyle(e).opacity;
    return all;
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("[data-testid=stApp]"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const seen = box.width > 1 && box.height > 1 && style.visibility === "visible" && opacity(element) > 0.05;
    const without = "[disabled], label:has(:disabled), [aria-hidden=true], style, canvas, svg";
    if (!text || !seen || element.closest(without)) continue;
    const color = numbers(style.color), behind = ground(element);
    color[3] *= opacity(element);
    const [a, b] = [luminance(over(color, behind)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([text, ratio, luminance(behind), !!element.closest("button, [role=radio]")]);
  }
  return found;
}"""

# How much wider than its place the content of the page is, in whole or in any part that scrolls it sideways unasked.
_OVERHANG = """() => Math.max(...[document.documentElement, document.body,
  ...document.querySelectorAll("[data-testid=stApp], [data-testid=stAppViewContainer], [role=main], main")]
  .map(e => e.scrollWidth - e.clientWidth))"""


_WORST = ("serious", "critical")  # impacts, as axe names them


@dataclass(frozen=True)
class SeenText:
    """A piece of text on a page.

    Attributes:
        text: What it says.
        contrast: Its contrast ratio with what is behind it, from 1 to 21 (WCAG 2).
        ground: The relative luminance of what is behind it, from 0 to 1.
        is_control: Whether it is written on a button or the like.
    """

    text: str
    contrast: float
    ground: float
    is_control: bool


def texts_seen(page: Page) -> list[SeenText]:
    """All texts of a page that can be seen."""
    return [SeenText(*found) for found in page.evaluate(_CONTRASTS)]


def overhang(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate(_OVERHANG))


def accessibility_faults(page: Page) -> list[str]:
    """What axe-core finds on a page that hinders people seriously."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in _WORST
        for node in fault["nodes"]
    ]
