"""Every size of every family against torchvision and timm themselves, installed beside us."""

import json
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from agreement import differing_in_evaluation, differing_in_training
from peer_truth import fill, inputs, measured

import convarium.models as models

SCRIPT = Path(__file__).parent / "peer_truth.py"

# Of our names, those that torchvision does not have; it has all others, and they mean the same.
NOT_IN_TORCHVISION = (
    *("convnet", "speednet", "lenet5", "resnet8", "resnet10", "*_cifar", "resnetv2_*"),
    "alexnet_2012",
    *("densenet264", "densenet_*", "mobilenet_v1", "mobilenet_v2_*d", "efficientnet_lite*"),
    *("convnext_xlarge", "convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano"),
    *("wrn_*", "resnetblur*", "resnext101_32x4d"),
    *("tcn", "text_cnn", "temporal_cnn", "fcn", "resnet1d", "inception_time*"),
    *("srcnn", "espcn", "edsr*", "unet"),
)
TORCHVISION = [
    name
    for name in models.list_models()
    if not any(fnmatchcase(name, pattern) for pattern in NOT_IN_TORCHVISION)
]

TIMM_NORM = {"norm_eps": 1e-5, "norm_momentum": 0.1}
TF = {"padding": "tf_same", "norm_eps": 1e-3, "norm_momentum": 0.1}

# timm's name: ours, and the options that make it the same network
TIMM = {
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnetv2_50": ("resnetv2_50", {}),
    "resnetv2_101": ("resnetv2_101", {}),
    "vgg11": ("vgg11", {}),
    "vgg13_bn": ("vgg13_bn", {}),
    "densenet121": ("densenet121", {}),
    "densenet161": ("densenet161", {}),
    "mobilenetv1_100": ("mobilenet_v1", {}),
    "mobilenetv2_050": ("mobilenet_v2", {"width_multiplier": 0.5}),
    "mobilenetv2_100": ("mobilenet_v2", {}),
    "mobilenetv2_140": ("mobilenet_v2", {"width_multiplier": 1.4}),
    "mobilenetv3_large_100": ("mobilenet_v3_large", TIMM_NORM),
    "mobilenetv3_small_100": ("mobilenet_v3_small", TIMM_NORM),
    "mnasnet_100": ("mnasnet1_0", {"norm_momentum": 0.1}),
    "efficientnet_b0": ("efficientnet_b0", {}),
    "efficientnet_b3": ("efficientnet_b3", {}),
    "tf_efficientnet_b1": ("efficientnet_b1", TF),
    "tf_efficientnet_b5": ("efficientnet_b5", TF),
    "efficientnet_lite0": ("efficientnet_lite0", {"padding": "same", "norm_eps": 1e-5}),
    "tf_efficientnet_lite0": ("efficientnet_lite0", {}),
    "tf_efficientnet_lite2": ("efficientnet_lite2", {}),
    "tf_efficientnet_lite4": ("efficientnet_lite4", {}),
    "tf_efficientnetv2_s": ("efficientnet_v2_s", TF),
    "tf_efficientnetv2_l": ("efficientnet_v2_l", TF),
    "resnext101_32x4d": ("resnext101_32x4d", {}),
    "resnetblur50": ("resnetblur50", {}),
    "convnext_atto": ("convnext_atto", {}),
    "convnext_nano": ("convnext_nano", {}),
    "convnext_tiny": ("convnext_tiny", {}),
    "convnext_base": ("convnext_base", {}),
}
ROWS = [("torchvision", name, (name, {})) for name in TORCHVISION]
ROWS += [("timm", name, ours) for name, ours in TIMM.items()]


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def pair(request, root):
    """What the library says of its network, and ours with the same closed-form weights."""
    library, peer, (name, options) = request.param
    size = "96" if name in ("alexnet", "squeezenet1_0", "squeezenet1_1") else "64"
    python = root / ".venv-peers" / "bin" / "python"
    command = [str(python), str(SCRIPT), library, peer, "{}", size]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    model = models.create(name, **options).double()
    report = models.load_published(model, {key: fill(key, shape) for key, shape in facts["keys"]})
    return facts, report, measured(model, inputs(facts["input_shape"]))


@pytest.mark.long
@pytest.mark.peers
def test_keys_counts_logits_and_training_are_the_peers(pair):
    facts, report, ours = pair
    assert len(report.used) == len(facts["keys"])
    assert report.source in (facts["source"], "torchvision")
    assert differing_in_evaluation(ours, facts) == []
    assert differing_in_training(ours, facts) == []
