"""Resume: after any death, with any number of workers, and never over a run that exists."""

from __future__ import annotations

import dataclasses
import shutil
import tomllib

import numpy as np
import pytest
import tomli_w
import torch
from dying import KillAt, Killed
from safetensors.torch import load_file

from convarium import data, files, models, train
from convarium.errors import RunError
from convarium.train import TrainConfig, training

CONFIG = TrainConfig(
    epochs=2, batch_size=16, learning_rate=2e-3, pad_crop=1, ema=0.9, checkpoint_seconds=0.0
)


@pytest.fixture
def fit(network, parts, preprocessing, tmp_path):
    """fit(NAME, **changes) trains a fresh network in the folder NAME."""

    def call(name, config=CONFIG, *, model=None, on=parts, **options):
        return train.fit(
            model if model is not None else network(),
            on,
            config,
            preprocessing=preprocessing,
            out=tmp_path / name,
            **options,
        )

    return call


@pytest.fixture
def die(fit):
    """die(NAME, step) trains in the folder NAME and dies after a step."""

    def call(name, step, config=CONFIG, **options):
        with pytest.raises(Killed):
            fit(name, config, observers=[KillAt(step)], **options)

    return call


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 3, 4, 5, 8])
def test_resume_after_a_death_ends_with_the_same_bits(fit, die, tmp_path, step, workers):
    config = dataclasses.replace(CONFIG, workers=workers)
    fit("whole", config)
    die("cut", step, config)
    torch.manual_seed(99)  # what the process drew in between does not matter
    fit("cut", config, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    whole, cut = (files.read_jsonl(tmp_path / name / "history.jsonl") for name in ("whole", "cut"))
    for first, second in zip(whole, cut, strict=True):
        first.pop("seconds"), second.pop("seconds")
        assert first == second


def test_a_resumed_run_says_again_who_is_in_which_part(fit, die, tmp_path):
    die("cut", 3)
    path = tmp_path / "cut" / "splits.parquet"
    before = path.read_bytes()
    path.unlink()
    fit("cut", resume=True)
    assert path.read_bytes() == before


def test_a_run_from_before_an_option_existed_goes_on_with_its_default(fit, die, tmp_path):
    fit("whole")
    die("cut", 3)
    path = tmp_path / "cut" / "config.toml"
    settings = tomllib.loads(path.read_text())
    for name in ("schedule", "accumulate", "nesterov", "balance", "loss", "policy", "erasing"):
        del settings["train"][name]
    path.write_text(tomli_w.dumps(settings))
    fit("cut", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    milestones = {"milestones": [2, 5]}  # without a schedule, as it once was
    assert TrainConfig.from_mapping(milestones).chosen_schedule == "step"


def test_the_rate_falls_at_milestones_in_a_resumed_run_too(fit, die, tmp_path):
    config = dataclasses.replace(CONFIG, warmup=0.0, milestones=(2, 5), gamma=0.5)
    fit("whole", config)
    die("cut", 3, config)
    fit("cut", config, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    rows = files.read_jsonl(tmp_path / "cut" / "history.jsonl")
    assert [row["lr"] for row in rows] == [1e-3, 5e-4]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(fit, die, tmp_path):
    fit("whole")
    die("cut", 4)
    harms = (
        ("state.safetensors", lambda content: content[:-7] + b"garbage"),
        ("state.json", lambda content: content.replace(b'"step": 3', b'"step": 6')),
        ("state.json", lambda content: b"[]"),
    )
    for k, (name, harm) in enumerate(harms):
        shutil.copytree(tmp_path / "cut", tmp_path / f"cut{k}")
        state = tmp_path / f"cut{k}" / "checkpoint-3" / name
        state.write_bytes(harm(state.read_bytes()))
        with pytest.warns(UserWarning, match="Went back to checkpoint-2; checkpoint-3: "):
            fit(f"cut{k}", resume=True)
        assert same(weights(tmp_path / "whole"), weights(tmp_path / f"cut{k}"))


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("checkpoint-3", r"Went back to checkpoint-2; checkpoint-3: it is not there\."),
        ("latest", r"latest is not there; went on from the newest checkpoint, checkpoint-3\."),
    ],
)
def test_a_lost_checkpoint_or_pointer_is_told(fit, die, tmp_path, lost, words):
    fit("whole")
    die("cut", 4)
    target = tmp_path / "cut" / lost
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.warns(UserWarning, match=words):
        fit("cut", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_refuses_other_settings_other_data_and_nothing(fit, tmp_path):
    with pytest.raises(RunError, match="no run"):
        fit("run", resume=True)
    fit("run")
    with pytest.raises(RunError, match="learning_rate"):
        fit("run", dataclasses.replace(CONFIG, learning_rate=1e-4), resume=True)
    with np.load(tmp_path / "bars.npz") as arrays:
        np.savez(tmp_path / "other.npz", x=arrays["x"] // 2, y=arrays["y"])
    changed = data.split(data.open_dataset(tmp_path / "other.npz"), seed=0)
    with pytest.raises(RunError, match="data differs"):
        fit("run", on=changed, resume=True)


def test_an_existing_run_is_never_touched(fit, tmp_path):
    fit("run")
    before = contents(tmp_path / "run")
    with pytest.raises(RunError, match="already exists"):
        fit("run")
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("harm", ["none", "no checkpoints", "damaged latest"])
def test_a_finished_run_is_only_loaded_by_resume(fit, tmp_path, harm, network):
    out = tmp_path / "run"
    first = fit("run")
    if harm == "no checkpoints":
        for path in out.glob("checkpoint-*"):
            shutil.rmtree(path)
    if harm == "damaged latest":
        name = (out / "latest").read_text().strip()
        (out / name / "state.safetensors").write_bytes(b"")
    before = contents(out)
    model = network()
    assert fit("run", model=model, resume=True) == first
    assert same(dict(model.state_dict()), weights(out))
    assert contents(out) == before


def test_free_options_may_change_on_resume(fit, die, tmp_path):
    fit("whole")
    die("cut", 3)
    fit("cut", dataclasses.replace(CONFIG, workers=2, checkpoint_seconds=60.0), resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_before_the_first_step_does_not_depend_on_the_callers_weights(
    fit, die, tmp_path, network
):
    config = dataclasses.replace(CONFIG, checkpoint_seconds=60.0)
    fit("whole", config)
    die("cut", 1, config)
    other = network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    fit("cut", config, model=other, resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_two_trainings_in_one_folder_are_refused(fit):
    refused = []

    class Second(KillAt):
        def on_start(self, **_):
            for resume in (True, False):
                with pytest.raises(RunError, match=r"Another process|already exists") as caught:
                    fit("run", resume=resume)
                refused.append(str(caught.value))

    fit("run", observers=[Second(step=-1)])
    assert len(refused) == 2
    assert "Another process" in refused[0]


def test_options_that_are_none_survive_a_resume(fit, tmp_path):
    def network():
        torch.manual_seed(0)
        return models.create("resnet8", in_channels=1, num_classes=3, widths=[4, 4, 4])

    assert None in network().config.values()
    first = fit("run", model=network())
    stored = train.read_settings(tmp_path / "run")["model"]
    assert stored == {"name": "resnet8", "options": network().config}
    assert fit("run", model=network(), resume=True) == first


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resume_refuses_another_frozen_part_and_goes_on_with_the_same(
    fit, die, tmp_path, optimizer
):
    config = dataclasses.replace(CONFIG, optimizer=optimizer, momentum=0.0)

    def network(frozen):
        torch.manual_seed(0)
        model = models.create("resnet8", in_channels=1, num_classes=3, widths=[4, 4, 4])
        if frozen:
            model.freeze("layer2")
        return model

    fit("whole", config, model=network(frozen=True))
    die("cut", 3, config, model=network(frozen=True))
    with pytest.raises(RunError, match="stem was frozen and is not"):
        fit("cut", config, model=network(frozen=False), resume=True)
    fit("cut", config, model=network(frozen=True), resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    die("free", 3, config, model=network(frozen=False))
    single = network(frozen=False)
    single.head.bias.requires_grad_(False)
    with pytest.raises(RunError, match=r"head\.bias was not frozen and is"):
        fit("free", config, model=single, resume=True)


def test_a_run_from_before_the_optimisers_memory_had_names_goes_on(fit, die, tmp_path, monkeypatch):
    fit("whole")

    def numbered(optimizer, model):
        order = [p for group in optimizer.param_groups for p in group["params"]]
        return {
            f"{number}.{name}": value
            for number, parameter in enumerate(order)
            for name, value in optimizer.state[parameter].items()
        }

    monkeypatch.setattr(training, "optimizer_tensors", numbered)
    die("cut", 3)
    monkeypatch.undo()
    path = tmp_path / "cut" / "config.toml"
    settings = tomllib.loads(path.read_text())
    del settings["frozen"]
    path.write_text(tomli_w.dumps(settings))
    fit("cut", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (lambda settings: settings["model"].pop("options"), "the model's name and options"),
        (lambda settings: settings["model"].pop("name"), "the model's name and options"),
        (lambda settings: settings.pop("split"), "lacks the table 'split'"),
    ],
)
def test_settings_that_lack_something_are_one_sentence(tmp_path, lost, told):
    names = ("data", "split", "preprocessing", "train", "environment")
    settings = {"model": {"name": "lenet5", "options": {}}} | {name: {} for name in names}
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(settings))
    assert train.read_settings(tmp_path)["model"] == {"name": "lenet5", "options": {}}
    lost(settings)
    path.write_text(tomli_w.dumps(settings))
    with pytest.raises(RunError, match=f"{told}; start a new run"):
        train.read_settings(tmp_path)
