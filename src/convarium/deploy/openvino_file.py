"""Write a network as OpenVINO's IR: `net.xml` and its weights `net.bin`, by way of ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convarium.deploy.artefact import runtime_package, unreported
from convarium.deploy.onnx_file import card_text, silent, write_onnx
from convarium.deploy.pictures import Front

#: Where the card stands in the file's runtime information.
CARD_PLACE = ["convarium", "card"]


def write_openvino(
    network: nn.Module,
    path: Path,
    samples: Tensor,
    *,
    opset: int,
    card: Mapping[str, Any] | None,
    free: Sequence[int],
    front: Front | None = None,
) -> None:
    """Write `network`, which is in eval mode, to `path` and beside it its weights, in float32.

    Raises:
        OptionError: the operator set or the card cannot be written, or the weights are too large.
        MissingExtraError: a package of the extra "openvino" is not installed.
        ConvariumError: the network has an operation that ONNX does not have.
    """
    openvino = runtime_package("openvino")
    text = None if card is None else card_text(card)
    middle = path.with_suffix(".onnx")
    write_onnx(network, middle, samples, opset=opset, card=None, free=free)
    with unreported(), silent():  # activations become one operation each, as NNCF knows them
        model = openvino.convert_model(str(middle))
    if front is not None:
        model = front.before(model)
    save(model, path, text)
    middle.unlink()


def save(model: Any, path: Path, card: str | None) -> None:
    """Write a model of OpenVINO's with its card, its weights as they are."""
    if card is not None:
        model.set_rt_info(card, CARD_PLACE)
    runtime_package("openvino").save_model(model, str(path), compress_to_fp16=False)
