"""How closely our network must agree with the published one: the bounds of published/README.md."""

import pytest
import torch

SUMS = (
    "gradient_norm_of_mean_logit",
    "running_mean_abs_sum_after",
    "running_var_abs_sum_after",
)


def differing_in_evaluation(ours, truth):
    """The values that differ: parameters, and logits by more than 1e-9 of their deviation."""
    std, mean = tensor(truth["logits_std"]), tensor(truth["logits_mean"])
    close = {
        "parameters": ours["parameters"] == truth["parameters"],
        "mean": ((tensor(ours["logits_mean"]) - mean).abs() <= 1e-9 * std).all(),
    }
    return [key for key, good in close.items() if not good] + logits(ours, truth, "logits", 1e-9)


def differing_in_training(ours, truth):
    """The values that differ by more than 1e-6: logits, gradients and running statistics."""
    sums = [key for key in SUMS if ours[key] != pytest.approx(truth[key], rel=1e-6)]
    return logits(ours, truth, "train_logits", 1e-6) + sums


def logits(ours, truth, kind, tolerance):
    """The values of two samples that differ by more than a share of their deviation."""
    first, std = tensor(truth[f"{kind}_first8"]), tensor(truth[f"{kind}_std"])
    apart = (tensor(ours[f"{kind}_first8"]) - first).abs().amax(1)
    close = {
        f"{kind}_first8": first.shape == (2, 8) and (apart <= tolerance * std).all(),
        f"{kind}_std": torch.allclose(tensor(ours[f"{kind}_std"]), std, rtol=tolerance, atol=0),
    }
    return [key for key, good in close.items() if not good]


def tensor(values):
    """Numbers in float64, as they were written."""
    return torch.tensor(values, dtype=torch.float64)
