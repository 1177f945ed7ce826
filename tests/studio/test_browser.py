"""The studio in a browser: every view is walked, says nothing wrong, and asks nobody else."""

from __future__ import annotations

import pytest
from browsing import WIDTH, check, serving

from convarium import studio


@pytest.fixture(scope="module")
def address(trained, reviews):
    with serving(studio.Desk([trained, reviews])) as found:
        yield found


def test_look_shows_a_prediction_its_heat_and_the_field_of_a_position(page, address, shapes):
    page.goto(f"{address}/#/look/shapes")
    page.set_input_files("#look-file", shapes / "ring" / "3.png")
    page.wait_for_selector(".bars li")
    assert page.locator(".stage img").first.evaluate(WIDTH) == 16
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
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(65 * 2**20)
    page.set_input_files("#look-file", tmp_path / "huge.png")
    page.wait_for_selector("text=The file is longer than 67.1 MB.")
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
    assert (trained / "corrections.csv").read_text().startswith("path,label,digest\n")
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


def test_a_studio_that_stopped_and_a_run_that_is_gone_are_sentences(page, address):
    page.goto(f"{address}/#/runs")
    page.wait_for_selector("tbody tr")
    page.context.set_offline(True)
    page.evaluate("location.hash = '#/audit'")
    assert "start it again" in page.get_by_role("alert").inner_text()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("text=No audit lies in the folders")
    page.evaluate("location.hash = '#/runs/gone'")
    page.wait_for_selector("text=its folder is gone")
    assert all("ERR_INTERNET_DISCONNECTED" in line for line in page.wrong)


def test_the_menu_is_walked_by_keyboard(page, address):
    page.goto(f"{address}/#/runs")
    page.wait_for_selector("h1")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the view"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Look')")
    assert page.evaluate("document.activeElement.id") == "view"


def slide(page, label, value):
    """Move a slider as a hand would."""
    page.get_by_label(label, exact=True).evaluate(
        "(each, to) => { each.value = to; each.dispatchEvent(new Event('input')); }", value
    )


def test_networks_are_searched_looked_at_and_set_side_by_side(page, address):
    page.goto(f"{address}/#/networks")
    page.get_by_label("Search").fill("resnet blur")
    assert page.locator("tbody th").all_inner_texts() == ["resnetblur18", "resnetblur50"]
    check(page)
    page.get_by_label("Search").fill("nothing is called so")
    assert "No network is like this." in page.locator("tbody").inner_text()
    page.get_by_label("Search").fill("convnet plain")
    page.get_by_role("button", name="convnet").click()
    page.wait_for_selector(".drawn svg")
    page.locator("summary").click()
    page.get_by_label("channels", exact=True).fill("[4, 8]")
    page.get_by_role("button", name="Measure").click()
    page.wait_for_selector("caption:has-text('10 layers')")
    assert page.locator("th:has-text('stage3')").count() == 0
    check(page)
    page.goto(f"{address}/#/networks/lenet5/with/convnet")
    page.wait_for_selector("h2:has-text('convnet')")
    assert page.locator(".drawn svg").count() == 4
    check(page)


def test_a_kernel_slides_and_may_not_fit(page, address):
    page.goto(f"{address}/#/learn/slide")
    page.wait_for_selector("text=64 outputs x 100 inputs")
    page.get_by_label("Picture, row 1, column 1", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    pressed = "each => each.getAttribute('aria-pressed')"
    assert page.get_by_label("Picture, row 1, column 2", exact=True).evaluate(pressed) == "true"
    slide(page, "stride", 2)
    page.wait_for_selector("text=16 outputs x 100 inputs")
    slide(page, "Position", 4)
    assert page.locator(".place.read").count() == 9
    check(page)
    page.get_by_label("Ready ones").select_option("5 x 5 mean")
    slide(page, "dilation", 3)
    assert "spans 13 places and there are 10" in page.get_by_role("alert").inner_text()
    assert all("422" in line for line in page.wrong)


def test_a_picture_is_dragged_and_the_last_answer_wins(page, address):
    page.goto(f"{address}/#/learn/move")
    page.wait_for_selector("text=Moved by a multiple of 4 places")
    box = page.locator("canvas.drag").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    for step in range(1, 31):
        page.mouse.move(middle[0] + step, middle[1])
    page.mouse.up()
    moved = round(30 * 64 / box["width"])
    page.wait_for_selector(
        f"canvas[aria-label='The picture, moved 0 down and {moved} to the right']"
    )
    assert page.get_by_label("Right", exact=True).input_value() == str(moved)
    check(page)


def test_the_other_pages_of_learn(page, address):
    pages = {
        "cost": "of the weights and of the multiply-adds",
        "tree": "The last step sees 16 steps",
        "scaling": "efficientnet_b7",
        "gradients": "plain, 56 layers",
    }
    for name, words in pages.items():
        page.goto(f"{address}/#/learn/{name}")
        page.wait_for_selector(f"text={words} >> nth=0")
        for control in page.locator("input[type=range]").all():
            control.press("ArrowRight")
        page.wait_for_load_state("networkidle")
        assert page.get_by_role("alert").count() == 0
        check(page)


def test_data_is_read_shown_and_filtered(page, address):
    page.goto(f"{address}/#/data/shapes")
    page.wait_for_selector(".sample img")
    assert "48" in page.locator(".tiles").first.inner_text()
    page.get_by_label("Label").select_option("ring")
    page.wait_for_selector("text=of 16")
    page.wait_for_selector("h2:has-text('What training sees')")
    page.wait_for_selector(".drawn image", state="attached")
    check(page)
    page.goto(f"{address}/#/data/reviews")
    page.wait_for_selector("[role=alert]")
    assert all("422" in line for line in page.wrong)
