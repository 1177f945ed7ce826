"""Every kind of sample in a browser, and what the other rooms made: an audit, a choice."""

from __future__ import annotations

import io

import numpy as np
import pytest
from audited import CARD, dataset, objects, pictures, sees_white
from browsing import WIDTH, WIDTHS, check, serving
from small_fields import fields, save_winds
from small_runs import save_scans

from convarium import explain, report, studio
from convarium.predict import Predictor

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The folder of an audit."""
    predictor = Predictor(sees_white(), CARD)
    found = explain.audit(predictor, dataset(pictures(60)), regions=objects(60))
    folder = tmp_path_factory.mktemp("audits") / "made"
    report.write_audit(folder, found, "What it rests on", found.gates(no_shortcut=True))
    return folder


@pytest.fixture(scope="module")
def address(curves, reviews, audited, tmp_path_factory):
    scans = save_scans(tmp_path_factory.mktemp("scans") / "scans", ("dense", "hollow"))
    winds = save_winds(tmp_path_factory.mktemp("fields"))
    with serving(studio.Desk([curves, reviews, scans, winds, audited])) as found:
        yield found


def as_file(name, values):
    """An array as a file of NumPy."""
    file = io.BytesIO()
    np.save(file, values)
    return {"name": name, "mimeType": "application/octet-stream", "buffer": file.getvalue()}


def test_look_draws_a_series_with_its_heat(page, address):
    steps = np.linspace(0, 6, 40)
    page.goto(f"{address}/#/look/curves")
    page.set_input_files("#look-file", as_file("a.npy", np.stack([np.sin(steps), np.cos(steps)])))
    page.wait_for_selector("img.wide")
    assert page.locator("img.wide").evaluate(WIDTH) > 100
    assert page.locator(".bars li").count() == 3
    page.get_by_label("Values").select_option("raw")
    page.wait_for_selector("text=/^Raw values from/")
    page.locator("img.wide").click(position={"x": 60, "y": 40})  # before the fourth step
    page.wait_for_selector("text=/^Position [0-3] of stage3: the field has 14 time steps/")
    assert page.locator(".drawn svg").count() == 1
    page.get_by_role("button", name="Measure deletion and insertion").click()
    page.wait_for_selector("h3:has-text('Insertion')")
    assert page.locator("figure.chart svg").count() == 2
    check(page)


def test_look_shows_what_a_token_sees(page, address):
    page.goto(f"{address}/#/look/reviews")
    page.get_by_label("Text", exact=True).fill("a red shoe and a blue hat")
    page.get_by_role("button", name="Read it").click()
    page.locator(".tokens span", has_text="shoe").click()
    page.wait_for_selector("text=/^Token 2 of stage1: the field has 5 tokens/")
    within = page.locator(".tokens .within").all_inner_texts()
    assert "".join(within).split() == ["a", "red", "shoe", "and", "a"]
    page.locator(".tokens").first.locator("span").first.click()  # where no whole window fits
    page.wait_for_selector("text=/^Token 1, the nearest that reads the one clicked, of stage1/")
    page.get_by_role("button", name="Measure deletion and insertion").click()
    page.wait_for_selector("h3:has-text('Insertion')")
    assert "edges" not in page.locator("figure.chart").first.inner_text()
    check(page)


def test_a_click_on_an_upright_slice_counts_from_its_foot(page, address):
    page.goto(address)
    found = page.evaluate(
        """async (panes) => {
            const { placeOf } = await import("/page/views/look/closer.js");
            const bounds = { left: 5, top: 5, width: 10, height: 10 };
            const node = { getBoundingClientRect: () => bounds };
            const heat = { size: [8, 10, 12], at: [.5, .5, .5] };
            return panes.map((pane) =>
                placeOf({ clientX: 7.5, clientY: 6.1 }, { ...heat, panes: [pane, pane] }, node));
        }""",
        [{"box": [0, 0, 1, 0.5], "rows": 0, "columns": 2, "upright": each} for each in (0, 1)],
    )
    assert found == [[1, 5, 3], [6, 5, 3]]


def test_look_draws_slices_of_a_volume(page, address):
    page.goto(f"{address}/#/look/scans")
    values = np.random.default_rng(0).normal(size=(8, 10, 12)).astype("f4")
    page.set_input_files("#look-file", as_file("a.npy", values))
    page.wait_for_selector(".stage .heat", state="attached")
    sizes = page.locator(".stage img").evaluate_all("all => all.map((each) => each.naturalWidth)")
    assert sizes[0] > 12
    assert sizes[0] == sizes[1]
    other = "dense" if "hollow" in page.locator(".said").inner_text() else "hollow"
    page.get_by_label("Class", exact=True).select_option(other)
    page.wait_for_selector(f"text=for {other}: evidence")
    stage = page.locator(".stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    stage.click(position={"x": 0.01 * box["width"], "y": 0.99 * box["height"]})  # axial
    page.wait_for_selector("text=/^Depth ., row 4, column 0 of stage2/")
    assert page.locator(".drawn svg image").count() == 4
    check(page)


def test_look_draws_fields_time_by_time(page, address, tmp_path):
    page.goto(f"{address}/#/look/winds")
    page.set_input_files("#look-file", fields(tmp_path / "coarse.nc", 3))
    page.wait_for_selector("h2:has-text('2001-02-01')")
    assert page.locator("figure img:not(.heat)").count() == 2
    assert "16 \u00d7 24 cells" in page.locator("figcaption").nth(1).inner_text()
    page.get_by_label("Time, 1 to 3").fill("3")
    page.get_by_label("Time, 1 to 3").press("Enter")
    page.wait_for_selector("h2:has-text('2001-04-01')")
    assert page.locator(".stage .heat").is_hidden()
    fine = page.locator("img.asked")
    fine.scroll_into_view_if_needed()
    fine.click(position={"x": 2, "y": 2})
    page.wait_for_selector("text=/Row 0 from the north, column 0 of u: the field has 13 . 13/")
    assert page.locator(".stage .heat").is_visible()
    assert page.locator(".boxes rect").get_attribute("width") == "7"
    assert "no score of a class" in page.locator("section").last.inner_text()
    check(page)


def test_a_file_dropped_anywhere_is_looked_at_and_never_opened_in_the_page_s_place(page, address):
    page.goto(f"{address}/#/look/curves")
    page.wait_for_selector(".zone")
    drop = """(place) => {
        const held = new DataTransfer();
        held.items.add(new File(["1,2\\n3,4\\n5,6\\n"], "a.csv"));
        const how = { bubbles: true, cancelable: true, dataTransfer: held };
        return document.querySelector(place).dispatchEvent(new DragEvent("drop", how));
    }"""
    assert page.evaluate(drop, ".brand") is False  # the browser is told to leave it
    page.wait_for_selector(".bars li, [role=alert]")
    page.goto(f"{address}/#/audit")
    page.wait_for_selector("tbody tr")
    assert page.evaluate(drop, "h1") is False
    assert all("422" in line for line in page.wrong)


def test_an_audit_has_its_evidence_and_its_page_in_a_frame(page, address, audited):
    page.goto(f"{address}/#/audit")
    page.get_by_role("link", name="made").click()
    page.wait_for_selector(".claims li")
    page.locator(".claims summary").first.click()
    page.wait_for_selector(".claims table")
    check(page)
    page.get_by_role("button", name="Show the pictures here").click()
    frame = page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    assert frame.locator("h1").inner_text() == "What it rests on"
    pictures = frame.locator("img").evaluate_all(WIDTHS)
    assert pictures
    assert all(pictures)
    check(page)


def test_a_network_is_chosen_for_an_input(page, address):
    page.goto(f"{address}/#/networks/choose")
    page.get_by_label("Input of a sample").fill("1x28x28")
    page.get_by_label("Names like").fill("lenet*")
    page.get_by_label("How many to measure").fill("1")
    page.get_by_role("button", name="Measure and rank").click()
    page.wait_for_selector("h2:has-text('Ranked')")
    assert page.locator("tbody th").all_inner_texts() == ["lenet5 image_size=[28, 28]"]
    assert page.locator(".drawn svg").count() == 1
    check(page)
    page.get_by_label("Multiply-adds at most").fill("5 apples")
    page.get_by_role("button", name="Measure and rank").click()
    page.wait_for_selector("text=must be a number")
    assert all("422" in line for line in page.wrong)
