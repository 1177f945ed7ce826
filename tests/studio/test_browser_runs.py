"""Runs in a browser while they go on, die, are deleted, are compared, and have hostile names."""

from __future__ import annotations

import json
import shutil

import filelock
import pytest
from browsing import FAINT, WIDTH, check, serving, watched
from small_runs import save_photos

from convarium import report, studio
from convarium.data.corrections import read_corrections

HOSTILE = '<img src=x onerror="window.hacked=1">'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def address(runs, trained, shapes, tmp_path_factory):
    (runs / "first" / "checkpoint-0").mkdir(parents=True)
    for name in ("shapes", "other"):
        shutil.copytree(trained, runs / name)
    config = runs / "other" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 2\n", "epochs = 3\n"))
    begin(runs / "first", 2)
    save_photos(runs / HOSTILE, (HOSTILE, "b'\"&amp;", "\u202egnp"))
    with serving(studio.Desk([runs], str(hostile_data(tmp_path_factory)))) as found:
        yield found


def hostile_data(factory):
    """Class folders and files whose names are markup."""
    from drawn_shapes import drawn, png

    folder = factory.mktemp("data") / "odd"
    for k, name in enumerate((HOSTILE, "a&lt;b", "%2e%2e")):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            (folder / name / f"{HOSTILE}{i}.png").write_bytes(png(drawn("ring", 10 * k + i)))
    return folder


def begin(folder, epochs):
    """A run folder as a training has it after some epochs."""
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text('[model]\nname = "fcn"\n[train]\nepochs = 5\n')
    (folder / ".lock").touch()
    (folder / "history.jsonl").write_text("")
    for epoch in range(1, epochs + 1):
        learn(folder, epoch)


def learn(folder, epoch):
    """One epoch more."""
    row = {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "val_acc": 0.5}
    with open(folder / "history.jsonl", "a") as file:
        file.write(json.dumps({**row, "lr": 0.1, "seconds": 1.0}) + "\n")


def test_a_training_is_followed_until_it_crashes(page, address, runs):
    lock = filelock.FileLock(runs / "first" / ".lock")
    with lock:
        page.goto(f"{address}/#/runs/first")
        page.wait_for_selector("text=2 of 5 epochs")
        assert page.locator(".tag").first.inner_text() == "training"
        learn(runs / "first", 3)
        page.wait_for_selector("text=3 of 5 epochs")
        check(page)
    page.wait_for_selector("text=The training has stopped before its end.")
    assert page.locator(".tag").first.inner_text() == "stopped"
    assert "train with --resume" in page.get_by_role("alert").inner_text()
    check(page)


def test_a_run_that_is_deleted_while_it_is_open_is_a_sentence(page, address, runs, trained):
    begin(runs / "passing", 1)
    with filelock.FileLock(runs / "passing" / ".lock"):
        page.goto(f"{address}/#/runs/passing")
        page.wait_for_selector("text=1 of 5 epochs")
        shutil.rmtree(runs / "passing")
        page.wait_for_selector("text=its folder is gone")
    shutil.copytree(trained, runs / "brief")
    page.goto(f"{address}/#/runs/brief")
    page.wait_for_selector(".gallery")
    shutil.rmtree(runs / "brief")
    page.locator(".matrix button").first.click()
    page.wait_for_selector("text=There is no run 'brief' here, or its folder is gone.")
    page.goto(f"{address}/#/runs")
    page.wait_for_selector("h1:text-is('Runs')")  # what is below is that view's from here on
    page.wait_for_selector("tbody tr")
    assert "brief" not in page.locator("tbody").inner_text()
    assert all("422" in line for line in page.wrong)


