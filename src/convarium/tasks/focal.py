"""The focal loss: cross-entropy in which samples that are already right count little.

FL(p_t) = -(1 - p_t)^gamma log(p_t), with p_t the probability of the truth. The factor alpha_t of
the paper is the weight of the class, which `Objective.class_weights` brings.

References:
    Lin et al. (2017), "Focal Loss for Dense Object Detection", arXiv:1708.02002, equations 4 and 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def softmax_focal(
    outputs: Tensor,
    target: Tensor,
    *,
    gamma: float,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """The focal loss of one class a sample, from outputs before the softmax.

    With smoothing e and weights w it is (1 - e) w_y FL_y + e / K sum_c w_c FL_c, which for gamma 0
    is torch's cross-entropy with smoothed labels and weights.

    Shape:
        outputs: float32 `(B, K)`. target: int64 `(B,)`. weight: `(K,)`. Returns: `(B,)`.
    """
    log_p = outputs.log_softmax(1)
    losses = _focal(log_p, -log_p.expm1(), gamma)
    if weight is not None:
        losses = losses * weight
    found = losses.gather(1, target[:, None])[:, 0]
    return found.lerp(losses.mean(1), label_smoothing) if label_smoothing else found


def sigmoid_focal(outputs: Tensor, target: Tensor, *, gamma: float) -> Tensor:
    """The focal loss of each label of each sample, from outputs before the sigmoid.

    A target t between 0 and 1 takes t of the loss of "yes" and 1 - t of that of "no".

    Shape:
        outputs: float32 `(B, K)`. target: float32 `(B, K)`. Returns: `(B, K)`.
    """
    from torch.nn.functional import logsigmoid

    yes = _focal(logsigmoid(outputs), (-outputs).sigmoid(), gamma)
    no = _focal(logsigmoid(-outputs), outputs.sigmoid(), gamma)
    return no.lerp(yes, target)


def _focal(log_p: Tensor, rest: Tensor, gamma: float) -> Tensor:
    """-rest^gamma log p; the smallest rest keeps the slope of gammas below 1 finite."""
    import torch

    if gamma == 0:
        return -log_p
    return -log_p * rest.clamp_min(torch.finfo(rest.dtype).tiny).pow(gamma)
