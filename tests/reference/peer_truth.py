"""Prints the facts of networks of torchvision or timm, for closed-form weights, as JSON lines.

    python peer_truth.py torchvision densenet161 '{}' 64

Arguments: library, network, keywords as JSON, side of the input; further networks may follow, four
arguments each. Runs in an environment that has the library, never in the product's. The rule for
weights and inputs, and the names of the facts, are those of published/README.md.
"""

from __future__ import annotations

import json
import math
import sys
import zlib

import numpy as np
import torch
from torch import Tensor, nn

DROPS = ("drop_prob", "drop_path", "p", "drop_rate", "probability")


def uniform(key: str, n: int) -> np.ndarray:
    """Numbers in [0, 1) that follow from the key; integers of 32 bits, so products wrap around."""
    h = np.arange(n, dtype=np.uint32)
    h *= np.uint32(2654435761)
    h += np.uint32(zlib.crc32(key.encode()))
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x45D9F3B)
    h ^= h >> np.uint32(16)
    return h / 2.0**32


def fill(key: str, shape: list[int]) -> Tensor:
    """The tensor that the rule gives a key."""
    u = uniform(key, math.prod(shape))
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if "layer_scale" in key or key.endswith("gamma"):
        values = 0.5 + u
    elif len(shape) >= 2:
        values = (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:])) * 1.4
    elif key.endswith(("running_var", "weight")):
        values = 0.5 + u
    else:
        values = 0.2 * (u - 0.5)
    return torch.from_numpy(values).reshape(shape)


def build(library: str, name: str, keywords: dict[str, object]) -> nn.Module:
    """A network of the library with fresh weights."""
    if library == "timm":
        import timm

        return timm.create_model(name, **keywords)
    import torchvision

    return torchvision.models.get_model(name, **keywords)


def declare_operators() -> torch.library.Library:
    """What torchvision expects of its compiled part, which does not load beside this torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def silence(model: nn.Module) -> None:
    """Set every probability of dropout and of stochastic depth to 0."""
    for module in model.modules():
        for attribute in DROPS:
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)


def inputs(shape: list[int]) -> Tensor:
    """The batch that the rule gives a shape."""
    return torch.from_numpy(2 * uniform("input", math.prod(shape)) - 1).reshape(shape)


def measured(model: nn.Module, x: Tensor) -> dict[str, object]:
    """Logits, training logits, gradient norm and running statistics of a network in float64."""
    with torch.no_grad():
        logits = model.eval()(x)
    silence(model)
    model.zero_grad()
    trained = model.train()(x)
    trained.mean().backward()
    squares = sum(p.grad.square().sum().item() for p in model.parameters())

    def total(kind: str) -> float:
        return sum(b.abs().sum().item() for key, b in model.named_buffers() if key.endswith(kind))

    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "logits_first8": logits[:, :8].tolist(),
        "logits_mean": logits.mean(1).tolist(),
        "logits_std": logits.std(1).tolist(),
        "train_logits_first8": trained[:, :8].tolist(),
        "train_logits_std": trained.std(1).tolist(),
        "gradient_norm_of_mean_logit": math.sqrt(squares),
        "running_mean_abs_sum_after": total("running_mean"),
        "running_var_abs_sum_after": total("running_var"),
    }


def facts(library: str, name: str, keywords: dict[str, object], size: int) -> dict[str, object]:
    """Keys and measured values of one network of the library."""
    model = build(library, name, keywords).double()
    keys = [(key, list(tensor.shape)) for key, tensor in model.state_dict().items()]
    with torch.no_grad():  # MNASNet refuses a dictionary without the version of its file
        for key, tensor in model.state_dict().items():
            tensor.copy_(fill(key, list(tensor.shape)))
    shape = [2, 3, size, size]
    values = measured(model, inputs(shape))
    told = {"source": library, "name": name, "keywords": keywords, "input_shape": shape}
    return {**told, "keys": keys, **values}


if __name__ == "__main__":
    kept = declare_operators()
    arguments = sys.argv[1:]
    for start in range(0, len(arguments), 4):
        library, name, keywords, size = arguments[start : start + 4]
        sys.stdout.write(json.dumps(facts(library, name, json.loads(keywords), int(size))) + "\n")
        sys.stdout.flush()
