"""Small runs of each kind, and clients of applications that serve them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from PIL import Image
from small_fields import save_winds
from small_runs import save, save_curves, save_photos, save_reviews

from convarium import serve
from convarium.data import VolumePreprocessing

CLASSES = ("ape", "bee", "cat")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A run that takes colour images."""
    return save_photos(tmp_path_factory.mktemp("photos") / "photos", CLASSES)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A run that takes texts."""
    return save_reviews(tmp_path_factory.mktemp("reviews") / "reviews", CLASSES)


@pytest.fixture(scope="session")
def curves(tmp_path_factory):
    """A run that takes series of two channels."""
    return save_curves(tmp_path_factory.mktemp("curves") / "curves", CLASSES)


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """A run that takes volumes."""
    spacing = {"spacing": (1.5, 1.0, 1.0)}
    steps = VolumePreprocessing((1, 12, 12, 12), (40.0,), (20.0,), classes=CLASSES, **spacing)
    options = {"in_channels": 1, "spatial_dims": 3}
    return save(tmp_path_factory.mktemp("scans") / "scans", "convnet", steps, **options)


@pytest.fixture(scope="session")
def winds(tmp_path_factory):
    """A run that makes fields finer."""
    return save_winds(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="session")
def pictures():
    """Bytes of an image in several forms, by file name."""
    generator = np.random.Generator(np.random.PCG64(0))
    pixels = generator.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    saved = {
        "a.png": (upright, {}),
        "a.jpg": (upright, {"quality": 90}),
        "grey.png": (upright.convert("L"), {}),
        "clear.png": (upright.convert("RGBA"), {}),
        "palette.png": (upright.convert("P"), {}),
        "a.webp": (upright, {"quality": 90}),
        "turned.jpg": (upright, {"exif": turned}),
    }
    found = {}
    for name, (image, settings) in saved.items():
        file = io.BytesIO()
        suffix = name.rpartition(".")[2]
        image.save(file, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **settings)
        found[name] = file.getvalue()
    return found


@pytest.fixture
def serving():
    """Opens a client of an application that serves runs: `serving({"photos": folder})`."""
    from starlette.testclient import TestClient

    with contextlib.ExitStack() as stack:

        def opened(runs, limits=None, **settings):
            journal = serve.Journal(io.StringIO())
            service = serve.Service(runs, limits, journal=journal)
            app = serve.build_app(service, **settings)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            client.service, client.lines = service, journal.stream
            return client

        yield opened
