"""Scores of many changed inputs: a network that only answers, in batches, and stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain.attribution import Attribution
from convarium.explain.looking import Forward, Inputs, Look, looking
from convarium.explain.targets import Target, goal
from convarium.measure.arguments import whole

Output = Literal["probability", "score"]


class Probe:
    """Scores of the samples of a batch, and of changed versions of them, for a fixed target.

    Attributes:
        original: (B,) float32, the scores of the unchanged samples.
    """

    def __init__(self, look: Look, target: Target, output: Output, batch_size: int) -> None:
        self._forward, self._inputs = look.forward, look.inputs
        self._output, self._samples = output, look.samples
        self._rows = batch_size
        if callable(target):  # it sees whole batches, as for the heatmap
            self._rows = max(1, batch_size // self._samples) * self._samples
        self._places = torch.arange(self._samples, device=look.inputs[0].device)
        self.original = self._first_look(target)

    def scores(self, versions: int, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Scores of changed inputs, (versions, B).

        Args:
            versions: how many there are of each sample.
            change: from numbers of samples and of versions, (rows,) each, to inputs (rows, ...).
        """
        rows = torch.arange(versions * self._samples, device=self._places.device)
        scored = [self.original.new_empty(0)]
        for part in self._parts(rows):
            samples = part % self._samples
            changed = change(samples, part // self._samples)
            scored.append(self._value(self._run(changed, samples), samples))
        return torch.cat(scored).reshape(versions, self._samples)

    def of(self, x: Tensor) -> Tensor:
        """Scores of other first inputs, one a sample, (B,)."""
        return self.scores(1, lambda samples, _: x[samples])[0]

    def _first_look(self, target: Target) -> Tensor:
        """The scores of the samples as they are; settles the class of each."""
        parts = self._parts(self._places)
        outputs = [self._run(self._inputs[0][part], part) for part in parts]
        tensors = all(isinstance(output, Tensor) and output.ndim for output in outputs)
        output = torch.cat(outputs) if tensors else outputs[0]
        self._goal = goal(output, target, self._samples)
        classes = self._goal.classes
        self._classes = None if classes is None else self._places.new_tensor(classes)
        return self._value(output, self._places)

    def _parts(self, rows: Tensor) -> list[Tensor]:
        return [rows[low : low + self._rows] for low in range(0, len(rows), self._rows)]

    def _run(self, first: Tensor, samples: Tensor) -> Any:
        return self._forward(first, *(other[samples] for other in self._inputs[1:]))

    def _value(self, output: Any, samples: Tensor) -> Tensor:
        if self._classes is None:
            return self._goal(output).float()
        logits: Tensor = output.float()
        if self._output == "probability":  # a single output is a sigmoid's
            logits = logits.sigmoid() if logits.shape[1] == 1 else F.softmax(logits, 1)
        return logits.gather(1, self._classes[samples].unsqueeze(1)).squeeze(1)


@contextlib.contextmanager
def probing(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    *,
    target: Target,
    output: Output,
    forward: Forward | None,
    batch_size: int,
) -> Iterator[Probe]:
    """A probe of `model` in eval mode, under `inference_mode`; afterwards the model is as before.

    Without a target the one that `heat` explains is followed, if it says so.

    Raises:
        OptionError: an unknown output, a probability of a callable target, a batch size below 1,
            or no target for a heatmap of a callable one.
        ShapeError: the inputs do not fit the model.
    """
    followed = _followed(heat, target)
    if output not in ("probability", "score"):
        raise OptionError(f"output (={output!r}) must be 'probability' or 'score'.")
    if callable(followed) and output == "probability":
        raise OptionError(
            "output (='probability') is of classes, and target is a callable; pass output='score' "
            "for what the callable returns."
        )
    whole(1, batch_size=batch_size)
    with looking(model, x, forward) as look, torch.inference_mode():
        yield Probe(look, followed, output, batch_size)


def _followed(heat: Attribution | Tensor, target: Target) -> Target:
    if target is not None or not isinstance(heat, Attribution):
        return target
    if heat.target is None:
        raise OptionError("heat explains a callable target; pass the same callable as target.")
    return heat.target
