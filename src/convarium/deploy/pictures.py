"""Resizing and cropping inside OpenVINO's files: whole pictures of one size in.

uint8 (N, H, W, C) -> resize as Pillow has it -> crop -> the pixels that `PixelInput` takes

OpenVINO's Pillow modes compute in floats what Pillow computes in integers: a value of 255 may come
out one apart where the exact result is half-way. That is checked, and counted.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from convarium.data import Preprocessing
from convarium.data.resizing import LONGEST, covering
from convarium.deploy.artefact import openvino_core, runtime_package
from convarium.errors import OptionError, VerificationError

#: Values that may be one apart, as a share.
_APART: Final = 0.1


class Front:
    """The steps from pictures of one size to pixels, in the graph of OpenVINO.

    Args:
        preprocessing: of images.
        pictures: uint8, (N, H, W, C), C as the network takes it.

    Raises:
        OptionError: no such pictures, or steps that are not replayed here.
    """

    def __init__(self, preprocessing: Preprocessing, pictures: Tensor) -> None:
        self.preprocessing = preprocessing
        if preprocessing.kind != "images":
            raise OptionError(f"pixels (='pictures') are for images, not {preprocessing.kind}.")
        channels, height, width = preprocessing.input_shape
        fits = pictures.dtype == torch.uint8 and pictures.ndim == 4
        if not fits or pictures.shape[3] != channels or not len(pictures):
            raise OptionError(
                f"samples (of shape {tuple(pictures.shape)}, {pictures.dtype}) must be pictures, "
                f"uint8 (N, H, W, {channels}), where pixels is 'pictures'."
            )
        self.shape = tuple(pictures.shape[1:])
        tall, wide = self.shape[:2]
        longest = LONGEST * min(tall, wide) * max(height, width) // min(height, width)
        if max(tall, wide) > longest:
            raise OptionError(f"Pictures of {tall} x {wide} are too thin for a file; crop them.")
        short = preprocessing.resize
        self.size = covering(tall, wide, *((short, short) if short else (height, width)))
        if short is None and (tall, wide) == (height, width):
            self.size = height, width
        spare = self.size[0] - height, self.size[1] - width
        self.begin = [round(n / 2) if short else math.floor(n / 2) for n in spare]
        self.end = [self.begin[0] + height, self.begin[1] + width]
        self.different = 0.0  # share of values that are one apart, once they were looked at

    def before(self, model: Any) -> Any:
        """A model of OpenVINO's that takes pixels, behind the steps from pictures to them."""
        openvino = runtime_package("openvino")
        steps = openvino.preprocess
        modes = steps.ResizeAlgorithm
        pillow = {
            "bilinear": modes.RESIZE_BILINEAR_PILLOW,
            "bicubic": modes.RESIZE_BICUBIC_PILLOW,
        }
        prepared = steps.PrePostProcessor(model)
        own = prepared.input()
        own.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        own.tensor().set_shape([-1, *self.shape])
        kind = pillow[self.preprocessing.interpolation]
        own.preprocess().resize(kind, *self.size)
        ends = zip((0, *self.begin, 0), (-1, *self.end, self.shape[2]), strict=True)
        begin, end = (list(each) for each in zip(*ends, strict=True))
        own.preprocess().crop(begin, [2**31 - 1 if n < 0 else n for n in end])
        own.model().set_layout(openvino.Layout("NHWC"))
        return prepared.build()

    def pixels(self, pictures: Tensor) -> Tensor:
        """The pixels that the runtime makes of pictures, as the network's file gets them.

        Raises:
            VerificationError: they are not those of the preprocessing.

        Shape:
            uint8 (N, H, W, C) -> (N, h, w, C)
        """
        openvino = runtime_package("openvino")
        channels, height, width = self.preprocessing.input_shape
        given = openvino.opset13.parameter([-1, height, width, channels], openvino.Type.u8)
        plain = openvino.Model([openvino.opset13.result(given)], [given])
        run = openvino_core().compile_model(self.before(plain), "CPU")
        found = torch.from_numpy(run([pictures.numpy()])[0].copy())
        expected = torch.stack([self.preprocessing.apply(each.numpy()) for each in pictures])
        apart = (found.int() - expected.movedim(1, -1).int()).abs()
        self.different = float((apart > 0).float().mean())
        if int(apart.max()) > 1 or self.different > _APART:
            raise VerificationError(
                f"OpenVINO does not resize as the preprocessing does: pixels differ by up to "
                f"{int(apart.max())} of 255, and {self.different:.2%} of them at all."
            )
        return found
