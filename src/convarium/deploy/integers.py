"""Write 8-bit files: ONNX Runtime's static quantisation and NNCF for OpenVINO, with layers kept.

A layer is found in the file by its weights, whatever the file calls it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from convarium.deploy.artefact import openvino_core, runtime_package, unreported
from convarium.deploy.channels_first import channels_first
from convarium.deploy.onnx_file import silent
from convarium.deploy.openvino_file import save
from convarium.errors import import_extra

_BATCH: Final = 8
_ONNX_LAYERS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_OPENVINO_LAYERS: Final = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)

Mark = tuple[int, float]


def quantise_onnx(source: Path, target: Path, calibration: Tensor, kept: Sequence[Tensor]) -> None:
    """Write the 8-bit form of an ONNX file: pairs of quantise and dequantise around each layer.

    Args:
        source: the float file.
        target: to write.
        calibration: inputs as the file takes them, over which the ranges of values are taken.
        kept: weights of the layers that stay as they are.

    Raises:
        MissingExtraError: a package of the extra "onnx" is not installed.
    """
    runtime_package("onnxruntime")
    tools = import_extra("onnxruntime.quantization", "onnx")
    onnx = import_extra("onnx", "onnx")
    model = onnx.load(str(source))
    marks = _marks(kept)
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    excluded = [
        node.name
        for node in model.graph.node
        if node.op_type in _ONNX_LAYERS
        and any(_mark(tensors[name]) in marks for name in node.input if name in tensors)
    ]
    name = model.graph.input[0].name

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left = _batches(calibration)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.left, None)
            return None if batch is None else {name: batch}

    with silent():
        tools.quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=excluded,
            # what feeds a layer that is kept, such as a sum, would else be rounded all the same, as
            # would what a layer gives before its ReLU, in steps of a larger range than behind it
            op_types_to_quantize=[*_ONNX_LAYERS] if excluded else None,
            extra_options={"OpTypesToExcludeOutputQuantization": [*_ONNX_LAYERS]}
            if excluded
            else None,
        )


def quantise_openvino(
    source: Path, target: Path, calibration: Tensor, kept: Sequence[Tensor], card: str | None
) -> None:
    """Write the 8-bit form of an IR by NNCF, with linear layers on channels as convolutions.

    Args:
        source: the float file.
        target: to write, its weights beside it.
        calibration: inputs as the file takes them.
        kept: weights of the layers that stay as they are.
        card: is embedded.

    Raises:
        MissingExtraError: a package of the extra "quantise" is not installed.
    """
    core = openvino_core()
    with unreported(), silent():
        nncf = import_extra("nncf", "quantise")
    model, marks = channels_first(core.read_model(str(source))), _marks(kept)
    names = [
        operation.get_friendly_name()
        for operation in model.get_ordered_ops()
        if operation.get_type_name() in _OPENVINO_LAYERS and _constant(operation) in marks
    ]
    samples = [batch for part in _batches(calibration) for batch in np.split(part, len(part))]
    with silent():
        quantised = nncf.quantize(
            model,
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(names=names) if names else None,
        )
    save(quantised, target, card)


def _batches(calibration: Tensor) -> Iterator[Any]:
    for batch in torch.split(calibration.detach().cpu(), _BATCH):
        yield batch.contiguous().numpy()


def _marks(weights: Sequence[Tensor]) -> set[Mark]:
    return {_mark(weight.detach().cpu().numpy()) for weight in weights}


def _mark(values: Any) -> Mark:
    """By which weights are known again, also turned and in another shape."""
    total = float(np.abs(values.astype(np.float64)).sum())
    digits = 5 - math.ceil(math.log10(total)) if total > 0 else 0
    return int(values.size), round(total, digits)


def _constant(operation: Any) -> Mark | None:
    """The mark of the weights that an operation of OpenVINO's multiplies with."""
    node = operation.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        if not node.get_input_size():
            return None
        node = node.input_value(0).get_node()
    return _mark(np.asarray(node.get_data()))
