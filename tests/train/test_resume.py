"""Resume: after any death, with any number of workers, and never over a run that exists."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from convarium import data, files, train
from convarium.errors import RunError
from convarium.train import TrainConfig

CONFIG = TrainConfig(
    epochs=2, batch_size=16, learning_rate=2e-3, pad_crop=1, ema=0.9, checkpoint_seconds=0.0
)


class Killed(BaseException):
    """Stands for a death at a chosen step."""


class KillAt:
    """An observer that ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, **_: int) -> None:
        pass

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            raise Killed

    def on_epoch(self, row: object) -> None:
        pass


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 3, 4, 5, 8])
def test_resume_after_a_death_ends_with_the_same_bits(
    parts, preprocessing, tmp_path, step, workers, network
):
    config = dataclasses.replace(CONFIG, workers=workers)
    train.fit(network(), parts, config, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            config,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(step)],
        )
    torch.manual_seed(99)  # what the process drew in between does not matter
    train.fit(
        network(), parts, config, preprocessing=preprocessing, out=tmp_path / "cut", resume=True
    )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    whole, cut = (files.read_jsonl(tmp_path / name / "history.jsonl") for name in ("whole", "cut"))
    for first, second in zip(whole, cut, strict=True):
        first.pop("seconds"), second.pop("seconds")
        assert first == second


def test_a_damaged_checkpoint_gives_way_to_the_one_before(parts, preprocessing, tmp_path, network):
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            CONFIG,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(4)],
        )
    latest = tmp_path / "cut" / (tmp_path / "cut" / "latest").read_text().strip()
    state = latest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-7] + b"garbage")
    with pytest.warns(UserWarning, match="damaged"):
        train.fit(
            network(),
            parts,
            CONFIG,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            resume=True,
        )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_refuses_other_settings_other_data_and_nothing(
    parts, preprocessing, tmp_path, network
):
    out = tmp_path / "run"
    with pytest.raises(RunError, match="no run"):
        train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out, resume=True)
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    other = dataclasses.replace(CONFIG, learning_rate=1e-4)
    with pytest.raises(RunError, match="learning_rate"):
        train.fit(network(), parts, other, preprocessing=preprocessing, out=out, resume=True)
    with np.load(tmp_path / "bars.npz") as arrays:
        np.savez(tmp_path / "other.npz", x=arrays["x"] // 2, y=arrays["y"])
    changed = data.split(data.open_dataset(tmp_path / "other.npz"), seed=0)
    with pytest.raises(RunError, match="data differs"):
        train.fit(network(), changed, CONFIG, preprocessing=preprocessing, out=out, resume=True)


def test_an_existing_run_is_never_touched(parts, preprocessing, tmp_path, network):
    out = tmp_path / "run"
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="already exists"):
        train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("harm", ["none", "no checkpoints", "damaged latest"])
def test_a_finished_run_is_only_loaded_by_resume(parts, preprocessing, tmp_path, harm, network):
    out = tmp_path / "run"
    first = train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out)
    if harm == "no checkpoints":
        for path in out.glob("checkpoint-*"):
            shutil.rmtree(path)
    if harm == "damaged latest":
        name = (out / "latest").read_text().strip()
        (out / name / "state.safetensors").write_bytes(b"")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    model = network()
    again = train.fit(model, parts, CONFIG, preprocessing=preprocessing, out=out, resume=True)
    assert again == first
    assert same(dict(model.state_dict()), weights(out))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_free_options_may_change_on_resume(parts, preprocessing, tmp_path, network):
    train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            CONFIG,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(3)],
        )
    other = dataclasses.replace(CONFIG, workers=2, checkpoint_seconds=60.0)
    train.fit(
        network(), parts, other, preprocessing=preprocessing, out=tmp_path / "cut", resume=True
    )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_before_the_first_step_does_not_depend_on_the_callers_weights(
    parts, preprocessing, tmp_path, network
):
    config = dataclasses.replace(CONFIG, checkpoint_seconds=60.0)
    train.fit(network(), parts, config, preprocessing=preprocessing, out=tmp_path / "whole")
    with pytest.raises(Killed):
        train.fit(
            network(),
            parts,
            config,
            preprocessing=preprocessing,
            out=tmp_path / "cut",
            observers=[KillAt(1)],
        )
    other = network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    train.fit(other, parts, config, preprocessing=preprocessing, out=tmp_path / "cut", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_two_trainings_in_one_folder_are_refused(parts, preprocessing, tmp_path, network):
    refused = []

    class Second:
        def on_start(self, **_):
            for resume in (True, False):
                with pytest.raises(RunError, match=r"Another process|already exists") as caught:
                    train.fit(
                        network(),
                        parts,
                        CONFIG,
                        preprocessing=preprocessing,
                        out=tmp_path / "run",
                        resume=resume,
                    )
                refused.append(str(caught.value))

        def on_step(self, step, loss):
            pass

        def on_epoch(self, row):
            pass

    train.fit(
        network(),
        parts,
        CONFIG,
        preprocessing=preprocessing,
        out=tmp_path / "run",
        observers=[Second()],
    )
    assert len(refused) == 2
    assert "Another process" in refused[0]
