"""A browser that looks at a studio: it notes what is wrong with a page, and says it."""

from __future__ import annotations

import contextlib
import threading

import uvicorn

from convarium import studio

# What a control is called for those who do not see it; "" where it is called nothing.
NAMELESS = """() => [...document.querySelectorAll("button,a,input,select,textarea,summary,iframe")]
    .filter((each) => each.checkVisibility() && each.closest("[hidden]") === null)
    .filter((each) => !(each.getAttribute("aria-label") || each.title || each.textContent.trim()
        || [...(each.labels ?? [])].some((label) => label.textContent.trim())))
    .map((each) => each.outerHTML.slice(0, 120))"""
WIDER = "() => document.documentElement.scrollWidth - innerWidth"
# Texts whose contrast with what is behind them is below that of WCAG 2.2 AA, 1.4.3.
FAINT = """() => {
  const sheet = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    sheet.clearRect(0, 0, 1, 1);
    sheet.fillStyle = colour;
    sheet.fillRect(0, 0, 1, 1);
    return [...sheet.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [0.2126 * r, 0.7152 * g, 0.0722 * b].reduce((sum, part, k) => {
    const value = [r, g, b][k] / 255;
    const weight = [0.2126, 0.7152, 0.0722][k];
    return sum + weight * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour[3]) layers.unshift(colour);
      if (colour[3] === 255) break;
    }
    return layers.reduce((below, [r, g, b, a]) =>
      [r, g, b].map((value, k) => (a * value + (255 - a) * below[k]) / 255), [255, 255, 255]);
  };
  const texts = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility()
    && !each.closest(".unseen,:disabled,.none,option,.tokens,.skip")
    && [...each.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return texts.map((each) => {
    const style = getComputedStyle(each);
    const ink = each instanceof SVGElement ? style.fill : style.color;
    const [one, other] = [light(rgb(ink)), light(behind(each))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    return contrast < 4.5 ? `${contrast.toFixed(2)} ${each.outerHTML.slice(0, 120)}` : "";
  }).filter(Boolean);
}"""


@contextlib.contextmanager
def serving(desk):
    """The address of a studio of this process, in a thread of its own."""
    config = uvicorn.Config(studio.build_studio(desk), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def watched(page, address):
    """A page that notes what is said in its console, and whom it asks."""
    page.wrong = []
    page.on("console", lambda line: page.wrong.append(line.text))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("request", lambda sent: page.wrong.append(sent.url) if foreign(sent.url) else None)

    def foreign(url):
        return not url.startswith((address, "data:", "blob:"))

    page.set_default_timeout(30_000)
    return page


# The width of a picture, once it is there.
WIDTH = "each => each.decode().then(() => each.naturalWidth)"
WIDTHS = f"all => Promise.all(all.map({WIDTH}))"


def check(page):
    """No line in the console, no other address, a name for each control, room on a telephone."""
    assert page.wrong == [], page.wrong
    nameless = page.evaluate(NAMELESS)
    assert nameless == [], nameless
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(WIDER) <= 0
    page.set_viewport_size({"width": 1280, "height": 900})