def test_runs_are_compared_by_their_curves_and_settings(page, address):
    page.goto(f"{address}/#/runs")
    for name in ("shapes", "other"):
        page.get_by_label(f"Compare {name}", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("caption:has-text('Settings that differ')", state="attached")
    rows = page.locator("tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [["train.epochs", "2", "3"]]
    names = page.locator(".legend").first.locator("li").all_inner_texts()
    assert names == ["shapes, training", "shapes", "other, training", "other"]
    check(page)


def test_two_browsers_correct_labels_at_once(browser, address, runs):
    pages = [watched(browser.new_page(), address) for _ in range(2)]
    chosen = []
    for page in pages:
        page.goto(f"{address}/#/runs/shapes")
        page.locator(".matrix button").first.click()
        page.wait_for_selector(".gallery select")
    for k, page in enumerate(pages):
        label = page.locator(".gallery select").nth(k)
        chosen.append(label.get_attribute("aria-label").removeprefix("Label of "))
        label.select_option(index=1)
        page.wait_for_selector("text=Corrected labels")
        assert page.locator("tbody tr", has_text="Back to").count() == k + 1
    assert set(read_corrections(runs / "shapes" / "corrections.csv")) == set(chosen)
    assert len(set(chosen)) == 2
    for page in pages:
        assert page.wrong == []
        page.close()


def test_data_that_changed_offers_no_labels(page, address, runs, shapes, trained):
    run = shutil.copytree(trained, runs / "changed")
    config = run / "config.toml"
    config.write_text(config.read_text().replace('fingerprint = "', 'fingerprint = "0'))
    page.goto(f"{address}/#/runs/changed")
    page.wait_for_selector("text=This is not the data that changed was trained on")
    page.locator(".matrix button").first.click()
    page.wait_for_selector(".gallery img")
    assert page.locator(".gallery select").count() == 0
    check(page)
    shutil.rmtree(run)


def test_hostile_names_are_drawn_as_words(page, address):
    page.goto(f"{address}/#/runs")
    page.wait_for_selector("tbody tr")
    assert HOSTILE in page.locator("tbody").inner_text()
    page.get_by_role("link", name=HOSTILE).click()
    page.wait_for_selector("text=does not say what it was trained on: it has no config.toml.")
    assert all("422" in line for line in page.wrong)
    page.wrong.clear()
    page.goto(f"{address}/#/data")
    page.wait_for_selector(".sample img")
    assert HOSTILE in page.locator(".samples").first.inner_text()
    assert page.locator(".sample img").first.evaluate(WIDTH) > 0
    page.get_by_label("Label").select_option(HOSTILE)
    page.wait_for_selector("text=1 to 4 of 4")
    page.goto(f"{address}/#/look")
    page.get_by_label("Run").select_option(HOSTILE)
    page.wait_for_selector("#look-file", state="attached")
    page.set_input_files("#look-file", {"name": f"{HOSTILE}.png", "mimeType": "", "buffer": ring()})
    page.wait_for_selector(".bars li")
    assert HOSTILE in page.locator(".bars").inner_text()
    assert page.evaluate("window.hacked") is None
    check(page)


def ring():
    from drawn_shapes import drawn, png

    return png(drawn("ring", 1))


def test_every_view_is_read_in_light_and_in_dark(page, address):
    views = {
        "runs": ("Runs", "tbody tr"),
        "runs/shapes": ("shapes", ".gallery"),
        "runs/compare/shapes/other": ("Runs beside each other", "tbody"),
        "data": ("Data", ".sample img"),
        "networks": ("Networks", "tbody tr"),
        "networks/lenet5": ("lenet5", ".drawn svg"),
        "networks/choose": ("Which network?", "form"),
        "audit": ("Audit", ".lead"),
        "learn/slide": ("A kernel that slides", "text=outputs x 100 inputs"),
        "learn/gradients": ("Gradients through depth", "tbody tr"),
    }
    papers, faint = set(), []
    for view, (heading, shown) in views.items():
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector(f"h1:text-is('{heading}')")
        page.wait_for_selector(shown)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            faint += [(scheme, view, each) for each in page.evaluate(FAINT)]
            papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert page.wrong == []
    assert faint == []
    paper = [
        tuple(int(c[k : k + 2], 16) for k in (1, 3, 5))
        for c in (report.palette.LIGHT["paper"], report.palette.DARK["paper"])
    ]
    assert papers == {f"rgb({r}, {g}, {b})" for r, g, b in paper}
