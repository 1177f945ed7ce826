"""One small network of every family and kind of block: name, options, positions along each axis."""

from convarium.models import registry
from convarium.models.options import choices

SPECIMENS = {
    "lenet5": ("lenet5", {}, 32),
    "convnet": ("convnet", {"channels": [4, 6], "kernel_sizes": [3, 4], "pool": "avg"}, 16),
    "convnet-layer": ("convnet", {"channels": [4, 6], "norm": "layer", "activation": "gelu"}, 16),
    "convnet-group": ("convnet", {"channels": [4, 6], "norm": "group", "pool": "none"}, 16),
    "convnet-instance": ("convnet", {"channels": [4, 6], "norm": "instance"}, 16),
    "speednet": ("speednet", {"widths": [8, 8], "patch": 1}, 16),
    "basic": ("resnet8", {"widths": [4, 6, 8], "stem": "imagenet"}, 32),
    "pad": ("resnet8", {"widths": [4, 6, 8], "shortcut": "pad", "stem": "pool"}, 16),
    "plain": ("resnet8", {"widths": [4, 6, 8], "shortcut": "none"}, 16),
    "bottleneck": ("resnet8", {"widths": [8, 8, 8], "block": "bottleneck", "groups": 2}, 16),
    "pre-basic": ("resnet8", {"widths": [4, 6, 8], "order": "pre"}, 16),
    "pre-bottleneck": (
        "resnet8",
        {"widths": [8, 8, 8], "order": "pre", "block": "bottleneck"},
        16,
    ),
    "alexnet": ("alexnet", {"dense_width": 16}, 71),
    "alexnet_2012": ("alexnet_2012", {"dense_width": 16}, 71),
    "vgg": ("vgg11", {"widths": [4, 6, 8, 8, 8], "dense_width": 16}, 71),
    "vgg-norm": ("vgg11_bn", {"widths": [4, 6, 8, 8, 8], "dense_width": 16}, 71),
    "squeezenet-7": ("squeezenet1_0", {"depths": [2, 1, 1]}, 71),
    "squeezenet-3": ("squeezenet1_1", {"depths": [1, 2, 1]}, 71),
    "densenet": ("densenet121", {"depths": [2, 3, 2, 2], "growth_rate": 8}, 71),
    "densenet-cifar": ("densenet_bc_100_12", {"depths": [2, 2, 2]}, 32),
    "densenet-plain": ("densenet_40_12", {"depths": [2, 2, 2]}, 32),
    "mobilenet_v1": ("mobilenet_v1", {"width_multiplier": 0.25}, 71),
    "mobilenet_v2": ("mobilenet_v2", {"width_multiplier": 0.25, "depth_multiplier": 0.5}, 71),
    "mobilenet_v3": ("mobilenet_v3_small", {"width_multiplier": 0.5}, 71),
    "mnasnet": ("mnasnet0_5", {}, 71),
    "efficientnet": (
        "efficientnet_b0",
        {"width_multiplier": 0.25, "depths": [1, 1, 2, 1, 1, 1, 1], "drop_path": 0.0},
        71,
    ),
    "efficientnet-lite": (
        "efficientnet_lite0",
        {"width_multiplier": 0.25, "depths": [1, 1, 2, 1, 1, 1, 1], "drop_path": 0.0},
        71,
    ),
    "efficientnet-fused": (
        "efficientnet_v2_s",
        {"width_multiplier": 0.25, "depths": [1, 2, 1, 1, 2, 1], "drop_path": 0.0},
        71,
    ),
    "convnext": (
        "convnext_tiny",
        {"depths": [1, 1, 2, 1], "widths": [4, 6, 8, 10], "drop_path": 0.0},
        71,
    ),
    "tcn": ("tcn", {"channels": [6, 6], "kernel_size": 2}, 16),
    "tcn-batch": ("tcn", {"channels": [4, 6], "norm": "batch", "readout": "mean"}, 16),
    "text_cnn": ("text_cnn", {"vocabulary": 50, "embedding_dim": 6, "filters": 4}, 16),
    "text_cnn-batch": (
        "text_cnn",
        {"vocabulary": 50, "embedding_dim": 6, "embedding": "two_channel", "norm": "batch"},
        16,
    ),
    "text_cnn-mean": ("text_cnn", {"vocabulary": 50, "embedding_dim": 6, "mean": True}, 16),
    "temporal_cnn": (
        "temporal_cnn",
        {"channels": [6, 8, 10, 10], "embedding_dim": 5, "num_classes": 3},
        16,
    ),
    "fcn": ("fcn", {"channels": [4, 6, 4]}, 16),
    "fcn-3": ("fcn", {"channels": [4, 6, 4], "members": 3, "in_channels": 2}, 16),
    "resnet1d": ("resnet1d", {"widths": [4, 6, 6]}, 16),
    "inception_time": ("inception_time", {"filters": 3, "kernel_sizes": [8, 4]}, 16),
    "inception_time-3": (
        "inception_time_ensemble",
        {"filters": 3, "kernel_sizes": [8, 4], "members": 3, "depth": 4, "in_channels": 2},
        16,
    ),
    "srcnn": ("srcnn", {"channels": [6, 4], "kernel_sizes": [5, 1, 3], "factor": 2}, 16),
    "espcn": ("espcn", {"channels": [6, 4], "factor": 2, "constraint": "additive"}, 16),
    "edsr": ("edsr_small", {"depth": 2, "width": 6, "factor": 2, "parts": "quantiles"}, 16),
    "unet": ("unet", {"widths": [4, 6], "factor": 2, "constraint": "softmax"}, 16),
}


def of_one_rank(name):
    """Whether the network is for sequences only."""
    return "spatial_dims" in choices(registry.find(name).cls)


def of_fields(name):
    """Whether the network gives fields."""
    return registry.find(name).cls.input_kind == "fields"


def outputs(name, n):
    """The keyword that asks for n outputs: classes, or fields."""
    return {"out_channels" if of_fields(name) else "num_classes": n}


SEQUENCES = [kind for kind, (name, _, _) in SPECIMENS.items() if of_one_rank(name)]
