"""Heatmaps from the maps of a layer and the gradient of a score: Grad-CAM and its relatives.

maps A (B, C, *S) of a layer -> score y -> G = dy/dA -> a weighting of A -> sum over channels
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain.attribution import Attribution, describe
from convarium.explain.looking import Forward, Inputs
from convarium.explain.padding import unpadded
from convarium.explain.reading import Reading, read
from convarium.explain.resizing import Extent
from convarium.explain.targets import Goal, Target

Layer = str | nn.Module | None


@unpadded
def grad_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """Grad-CAM of every sample of a batch, raw and signed.

    With A_k the k-th map of the layer, y_c the logit of class c and Z the number of positions:
    w_k = 1/Z sum_p dy_c/dA_k(p); the map is sum_k w_k A_k. The published ReLU belongs to the
    display: `.display()`.

    The network runs once, in eval mode; only the part behind the layer is differentiated.
    Afterwards mode, gradients, buffers, hooks and random streams are as before.

    Args:
        model: any module that maps (B, C, *S) to logits (B, classes), on any device, frozen or
            not, wrapped or compiled (the original runs, and `.note` says so), of any floating type.
        x: (B, C, *S), preprocessed as the model needs it, with 1 to 3 spatial axes, or (B, T) token
            ids; or a tuple of inputs, of which the map belongs to the first one.
        target: None: the predicted class of each sample; an index; one index per sample; or a
            callable from the model's output to one score per sample, (B,).
        layer: dotted name or the module. None: `model.heatmap_layer`, or the last map with spatial
            extent that feeds the score. Its output must be (B, C, *S), and it must run once.
        forward: what runs in place of `model(*inputs)` and gives logits, where the model gives a
            tuple or a dictionary: `forward=lambda x: model(x)["logits"]`.

    Raises:
        OptionError: the layer or target does not exist, or the layer does not run exactly once.
        ShapeError: the shape of the input, of the layer's output or of the logits does not fit.

    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ... )
    >>> heat = grad_cam(network, torch.ones(5, 1, 8, 8), target=1)
    >>> heat.layer, heat.values.shape, heat.display().shape
    ('0', torch.Size([5, 6, 6]), torch.Size([5, 8, 8]))

    References:
        Selvaraju et al. (2017), "Grad-CAM", arXiv:1610.02391, equations 1 and 2.
    """
    reading = read(model, x, target=target, layer=layer, forward=forward)
    return attribution(reading, "grad_cam", _averaged)


@unpadded
def grad_cam_plus_plus(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """Grad-CAM++: positions are weighted, so that several small finds count like a large one.

    With G = dy_c/dA: a = G^2 / (2 G^2 + G^3 sum_q A(q)), 0 where that is 0/0;
    w_k = sum_p a_k ReLU(G_k); the map is sum_k w_k A_k. For maps that are not negative, as behind
    a ReLU: elsewhere 2 + G sum A may come near to 0. Arguments as in `grad_cam`.

    References:
        Chattopadhyay et al. (2018), "Grad-CAM++", arXiv:1710.11063, equation 19.
    """
    reading = read(model, x, target=target, layer=layer, forward=forward)
    return attribution(reading, "grad_cam_plus_plus", _of_higher_order)


@unpadded
def hires_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """HiResCAM: each position with its own gradient, so that only what the score used is shown.

    The map is sum_k G_k A_k, with G = dy_c/dA. Arguments as in `grad_cam`.

    References:
        Draelos and Carin (2020), "Use HiResCAM instead of Grad-CAM", arXiv:2011.08891.
    """
    reading = read(model, x, target=target, layer=layer, forward=forward)
    return attribution(reading, "hires_cam", lambda a, g: (g * a).sum(1))


@unpadded
def layer_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """Layer-CAM: positive gradients, position by position; meant for early layers too.

    The map is sum_k ReLU(G_k) A_k, with G = dy_c/dA. Arguments as in `grad_cam`; `fuse` joins the
    maps of several layers.

    References:
        Jiang et al. (2021), "LayerCAM", IEEE Transactions on Image Processing 30.
    """
    reading = read(model, x, target=target, layer=layer, forward=forward)
    return attribution(reading, "layer_cam", lambda a, g: (g.relu() * a).sum(1))


@unpadded
def xgrad_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """XGrad-CAM: gradients averaged with the map's own values as weights.

    With G = dy_c/dA: w_k = sum_p G_k A_k / sum_p A_k, 0 where that is 0/0; the map is
    sum_k w_k A_k. Its sum is that of HiResCAM. For maps that are not negative, as behind a ReLU:
    elsewhere sum A may come near to 0. Arguments as in `grad_cam`.

    References:
        Fu et al. (2020), "Axiom-based Grad-CAM", arXiv:2008.02312.
    """
    reading = read(model, x, target=target, layer=layer, forward=forward)
    return attribution(reading, "xgrad_cam", _by_activation)


@unpadded
def finer_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """Finer-CAM: where the class differs from those that are nearest to it.

    Grad-CAM of y_c - 0.6 mean(y_d), d the three classes whose logits are closest to that of c for
    this sample, or as many as there are. `.logit` is that difference. Arguments as in `grad_cam`;
    the target is no callable.

    Raises:
        OptionError: the model has one class only, or the target is a callable.

    References:
        Zhang et al. (2025), "Finer-CAM", arXiv:2501.11309.
    """
    if callable(target):
        raise OptionError("target (a callable): finer_cam compares classes; give a class index.")
    reading = read(model, x, target=target, layer=layer, forward=forward, contrast=_contrast)
    return attribution(reading, "finer_cam", _averaged)


def _contrast(logits: Tensor, goal: Goal) -> Tensor:
    rivals = logits.shape[1] - 1
    if rivals < 1:
        raise OptionError(
            "finer_cam compares the class with others, and the model has one class; use grad_cam."
        )
    chosen = goal(logits)
    distance = (logits.detach().float() - chosen.detach().float().unsqueeze(1)).abs()
    distance[range(len(logits)), goal.classes] = torch.inf
    nearest = distance.argsort(dim=1, stable=True)[:, : min(3, rivals)]
    return chosen - 0.6 * logits.gather(1, nearest).mean(1)


def _averaged(activation: Tensor, gradient: Tensor) -> Tensor:
    return _weighted(activation, gradient.mean(_positions(gradient), keepdim=True))


def _of_higher_order(activation: Tensor, gradient: Tensor) -> Tensor:
    axes = _positions(activation)
    total = activation.sum(axes, keepdim=True)
    # G^2 divided out, which would be 0 for small gradients in float32
    below = 2 + gradient * total
    share = torch.where((gradient != 0) & (below != 0), 1 / below, 0)
    return _weighted(activation, (share * gradient.relu()).sum(axes, keepdim=True))


def _by_activation(activation: Tensor, gradient: Tensor) -> Tensor:
    axes = _positions(activation)
    total = activation.sum(axes, keepdim=True)
    weights = torch.where(total != 0, (gradient * activation).sum(axes, keepdim=True) / total, 0)
    return _weighted(activation, weights)


def _weighted(activation: Tensor, weights: Tensor) -> Tensor:
    return (weights * activation).sum(1)


def _positions(maps: Tensor) -> tuple[int, ...]:
    return tuple(range(2, maps.ndim))


def _extents(reading: Reading) -> tuple[Extent, ...] | None:
    if reading.covered == reading.input_size:
        return None
    cells = tuple(reading.activation.shape[2:])
    alone = Extent(cells, reading.covered, reading.input_size)
    return (alone,) * len(reading.activation)


def attribution(
    reading: Reading, method: str, combine: Callable[[Tensor, Tensor], Tensor], **more: Any
) -> Attribution:
    """The result of a method that weights the maps of a layer with their gradient."""
    with torch.inference_mode(False), torch.no_grad():
        values = torch.zeros_like(reading.activation[:, 0])
        if reading.gradient is not None:
            values = combine(reading.activation, reading.gradient)
        values = values.float()
        status = describe(values, reading.gradient, reading.activation.shape[2:], reading.score)
    return Attribution(
        values=values,
        layer=reading.layer,
        target=reading.target,
        logit=reading.score.float(),
        status=status,
        input_size=reading.input_size,
        method=method,
        note=reading.note,
        extents=_extents(reading),
        **more,
    )
