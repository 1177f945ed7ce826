"""The studio in a browser: every view is walked, says nothing wrong, and asks nobody else."""

from __future__ import annotations

import shutil
import threading

import pytest
import uvicorn

from convarium import studio

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's client is missing")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
# What a control is called for those who do not see it; "" where it is called nothing.
NAMELESS = """() => [...document.querySelectorAll("button,a,input,select,textarea,summary,iframe")]
    .filter((each) => each.checkVisibility() && each.closest("[hidden]") === null)
    .filter((each) => !(each.getAttribute("aria-label") || each.title || each.textContent.trim()
        || [...(each.labels ?? [])].some((label) => label.textContent.trim())))
    .map((each) => each.outerHTML.slice(0, 120))"""
WIDER = "() => document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(trained, reviews):
    """A studio of this process, in a thread of its own."""
    desk = studio.Desk([trained, reviews])
    config = uvicorn.Config(studio.build_studio(desk), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(browser, address):
    """A page that notes what is said in its console, and whom it asks."""
    found = browser.new_page(viewport={"width": 1280, "height": 900})
    found.wrong = []
    found.on("console", lambda line: found.wrong.append(line.text))
    found.on("pageerror", lambda error: found.wrong.append(str(error)))
    found.on("request", lambda sent: found.wrong.append(sent.url) if foreign(sent.url) else None)

    def foreign(url):
        return not url.startswith((address, "data:", "blob:"))

    found.set_default_timeout(30_000)
    yield found
    found.close()


def check(page):
    """No line in the console, no other address, a name for each control, room on a telephone."""
    assert page.wrong == []
    assert page.evaluate(NAMELESS) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(WIDER) <= 0
    page.set_viewport_size({"width": 1280, "height": 900})


def test_look_shows_a_prediction_its_heat_and_the_field_of_a_position(page, address, shapes):
    page.goto(f"{address}/#/look/shapes")
    page.set_input_files("#look-file", shapes / "ring" / "3.png")
    page.wait_for_selector(".bars li")
    assert page.locator(".stage img").first.evaluate("each => each.naturalWidth") == 16
    page.get_by_label("Method").select_option("hires_cam")
    page.wait_for_selector("text=HiResCAM at")
    page.click(".stage", position={"x": 40, "y": 40})
    page.wait_for_selector(".boxes .field", state="attached")
    page.get_by_role("button", name="Measure deletion").click()
    page.wait_for_selector(".chart")
    check(page)


def test_look_reads_a_text_that_is_pasted(page, address):
    page.goto(f"{address}/#/look/reviews")
    page.get_by_label("Text", exact=True).fill("a red hat")
    page.get_by_role("button", name="Read it").click()
    page.wait_for_selector(".tokens span")
    assert page.locator(".tokens span").all_inner_texts() == ["a ", "red ", "hat"]
    check(page)


def test_what_cannot_be_read_is_a_sentence(page, address, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    page.goto(f"{address}/#/look/shapes")
    page.set_input_files("#look-file", tmp_path / "a.png")
    words = page.get_by_role("alert").inner_text()
    assert "not a JPEG, PNG or WebP image" in words
    assert all("422" in line for line in page.wrong)


def test_runs_open_the_samples_behind_a_cell_and_take_corrections(page, address, trained):
    page.goto(f"{address}/#/runs")
    page.get_by_role("link", name="shapes", exact=True).click()
    page.wait_for_selector(".matrix button")
    page.locator(".matrix button").first.click()
    page.wait_for_selector(".gallery img")
    label = page.locator(".gallery select").first
    label.select_option(index=1)
    page.wait_for_selector("text=Corrected labels")
    assert (trained / "corrections.csv").read_text().startswith("path,label\n")
    page.get_by_role("button", name="Take the correction").click()
    page.wait_for_selector("text=All were taken back.")
    check(page)
    (trained / "corrections.csv").unlink()


def test_the_list_of_runs_and_of_audits(page, address):
    for view in ("runs", "audit", "nothing"):
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector("h1, [role=alert]")
        page.wait_for_load_state("networkidle")
        check(page)
    assert "no view nothing" in page.get_by_role("alert").inner_text()


def test_the_menu_is_walked_by_keyboard(page, address):
    page.goto(f"{address}/#/runs")
    page.wait_for_selector("h1")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the view"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Look')")
    assert page.evaluate("document.activeElement.id") == "view"
