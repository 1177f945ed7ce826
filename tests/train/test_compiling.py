"""torch.compile in training: its errors in words, and the steps of the eager network."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from stopping import assert_goes_on_with_the_same_bits
from torch import nn

from convarium import train
from convarium.errors import ConvariumError
from convarium.train.compiling import compiler_explained

CONFIG = train.TrainConfig(epochs=1, batch_size=16, layout="channels_last", precision="fp32")


def broken(graph, inputs):
    raise ValueError("this backend is out of order")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_error_of_the_compiler_is_one_sentence():
    network = torch.compile(nn.Linear(2, 2), backend=broken)
    with (
        pytest.raises(ConvariumError, match=r"does not work here: .*out of order.*--compile off"),
        compiler_explained(),
    ):
        network(torch.zeros(1, 2))


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="another matter"), compiler_explained():
        raise RuntimeError("another matter")


def compiled_and_eager(network, parts, preprocessing, config):
    """Losses of the first epoch, and weights behind it, of both."""
    losses, weights = [], []
    for compile in ("on", "off"):
        model = network(dropout=0.0)
        config = dataclasses.replace(config, compile=compile)
        history = train.fit(model, parts, config, preprocessing=preprocessing)
        losses.append(history.rows[0]["train_loss"])
        weights.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]).cpu())
        assert "_orig_mod" not in "".join(model.state_dict())
    return losses, weights


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_takes_the_steps_of_an_eager_one(network, parts, preprocessing):
    losses, weights = compiled_and_eager(network, parts, preprocessing, CONFIG)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert torch.allclose(*weights, rtol=1e-2, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-3), ("bf16", 0.05)])
def test_a_compiled_run_on_a_gpu_takes_the_steps_of_an_eager_one(
    precision, near, network, parts, preprocessing
):
    config = dataclasses.replace(CONFIG, device="cuda", precision=precision)
    losses, weights = compiled_and_eager(network, parts, preprocessing, config)
    assert losses[0] == pytest.approx(losses[1], rel=near)
    assert torch.allclose(*weights, rtol=10 * near, atol=near)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_compiled_run_on_a_gpu_goes_on_with_the_same_bits(
    network, parts, preprocessing, tmp_path
):
    config = dataclasses.replace(CONFIG, epochs=2, device="cuda", compile="on", deterministic=True)
    assert_goes_on_with_the_same_bits(network, parts, config, preprocessing, tmp_path, at=5)
