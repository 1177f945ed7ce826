"""How long the studio lets somebody wait: its first view, a heatmap of a photograph, the catalogue.

In chromium without a window, on the cores of the studio: from the start of the process to the first
view; from a photograph of 500x375 given to the page to its heatmap drawn there; from a letter typed
into the catalogue's search to the rows that match. Networks have their initial weights.

Bounds: a first view within 1 s; a heatmap within .15 s of MobileNetV2 and within .4 s of ResNet-50,
both at 224; a search within .1 s.

Run: python benchmarks/studio.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from convarium import data, models
from harness import summary, write
from loader import write_photographs

NETWORKS = ("mobilenet_v2", "resnet50")
BOUNDS = {"first view": 1.0, "mobilenet_v2": 0.15, "resnet50": 0.4, "search": 0.1}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Milliseconds from now until the page shows the heat of another sample, both pictures decoded.
HEATED = """async (before) => {
    const start = performance.now();
    for (;;) {
        const [below, heat] = document.querySelectorAll(".stage img");
        if (heat && below.src !== before) {
            await Promise.all([below.decode(), heat.decode()]);
            return performance.now() - start;
        }
        await new Promise(requestAnimationFrame);
    }
}"""
SEARCHED = """async (words) => {
    const typed = document.querySelector("input[type=search]");
    const start = performance.now();
    typed.value = words;
    typed.dispatchEvent(new InputEvent("input", { bubbles: true }));
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def save_runs(folder: Path) -> None:
    """A run of each network for photographs, with 1000 classes."""
    classes = tuple(f"class {k}" for k in range(1000))
    steps = data.Preprocessing((3, 224, 224), MEAN, STD, classes=classes, resize=256)
    for name in NETWORKS:
        torch.manual_seed(0)
        card = {"task": "classification", **steps.to_card()}
        models.save(models.create(name), folder / name, card)


@contextlib.contextmanager
def studio(runs: Path) -> Iterator[str]:
    """The address of a studio in a process of its own."""
    command = [sys.executable, "-m", "convarium", "studio", str(runs), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        yield json.loads(text)["address"]
        process.terminate()


def first_view(browser: Any, runs: Path) -> float:
    """Seconds from the start of the process to a heading and a table on the page."""
    page = browser.new_page()
    start = time.perf_counter()
    with studio(runs) as address:
        page.goto(f"{address}#/runs")
        page.wait_for_selector("tbody tr")
        seconds = time.perf_counter() - start
        page.close()
    return seconds


def heated(page: Any, address: str, network: str, photographs: list[Path]) -> list[float]:
    """Seconds from a photograph to its heatmap; the first one is for warming up."""
    page.goto(f"{address}#/look/{network}")
    page.wait_for_selector("#look-file", state="attached")
    found = []
    for path in photographs:
        before = page.evaluate("document.querySelector('.stage img')?.src ?? ''")
        page.evaluate(f"() => {{ window.drawn = ({HEATED})({json.dumps(before)}); }}")
        page.set_input_files("#look-file", path)
        found.append(page.evaluate("window.drawn") / 1000)
    return found[1:]


def searched(page: Any, address: str, rounds: int) -> list[float]:
    """Seconds from a changed search to the next picture of the page."""
    page.goto(f"{address}#/networks")
    page.wait_for_selector("input[type=search]")
    words = ["res", "resnet", "mobile", "2015", "e", "efficientnet lite", ""]
    return [page.evaluate(SEARCHED, words[k % len(words)]) / 1000 for k in range(rounds)]


def main(rounds: int) -> int:
    """Measure, write the result, and say whether the bounds hold."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        save_runs(folder / "runs")
        (folder / "photographs").mkdir()
        write_photographs(folder / "photographs", rounds + 1)
        photographs = sorted((folder / "photographs").rglob("*.jpg"))
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        first_view(browser, folder / "runs")
        times = {"first view": [first_view(browser, folder / "runs") for _ in range(rounds)]}
        with studio(folder / "runs") as address:
            page = browser.new_page()
            for network in NETWORKS:
                times[network] = heated(page, address, network, photographs)
            times["search"] = searched(page, address, rounds)
            version = browser.version
            browser.close()
    medians = {what: summary(found) for what, found in times.items()}
    holds = {what: medians[what]["median"] <= bound for what, bound in BOUNDS.items()}
    result = {"seconds": medians, "bounds": BOUNDS, "holds": holds, "chromium": version}
    written = write("studio", result, ["playwright", "uvicorn"])
    for what, row in medians.items():
        print(f"{what:<14} {row['median']:.3f} s (n = {row['n']}), at most {BOUNDS[what]} s")
    print(f"bounds hold: {all(holds.values())}; {written}")
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
