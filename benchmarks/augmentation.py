"""Our operations of augmentation against kornia's, on the same pictures with the same strengths.

    python benchmarks/augmentation.py

kornia is used by its functions on float pictures, which is what it takes; the conversion from the
8-bit batch and back is part of its time, as it is part of a loader's work. Each operation is timed
in turns with its counterpart, on a batch of 128 pictures of 32 pixels and on one of 16 of 224; the
figure is the median of ours / kornia's. Where it is above 1.25, kornia would be used.

A second table says what share of a training step (ResNet-18 for 32 pixels, batch 128, forward,
backward and SGD) each part of a batch's augmentation takes, in one thread beside it.

kornia is no dependency; for this file alone: pip install --no-deps kornia==0.9.0 kornia_rs==0.2.0
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import harness
from convarium import models
from convarium.data import Augmentation, Preprocessing
from convarium.data.augment import colour, crops, geometry
from convarium.data.augment.erasing import erase
from convarium.data.augment.mixing import MixDraw, mix
from convarium.data.augment.stream import Stream
from convarium.data.pictures import resized_box

LIMIT = 1.25
SHAPES = ((128, 3, 32, 32), (16, 3, 224, 224))
Calls = Mapping[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]


def through_floats(pixels: Tensor, operation: Callable[..., Tensor], *values: object) -> Tensor:
    """Apply kornia's operation to the pictures in [0, 1] and round back to 8 bits."""
    found = operation(pixels.float().div_(255), *values)
    return found.mul(255).add_(0.5).clamp_(0, 255).to(torch.uint8)


def pairs(pixels: Tensor, kornia: object) -> Calls:
    """Ours and kornia's call of each operation."""
    return {**moving(pixels, kornia), **colouring(pixels, kornia)}


def moving(pixels: Tensor, kornia: object) -> Calls:
    """Flips, crops and affine maps."""
    n, _, height, width = pixels.shape
    stream = Stream(np.arange(n), 0, 0)
    transform = kornia.geometry.transform
    degrees = stream.between(-15, 15, "degrees")
    shears = stream.between(-0.3, 0.3, "shear")
    chosen = stream.chance(0.5, "flip")
    pad = 4
    starts = [crops.places(stream.uniform(word), pad) for word in ("top", "left")]
    maps = torch.from_numpy(np.stack([shears, np.zeros(n)], axis=1)).float()

    def kornia_flip() -> Tensor:
        mask = torch.from_numpy(chosen)[:, None, None, None]
        return torch.where(mask, transform.hflip(pixels), pixels)

    def kornia_crop() -> Tensor:
        top, left = (torch.from_numpy(start) for start in starts)
        x, y = torch.stack([left, left + width - 1]), torch.stack([top, top + height - 1])
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        boxes = torch.stack([torch.stack(corner, dim=1) for corner in corners], dim=1)
        return transform.crop_by_indices(F.pad(pixels, (pad,) * 4), boxes)

    return {
        "flip": (lambda: torch.from_numpy(crops.flip(pixels.numpy(), chosen, 3)), kornia_flip),
        "padded crop": (
            lambda: torch.from_numpy(crops.padded_crop(pixels.numpy(), (pad, pad), starts)),
            kornia_crop,
        ),
        "rotation": (
            lambda: geometry.bilinear(pixels, geometry.rotate(degrees, height, width)),
            lambda: through_floats(pixels, transform.rotate, torch.from_numpy(degrees).float()),
        ),
        "shear": (
            lambda: geometry.nearest(pixels, geometry.shear_x(shears)),
            lambda: through_floats(pixels, transform.shear, maps, "nearest"),
        ),
        "resized crop": (
            lambda: our_resized_crop(pixels, stream),
            lambda: through_floats(pixels, kornia_resized_crop, stream, transform),
        ),
    }


def colouring(pixels: Tensor, kornia: object) -> Calls:
    """Operations on colours."""
    n = len(pixels)
    enhance = kornia.enhance
    factors = torch.from_numpy(Stream(np.arange(n), 0, 0).between(0.6, 1.4, "factor")).float()
    bits, thresholds = torch.full((n,), 5), torch.full((n,), 128)
    return {
        "brightness": (
            lambda: colour.brightness(pixels, factors),
            lambda: through_floats(pixels, enhance.adjust_brightness_accumulative, factors),
        ),
        "contrast": (
            lambda: colour.contrast(pixels, factors),
            lambda: through_floats(pixels, enhance.adjust_contrast_with_mean_subtraction, factors),
        ),
        "saturation": (
            lambda: colour.saturation(pixels, factors),
            lambda: through_floats(
                pixels, enhance.adjust_saturation_with_gray_subtraction, factors
            ),
        ),
        "jitter": (
            lambda: colour.jitter(pixels, factors, factors, factors, 0.25 * (factors - 1)),
            lambda: through_floats(pixels, kornia_jitter, factors, enhance),
        ),
        "grey": (
            lambda: colour.grey(pixels),
            lambda: through_floats(pixels, kornia_grey, kornia.color.rgb_to_grayscale),
        ),
        "sharpness": (
            lambda: colour.sharpness(pixels, factors),
            lambda: through_floats(pixels, enhance.sharpness, factors),
        ),
        "equalize": (
            lambda: colour.equalize(pixels),
            lambda: through_floats(pixels, enhance.equalize),
        ),
        "autocontrast": (
            lambda: colour.autocontrast(pixels),
            lambda: through_floats(pixels, enhance.normalize_min_max),
        ),
        "posterize": (
            lambda: colour.posterize(pixels, bits),
            lambda: through_floats(pixels, enhance.posterize, bits),
        ),
        "solarize": (
            lambda: colour.solarize(pixels, thresholds),
            lambda: through_floats(pixels, enhance.solarize, 0.5),
        ),
    }


