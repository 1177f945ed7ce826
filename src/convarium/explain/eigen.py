"""Eigen-CAM: what varies most in the maps of a layer, whatever the class."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from convarium.explain.attribution import Attribution
from convarium.explain.cam import Layer, attribution
from convarium.explain.layers import find_layer
from convarium.explain.looking import Forward, Inputs, looking
from convarium.explain.padding import unpadded
from convarium.explain.replaying import Behind
from convarium.explain.targets import Target


@unpadded
def eigen_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
) -> Attribution:
    """Eigen-CAM: the maps on their first principal component, with a sign that means something.

    A as a matrix (positions, channels), each channel centred: the map is A v, with v the first
    right singular vector. A singular vector has no sign: here the map correlates with sum_k |A_k|,
    so that high values are where the layer answers. The class does not enter; `.target` and
    `.logit` say what was predicted or asked for. Arguments as in `grad_cam`.

    References:
        Muhammad and Yeasin (2020), "Eigen-CAM", arXiv:2008.00299.
    """
    with looking(model, x, forward) as look, torch.no_grad():
        behind = Behind(look, find_layer(look, layer, target), target)
        reading = behind.reading()
        answers = reading.activation if behind.connected else None
        return attribution(
            replace(reading, gradient=answers), "eigen_cam", lambda a, _: principal(a)
        )


def principal(maps: Tensor) -> Tensor:
    """(B, C, *S) on the first right singular vector of the centred matrix: (B, *S)."""
    table = maps.flatten(2).mT.double()  # a bad value stays in its sample
    finite = table.isfinite().flatten(1).all(1)
    centred = torch.where(finite[:, None, None], table, 0)
    centred = centred - centred.mean(1, keepdim=True)
    _, _, vectors = torch.linalg.svd(centred, full_matrices=False)
    found = (centred @ vectors[:, :1].mT).squeeze(2)
    answers = table.abs().sum(2)
    agreement = (found * (answers - answers.mean(1, keepdim=True))).sum(1, keepdim=True)
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    sign = torch.where(agreement != 0, agreement, largest).sign()
    found = torch.where(finite[:, None], found * sign, torch.nan)
    return found.reshape(maps.shape[0], *maps.shape[2:]).to(maps.dtype)
