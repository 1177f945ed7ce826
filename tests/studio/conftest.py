"""Small runs to look at, one of them trained, and clients of a studio that shows them."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from drawn_shapes import CLASSES, drawn, png

from convarium import models, studio
from convarium.cli import main
from convarium.data import Preprocessing, SeriesPreprocessing, TextPreprocessing, TokenOptions
from convarium.data.texts.tokens import learn_tokens

TEXTS = ["a red shoe", "a blue hat", "a green coat and a red hat"]


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


def save(folder, name, steps, **options):
    torch.manual_seed(0)
    model = models.create(name, num_classes=len(steps.classes), **options)
    return models.save(model, folder, {"task": "classification", **steps.to_card()})


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """An untrained run that takes colour images."""
    steps = Preprocessing((3, 32, 32), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), classes=CLASSES)
    return save(tmp_path_factory.mktemp("photos") / "photos", "convnet", steps)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """An untrained run that takes texts."""
    tokenizer = learn_tokens(TEXTS, TokenOptions(least=1))
    steps = TextPreprocessing((12,), classes=CLASSES, tokenizer=tokenizer)
    options = {"vocabulary": len(steps.tokens)}
    return save(tmp_path_factory.mktemp("reviews") / "reviews", "text_cnn", steps, **options)


@pytest.fixture(scope="session")
def curves(tmp_path_factory):
    """An untrained run that takes series of two channels."""
    steps = SeriesPreprocessing((2, 40), (0.0, 1.0), (1.0, 2.0), classes=CLASSES)
    options = {"in_channels": 2, "spatial_dims": 1}
    return save(tmp_path_factory.mktemp("curves") / "curves", "fcn", steps, **options)


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