def kornia_jitter(values: Tensor, factors: Tensor, enhance: object) -> Tensor:
    """The four settings in our order; kornia's hue is an angle."""
    values = enhance.adjust_brightness_accumulative(values, factors)
    values = enhance.adjust_contrast_with_mean_subtraction(values, factors)
    values = enhance.adjust_saturation_with_gray_subtraction(values, factors)
    return enhance.adjust_hue(values, 2 * math.pi * 0.25 * (factors - 1))


def kornia_grey(values: Tensor, rgb_to_grayscale: Callable[[Tensor], Tensor]) -> Tensor:
    """Grey in three channels."""
    return rgb_to_grayscale(values).expand(-1, 3, -1, -1).contiguous()


def our_resized_crop(pixels: Tensor, stream: Stream) -> Tensor:
    """Crops of .08 to 1 of the area, resized to the old size with antialiasing."""
    height, width = pixels.shape[2:]
    steps = Preprocessing((3, height, width), (0.5,) * 3, (0.5,) * 3)
    draws = crops.CropDraws(stream, 0.08)
    images = pixels.permute(0, 2, 3, 1).numpy()
    cut = [resized_box(images[k], draws.box(k, height, width), steps) for k in range(len(images))]
    return torch.from_numpy(np.stack(cut))


def kornia_resized_crop(values: Tensor, stream: Stream, transform: object) -> Tensor:
    """The same boxes; kornia resizes without antialiasing here."""
    height, width = values.shape[2:]
    draws = crops.CropDraws(stream, 0.08)
    boxes = []
    for k in range(len(values)):
        top, left, h, w = draws.box(k, height, width)
        right, low = left + w - 1, top + h - 1
        boxes.append([[left, top], [right, top], [right, low], [left, low]])
    return transform.crop_and_resize(values, torch.tensor(boxes).float(), (height, width))


def against_kornia(rounds: int) -> list[dict]:
    """A row an operation and shape."""
    import kornia

    rows = []
    for shape in SHAPES:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        for name, (ours, theirs) in pairs(pixels, kornia).items():
            times = harness.alternate({"ours": ours, "kornia": theirs}, rounds)
            each = [one / two for one, two in zip(times["ours"], times["kornia"], strict=True)]
            ratio = float(np.median(each))
            rows.append(
                {
                    "operation": name,
                    "batch": list(shape),
                    "n": rounds,
                    "ours_ms": 1e3 * float(np.median(times["ours"])),
                    "kornia_ms": 1e3 * float(np.median(times["kornia"])),
                    "ratio": ratio,
                    "lowest": min(each),
                    "highest": max(each),
                    "used": "ours" if ratio <= LIMIT else "kornia",
                }
            )
            print(f"{name:<14} {shape}: {rows[-1]['ours_ms']:8.2f} ms, ours / kornia {ratio:.3f}")
    return rows


def shares_of_a_step(rounds: int) -> list[dict]:
    """What each part of a batch's augmentation takes of a training step."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8, generator=generator)
    inputs = torch.randn(128, 3, 32, 32, generator=generator)
    stream, target = Stream(np.arange(128), 0, 0), torch.arange(128) % 10
    torch.manual_seed(0)
    model = models.create("resnet18", num_classes=10, stem="cifar").train()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        loss = nn.functional.cross_entropy(
            model(inputs.contiguous(memory_format=torch.channels_last)), target
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    calls: dict[str, Callable[[], object]] = {"step": step}
    for name, options in {
        "flip and padded crop": {"flip": True, "pad_crop": 4},
        "rotation": {"rotation": 15.0},
        "jitter and grey": {"jitter": 0.4, "grey": 0.1},
        "RandAugment": {"policy": "randaugment"},
        "TrivialAugment": {"policy": "trivialaugment"},
    }.items():
        calls[name] = changing(Augmentation(**options), pixels, stream)
    calls["erasing"] = lambda: erase(inputs, stream, 0.25)
    calls["mixup"] = lambda: mix(inputs, target, MixDraw(0.3, None))
    calls["CutMix"] = lambda: mix(inputs, target, MixDraw(0.75, ((4, 20), (0, 16))))
    times = harness.alternate(calls, rounds)
    rows = []
    for name, seconds in times.items():
        share = harness.ratio(seconds, times["step"])
        rows.append({"part": name, "ms": 1e3 * float(np.median(seconds)), "share": share})
        print(f"{name:<22} {rows[-1]['ms']:9.2f} ms, {share:.2%} of a step")
    return rows


def changing(augmentation: Augmentation, pixels: Tensor, stream: Stream) -> Callable[[], Tensor]:
    """The call that changes a batch."""
    return lambda: augmentation.change(pixels, stream)


def main() -> int:
    """Run both tables and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5, help="rounds of the second table")
    arguments = parser.parse_args()
    try:
        operations = against_kornia(arguments.rounds)
    except ImportError as error:
        raise SystemExit(
            f"{error}; for this benchmark: pip install --no-deps kornia==0.9.0 kornia_rs==0.2.0"
        ) from error
    shares = shares_of_a_step(arguments.steps)
    moved = next(row["share"] for row in shares if row["part"] == "flip and padded crop")
    holds = moved < 0.05 and all(row["used"] == "ours" for row in operations)
    result = {"limit": LIMIT, "operations": operations, "shares": shares, "holds": holds}
    harness.write("augmentation", result, ["numpy", "pillow", "kornia"])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
