"""Small runs to look at, one of them trained, and clients of a studio that shows them."""

from __future__ import annotations

import contextlib
import io
import shutil

import pytest
from browsing import watched
from drawn_shapes import CLASSES, drawn, png
from small_runs import save_curves, save_photos, save_reviews

from convarium import studio
from convarium.cli import main


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder of class folders with small pictures."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    for k, kind in enumerate(CLASSES):
        (folder / kind).mkdir(parents=True)
        for i in range(16):
            (folder / kind / f"{i}.png").write_bytes(png(drawn(kind, 100 * k + i)))
    return folder


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory):
    """A run of two epochs on the shapes, with its data where it was."""
    run = tmp_path_factory.mktemp("runs") / "shapes"
    words = ["--model", "convnet", "--option", "channels=[8,16]", "--epochs", "2", "--json"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["train", str(shapes), "--out", str(run), *words]) == 0
    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """An untrained run that takes colour images."""
    return save_photos(tmp_path_factory.mktemp("photos") / "photos", CLASSES)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """An untrained run that takes texts."""
    return save_reviews(tmp_path_factory.mktemp("reviews") / "reviews", CLASSES)


@pytest.fixture(scope="session")
def curves(tmp_path_factory):
    """An untrained run that takes series of two channels."""
    return save_curves(tmp_path_factory.mktemp("curves") / "curves", CLASSES)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, as Debian has it, or Chrome."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright's client is missing")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no chromium is installed")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    """A page for the studio at `address`, which notes what is wrong with it."""
    found = watched(browser.new_page(viewport={"width": 1280, "height": 900}), address)
    yield found
    found.close()


@pytest.fixture
def asking():
    """Opens a client of a studio: `asking(folder, ...)`; its address is a local one."""
    from starlette.testclient import TestClient

    with contextlib.ExitStack() as stack:

        def opened(*runs, **settings):
            app = studio.build_studio(studio.Desk(runs, **settings))
            client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
            return stack.enter_context(client)

        yield opened
