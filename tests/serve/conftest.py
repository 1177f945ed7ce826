"""Small runs of each kind, and clients of applications that serve them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import models, serve
from convarium.data import (
    Preprocessing,
    SeriesPreprocessing,
    TextPreprocessing,
    TokenOptions,
    VolumePreprocessing,
)
from convarium.data.texts.tokens import learn_tokens

CLASSES = ("ape", "bee", "cat")


def save(folder, name, steps, **options):
    torch.manual_seed(0)
    model = models.create(name, num_classes=len(steps.classes), **options)
    return models.save(model, folder, {"task": "classification", **steps.to_card()})


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A run that takes colour images."""
    moments = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    steps = Preprocessing((3, 32, 32), *moments, classes=CLASSES)
    return save(tmp_path_factory.mktemp("photos") / "photos", "convnet", steps)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A run that takes texts."""
    texts = ["a red shoe", "a blue hat", "a green coat and a red hat"]
    tokenizer = learn_tokens(texts, TokenOptions(least=1))
    steps = TextPreprocessing((12,), classes=CLASSES, tokenizer=tokenizer)
    options = {"vocabulary": len(steps.tokens)}
    return save(tmp_path_factory.mktemp("reviews") / "reviews", "text_cnn", steps, **options)


@pytest.fixture(scope="session")
def curves(tmp_path_factory):
    """A run that takes series of two channels."""
    steps = SeriesPreprocessing((2, 40), (0.0, 1.0), (1.0, 2.0), classes=CLASSES)
    options = {"in_channels": 2, "spatial_dims": 1}
    return save(tmp_path_factory.mktemp("curves") / "curves", "fcn", steps, **options)


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """A run that takes volumes."""
    spacing = {"spacing": (1.5, 1.0, 1.0)}
    steps = VolumePreprocessing((1, 12, 12, 12), (40.0,), (20.0,), classes=CLASSES, **spacing)
    options = {"in_channels": 1, "spatial_dims": 3}
    return save(tmp_path_factory.mktemp("scans") / "scans", "convnet", steps, **options)


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
