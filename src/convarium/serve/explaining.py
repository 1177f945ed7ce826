"""Heatmaps for requests: values, or a picture of an image with its heat."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image
from torch import Tensor, nn

from convarium import explain, predict
from convarium.data import Preprocessing, TextPreprocessing
from convarium.errors import OptionError, did_you_mean
from convarium.explain.methods import attributed
from convarium.serve.refusals import RefusedError

#: Methods that take about as long as a pass and its gradient.
METHODS: Final = (
    *("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam"),
    *("finer_cam", "eigen_cam", "input_gradients"),
)
_DIGITS: Final = 6


class Explainer:
    """Explains single samples.

    Args:
        network: nobody else runs it.
        card: of the run.
    """

    def __init__(self, network: nn.Module, card: Mapping[str, Any]) -> None:
        self.network = network
        self.predictor = predict.Predictor(network, card)
        self.classes: Sequence[str] = card["classes"]

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps of the card."""
        return self.predictor.preprocessing

    def values(self, read: str | None, sample: Tensor, asked: Asked) -> dict[str, Any]:
        """Raw signed values at the layer's resolution, with what they are of.

        Of a sample that is shorter than the network reads they are those of its own positions.

        Args:
            read: the text before `apply`; None for samples of other kinds.
            sample: as `apply` gives it.
            asked: method, class and layer.
        """
        heat = self._heat(sample, asked)
        target = None if heat.target is None else self.classes[heat.target[0]]
        found = heat.values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        values = (found if heat.extents is None else heat.resized(found, heat.input_size))[0]
        told = {
            "target": target,
            "score": float(heat.logit[0].nan_to_num()),
            "method": heat.method,
            "layer": heat.layer,
            "status": heat.status[0],
            "note": heat.note,
            "input_size": list(heat.input_size),
            "values": np.asarray(values, np.float64).round(_DIGITS).tolist(),
        }
        if read is not None and isinstance(self.preprocessing, TextPreprocessing):
            spans = self.preprocessing.tokens.spans(read)[: self.preprocessing.longest]
            told["tokens"] = [read[start:end] for start, end in spans]
        return told

    def picture(self, sample: Tensor, asked: Asked) -> bytes:
        """A PNG of an image as the network sees it, with the heat over it.

        Raises:
            RefusedError: 406, the samples are no images.
        """
        if self.preprocessing.kind != "images":
            kind = self.preprocessing.kind
            raise RefusedError(
                406, "no_picture", f"Heat of {kind} is given as values, not as a PNG."
            )
        heat = self._heat(sample, asked)
        seen = sample.permute(1, 2, 0).numpy()
        drawn = heat.overlay(seen, sample=0, classes=self.classes)
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "PNG")
        return file.getvalue()

    def _heat(self, sample: Tensor, asked: Asked) -> explain.Attribution:
        pixels, _ = self.preprocessing.padded([sample])
        x = self.preprocessing.finish(pixels)
        layers = () if asked.layer is None else (asked.layer,)
        method = asked.method or (
            "grad_cam" if self.preprocessing.kind == "images" else "hires_cam"
        )
        target = self._target(asked.target)
        return attributed(self.network, x, method=method, target=target, layers=layers)

    def _target(self, name: str | None) -> int | None:
        if name is None:
            return None
        if name not in self.classes:
            near = did_you_mean(name, self.classes)
            raise OptionError(f"The run has no such class as target.{near}")
        return list(self.classes).index(name)


class Asked:
    """What a heatmap is asked for.

    Args:
        method: one of `METHODS`; None takes the one for the kind of samples.
        target: name of the class; None takes the predicted one.
        layer: dotted name; None takes the network's own choice.

    Raises:
        OptionError: no such method.
    """

    def __init__(
        self, method: str | None = None, target: str | None = None, layer: str | None = None
    ) -> None:
        named = None if method is None else method.replace("-", "_")
        if named is not None and named not in METHODS:
            near = did_you_mean(named, METHODS)
            raise OptionError(f"method must be one of {', '.join(METHODS)}.{near}")
        self.method, self.target, self.layer = named, target, layer
