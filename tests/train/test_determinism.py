"""Equal bits on request: torch's switches during a run, in its files, and afterwards."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dying import KillAt, Killed
from torch import nn

from convarium import files, train
from convarium.errors import ConvariumError, RunError
from convarium.train.determinism import switches

CONFIG = train.TrainConfig(epochs=2, batch_size=16, checkpoint_seconds=0.0, seed=3)
EQUAL = dataclasses.replace(CONFIG, deterministic=True)


class Watch:
    """The switches at each step."""

    def __init__(self) -> None:
        self.seen = []

    def on_start(self, **_):
        pass

    def on_step(self, step, loss):
        self.seen.append(switches())

    def on_epoch(self, row):
        pass


def test_the_switches_are_on_in_a_run_recorded_by_it_and_off_again(
    network, parts, preprocessing, tmp_path
):
    rest = {"preprocessing": preprocessing, "out": tmp_path / "run"}
    before, watch = switches(), Watch()
    with pytest.raises(Killed):
        train.fit(network(), parts, EQUAL, observers=[watch, KillAt(3)], **rest)
    assert switches() == before
    assert not before["deterministic"]
    assert [each["deterministic"] for each in watch.seen] == [True] * 3
    with pytest.raises(RunError, match="deterministic was True and is False"):
        train.fit(network(), parts, CONFIG, resume=True, **rest)
    train.fit(network(), parts, EQUAL, resume=True, **rest)
    card = files.read_json(tmp_path / "run" / "card.json")
    assert card["recipe"]["deterministic"] is True
    assert {name: card["library"][name] for name in before} == {**before, "deterministic": True}
    plain = network()
    train.fit(plain, parts, CONFIG, preprocessing=preprocessing)  # a processor has no others
    kept = files.read_tensors(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in plain.state_dict().items())


class Putting(nn.Module):
    """Computes by what torch has no such algorithm for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x):
        outputs = self.layer(x.flatten(1))
        return outputs.put(torch.tensor([0]), torch.zeros(1))


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_what_has_no_such_algorithm_is_one_sentence(parts, preprocessing, precision):
    config = dataclasses.replace(EQUAL, precision=precision)
    before = switches()
    with pytest.raises(ConvariumError, match=r"deterministic \(=True\) cannot be: put_? gives"):
        train.fit(Putting(), parts, config, preprocessing=preprocessing)
    assert switches() == before
    assert train.fit(Putting(), parts, CONFIG, preprocessing=preprocessing).rows


def test_other_switches_are_another_environment(network, parts, preprocessing, tmp_path):
    rest = {"preprocessing": preprocessing, "out": tmp_path / "run"}
    with pytest.raises(Killed):
        train.fit(network(), parts, CONFIG, observers=[KillAt(3)], **rest)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with pytest.warns(UserWarning, match="matmul_precision highest -> high"):
            train.fit(network(), parts, CONFIG, resume=True, **rest)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_two_runs_on_a_gpu_have_the_same_bits(network, parts, preprocessing):
    config = dataclasses.replace(EQUAL, device="cuda", precision="bf16", compile="off")
    first, second = network(norm="batch"), network(norm="batch")
    for model in (first, second):
        train.fit(model, parts, config, preprocessing=preprocessing)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
