"""Photographs prepared for published weights: ours against torchvision's and timm's own steps."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convarium import data
from convarium.models import weights

THEIRS = """
import json, sys
sys.path[:0] = [{reference!r}]
import numpy as np, peer_truth
kept = peer_truth.declare_operators()
from PIL import Image
import timm, torchvision
from timm.data import create_transform
out = {{}}
for number, (layout, network, name, picture) in enumerate(json.load(sys.stdin)):
    if layout == "torchvision":
        steps = torchvision.models.get_model_weights(network)[name.upper()].transforms()
    else:
        facts = timm.models.get_pretrained_cfg(name)
        steps = create_transform(
            facts.test_input_size or facts.input_size, interpolation=facts.interpolation,
            mean=facts.mean, std=facts.std, crop_pct=facts.test_crop_pct or facts.crop_pct,
        )
    out[str(number)] = steps(Image.open(picture)).numpy()
np.savez({file!r}, **out)
"""
CHOSEN = (
    *(("resnet50", "imagenet1k_v1"), ("resnet50", "imagenet1k_v2"), ("resnet50", "a1_in1k")),
    *(("efficientnet_b1", "imagenet1k_v2"), ("efficientnet_v2_l", "imagenet1k_v1")),
    *(("efficientnet_lite0", "tf_in1k"), ("efficientnet_lite4", "tf_in1k")),
    *(("densenet121", "ra_in1k"), ("convnext_small", "imagenet1k_v1")),
)


@pytest.mark.long
@pytest.mark.peers
def test_inputs_are_those_of_the_libraries_bit_by_bit(root: Path, tmp_path: Path) -> None:
    from skimage.data import cat, coffee
    from sklearn.datasets import load_sample_image

    pictures = []
    for name, pixels in (
        ("cat", cat()),
        ("coffee", coffee().transpose(1, 0, 2)),
        ("flower", load_sample_image("flower.jpg")[:301, :533]),
        ("small", coffee()[:97, :150]),
    ):
        pictures.append(tmp_path / f"{name}.png")
        Image.fromarray(np.ascontiguousarray(pixels)).save(pictures[-1])
    rows = [weights.find(*pair) for pair in CHOSEN]
    asked = [
        (row.layout, row.network, row.hub_id.removeprefix("timm/") or row.name, str(picture))
        for row in rows
        for picture in pictures
    ]
    file = tmp_path / "theirs.npz"
    code = THEIRS.format(reference=str(root / "tests/reference"), file=str(file))
    subprocess.run(
        [str(root / ".venv-peers/bin/python"), "-c", code],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = np.load(file)
    ours = [
        steps.finish(steps.apply(data.read_image(picture))[None])[0].numpy()
        for steps in (data.Preprocessing.from_card(row.card()) for row in rows)
        for picture in pictures
    ]
    assert len(theirs) == len(ours) == len(CHOSEN) * len(pictures)
    for number, mine in enumerate(ours):
        wanted = theirs[str(number)]
        assert mine.shape == wanted.shape, asked[number]
        # The same 8-bit pixels; (p / 255 - mean) / std may differ in the last digits.
        assert np.abs(mine - wanted).max() < 1e-5, asked[number]
