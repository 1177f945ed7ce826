"""Tuning: only what is right counts, the fastest of it is chosen, kept, and used again."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convarium import deploy
from convarium.data import Preprocessing, read_image
from convarium.deploy import forms, picture_files, tuning
from convarium.errors import ConvariumError, OptionError, VerificationError
from convarium.report.pareto import draw_tuning

SAMPLES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
QUICK = ["eager", "folded", "onnx", "openvino"]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_ALONE", 0.02)
    monkeypatch.setattr(tuning, "_TURNS", 0.05)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 3),
    ).eval()


def own_answers(model: nn.Module, n: int = 1500) -> list[tuple[Tensor, Tensor]]:
    """Samples labelled by the network itself, where it is sure: a form that holds agrees."""
    x = torch.randn(2 * n, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = model(x)
    sure = y.topk(2, 1).values.diff(dim=1).abs().flatten().argsort(descending=True)[:n]
    return [(x[sure], y[sure].argmax(1))]


def test_every_form_that_counts_is_right_and_the_fastest_is_chosen(tmp_path: Path) -> None:
    model = network()
    found = deploy.tune(
        model,
        tmp_path,
        samples=SAMPLES,
        calibration=SAMPLES,
        labelled=own_answers(model),
        engines=QUICK,
    )
    counted = {(row.form.engine, row.form.precision) for row in found.rows}
    assert {(engine, "fp32") for engine in QUICK} | {("onnx", "int8")} <= counted
    assert all(row.difference <= 1e-4 for row in found.rows if row.form.precision == "fp32")
    assert all(row.drop and row.drop.shown for row in found.rows if row.form.precision != "fp32")
    assert found.chosen.ms == min(row.ms for row in found.rows[:4])
    assert (found.speedup is not None and found.speedup >= 1) or found.chosen.form.engine != "eager"
    assert json.loads(json.dumps(found.to_json()))["goal"] == "latency"
    assert found.chosen.form.label in found.sentence()
    assert draw_tuning(found).count("<circle") >= len(found.rows)
    assert ">100." not in draw_tuning(found)  # no share is over 100 %


def test_the_choice_is_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    first = deploy.tune(model, tmp_path, samples=SAMPLES, engines=["onnx"])
    assert not first.kept
    assert "labelled data" in str(first.skipped)

    def never(*args: object) -> None:
        raise ConvariumError("nothing is measured again")

    monkeypatch.setattr(forms.Maker, "make", never)
    again = deploy.tune(model, tmp_path, samples=SAMPLES, engines=["onnx"])
    assert again.kept
    assert again.rows == first.rows
    with pytest.raises(OptionError, match="nothing is measured again"):
        deploy.tune(model, tmp_path, samples=SAMPLES, engines=["onnx"], fresh=True)
    with pytest.raises(OptionError, match="nothing is measured again"):
        deploy.tune(network(1), tmp_path, samples=SAMPLES, engines=["onnx"])

    used = deploy.in_use(model, tmp_path)
    assert used is not None
    assert used[1] == first.chosen.form.label
    for n in (1, 3):
        torch.testing.assert_close(used[0](SAMPLES[:n]), model(SAMPLES[:n]), rtol=0, atol=1e-5)
    assert deploy.in_use(network(1), tmp_path) is None
    assert deploy.in_use(model, tmp_path / "none") is None
    with open(tmp_path / "model.onnx", "ab") as file:
        file.write(b"0")
    assert deploy.in_use(model, tmp_path) is None


@pytest.mark.parametrize("engine", ["eager", "folded"])
def test_a_form_of_torchs_is_made_anew(engine: str, tmp_path: Path) -> None:
    model = network()
    deploy.tune(model, tmp_path, samples=SAMPLES, engines=[engine], threads=[1])
    used = deploy.in_use(model, tmp_path)
    assert used is not None
    assert used[1] == f"{engine} fp32, 1 thread"
    before = torch.get_num_threads()
    torch.testing.assert_close(used[0](SAMPLES), model(SAMPLES), rtol=0, atol=1e-5)
    assert torch.get_num_threads() == before


def test_a_form_that_is_wrong_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = forms.Maker.make

    def wrong(self: forms.Maker, form: forms.Form, batch_size: int | None) -> forms.Forward:
        forward = make(self, form, batch_size)
        return (lambda x: forward(x) + 0.01) if form.engine == "folded" else forward

    monkeypatch.setattr(forms.Maker, "make", wrong)
    found = deploy.tune(network(), tmp_path, samples=SAMPLES, engines=["eager", "folded"])
    assert {row.form.engine for row in found.rows} == {"eager"}
    assert any("it differs by" in reason for reason in found.skipped.values())


def test_what_is_missing_or_late_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    found = deploy.tune(network(), tmp_path, samples=SAMPLES, engines=["eager", "onnx"])
    assert any("pip install 'convarium[onnx]'" in reason for reason in found.skipped.values())
    late = deploy.tune(
        network(), tmp_path, samples=SAMPLES, engines=["eager", "folded"], seconds=1e-9, fresh=True
    )
    assert {row.form.engine for row in late.rows} == {"eager"}
    assert "time limit" in str(late.skipped)
    whole = deploy.tune(network(), tmp_path, samples=SAMPLES, engines=["eager", "folded"])
    assert not whole.kept  # what a limit cut short is no answer to who has more time
    assert {row.form.engine for row in whole.rows} == {"eager", "folded"}


def test_a_kept_result_is_in_use_again(tmp_path: Path) -> None:
    model = network()
    goals = {"latency": ["folded"], "throughput": ["onnx"]}
    for goal in ("latency", "throughput", "latency"):
        found = deploy.tune(model, tmp_path, samples=SAMPLES, goal=goal, engines=goals[goal])
        used = deploy.in_use(model, tmp_path)
        assert used is not None
        assert used[1] == found.chosen.form.label
    assert found.kept


def test_what_is_in_use_is_what_was_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes, real = network(), [], forms.opened

    def watched(folder: Path, form: forms.Form, batch_size: int | None) -> forms.Forward:
        sizes.append(batch_size)
        return real(folder, form, batch_size)

    deploy.tune(model, tmp_path, samples=SAMPLES, engines=["openvino"], batch_size=3)
    monkeypatch.setattr(forms, "opened", watched)
    used = deploy.in_use(model, tmp_path)
    assert used is not None
    for n in (3, 3, 4, 1):
        with torch.no_grad():
            torch.testing.assert_close(used[0](SAMPLES[:n]), model(SAMPLES[:n]), rtol=0, atol=1e-5)
        assert sizes == ([3] if n == 3 else [3, None])


def test_threads_make_the_form_of_other_sizes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int | None] = []

    def slow(folder: Path, form: forms.Form, batch_size: int | None) -> forms.Forward:
        sizes.append(batch_size)
        time.sleep(0.05)
        return lambda x: x

    monkeypatch.setattr(forms, "opened", slow)
    made = forms.InFile(tmp_path, forms.Form("onnx", "fp32", 1), 3)
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(made, [SAMPLES] * 4)]
    assert all(torch.equal(each, SAMPLES) for each in found)
    assert sizes == [3, None]


def test_torch_compiles_for_the_batch_that_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def seen(self: forms.InTorch, made: nn.Module, x: Tensor) -> None:
        shapes.append(tuple(x.shape))

    monkeypatch.setattr(forms.InTorch, "_compile", seen)
    model = network()
    deploy.tune(model, tmp_path, samples=SAMPLES, engines=["compiled"], batch_size=3)
    assert deploy.in_use(model, tmp_path) is not None
    assert set(shapes) == {(3, 3, 12, 12)}


def jpegs(n: int) -> list[bytes]:
    """Photographs of noise."""
    random, found = np.random.default_rng(0), []
    for _ in range(n):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(file, "JPEG")
        found.append(file.getvalue())
    return found


@pytest.mark.usefixtures("one_thread")
def test_from_end_to_end_decoding_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, steps = network(), Preprocessing((3, 12, 12), (0.4,) * 3, (0.2,) * 3)
    pictures = deploy.PictureFiles(jpegs(5), steps)
    (first, second) = pictures.batches(4, 2)
    expected = [steps.finish(steps.apply(read_image(each))[None])[0] for each in pictures.files]
    assert torch.equal(first, torch.stack(expected[:4]))
    assert torch.equal(second, torch.stack([expected[k] for k in (4, 0, 1, 2)]))

    def slow(source: bytes, at_least: Any = None) -> Any:
        time.sleep(0.01)
        return read_image(source, at_least=at_least)

    monkeypatch.setattr(picture_files, "read_image", slow)
    given = {"samples": SAMPLES, "engines": ["eager", "folded"], "threads": [1], "batch_size": 4}
    found = deploy.tune(model, tmp_path, goal="end_to_end", pictures=pictures, **given)
    assert all(row.ms >= 40 for row in found.rows)  # four pictures at 10 ms, one after another
    assert "from the bytes of their files" in found.sentence()
    again = deploy.tune(model, tmp_path, goal="end_to_end", pictures=pictures, **given)
    assert again.kept
    other = deploy.PictureFiles(jpegs(6), steps)
    assert not deploy.tune(model, tmp_path, goal="end_to_end", pictures=other, **given).kept
    for bad in ({"goal": "end_to_end"}, {"pictures": pictures}):
        with pytest.raises(OptionError, match="end_to_end"):
            deploy.tune(model, tmp_path, samples=SAMPLES, **bad)
    with pytest.raises(OptionError, match="no picture files"):
        deploy.PictureFiles([], steps)


def test_tune_learns_to_round_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = network(), []

    def told(*args: Any, **words: Any) -> None:
        asked.append(words["finetune"])
        raise OptionError("enough")

    monkeypatch.setattr(forms, "quantise", told)
    given = {
        "calibration": SAMPLES,
        "labelled": own_answers(model, 8),
        "engines": ["eager", "onnx"],
    }
    deploy.tune(model, tmp_path, samples=SAMPLES, finetune=3, **given)
    assert asked == [3]


def test_throughput_has_batches_and_threads_are_tried(tmp_path: Path) -> None:
    found = deploy.tune(
        network(),
        tmp_path,
        samples=SAMPLES,
        engines=["folded"],
        goal="throughput",
        threads=range(2, 0, -1),
    )
    assert found.batch_size == 16
    assert {row.form.threads for row in found.rows} == {1, 2}
    row = found.rows[0]
    assert math.isclose(row.samples_per_second, 16e3 / row.ms)


def test_bad_arguments(tmp_path: Path) -> None:
    for words, message in (
        ({"goal": "speed"}, "goal"),
        ({"engines": ["onx"]}, "Did you mean 'onnx'"),
        ({"engines": []}, "must name one"),
        ({"batch_size": 0}, "batch_size"),
        ({"goal": "end-to-end"}, "Did you mean 'end_to_end'"),
    ):
        with pytest.raises(OptionError, match=message):
            deploy.tune(network(), tmp_path, samples=SAMPLES, **words)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_compiled_forms(tmp_path: Path) -> None:
    found = deploy.tune(network(), tmp_path, samples=SAMPLES, engines=["compiled"])
    assert found.rows[0].form.engine == "compiled"


class Broken(nn.Linear):
    """What torch compiles in two parts."""

    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_more_networks_of_one_code_are_compiled_than_torch_keeps_by_itself() -> None:
    """Beyond its limit torch would quietly run eagerly what was asked to be compiled."""
    form = forms.Form("compiled", "fp32", 1)
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        made = [forms.InTorch(Broken(width, 2), form, (1, width)) for width in range(1, 6)]
        for size in (1, 3, 4, 7):
            answers = [run(torch.ones(size, width)) for width, run in enumerate(made, 1)]
            assert [tuple(answer.shape) for answer in answers] == [(size, 2)] * 5


@pytest.mark.parametrize("batch_size", [None, 6, 7])
def test_parts_beside_each_other_are_the_whole(tmp_path: Path, batch_size: int | None) -> None:
    model = network()
    path = tmp_path / "net.xml"
    deploy.export(model, path, samples=SAMPLES, format="openvino")
    run = deploy.Artefact(path, threads=2, streams=3, batch_size=batch_size)
    for count in (1, 2, 6, 7) if batch_size is None else (batch_size,):
        x = torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            torch.testing.assert_close(run(x), model(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(OptionError, match="streams"):
        deploy.Artefact(path, streams=0)


def test_streams_are_tried_where_a_batch_has_several_samples(tmp_path: Path) -> None:
    model = network()
    given = {"samples": SAMPLES, "engines": ["openvino"], "threads": [2]}
    single = deploy.tune(model, tmp_path / "one", **given)
    assert {row.form.streams for row in single.rows} == {1}
    found = deploy.tune(model, tmp_path / "many", goal="throughput", **given)
    assert {row.form.streams for row in found.rows} == {1, 2}
    assert all(row.difference <= 1e-4 for row in found.rows)
    labels = [row.form.label for row in found.rows]
    assert "openvino fp32, 2 threads, 2 streams" in labels
    used = deploy.in_use(model, tmp_path / "many")
    assert used is not None
    assert used[1] == found.chosen.form.label
    with torch.no_grad():
        torch.testing.assert_close(used[0](SAMPLES), model(SAMPLES), rtol=1e-4, atol=1e-5)
    with pytest.raises(VerificationError):
        used[0](SAMPLES[:, :2].repeat(4, 1, 1, 1))
    with torch.no_grad():  # nothing of what failed is left running
        x = torch.cat([SAMPLES] * 4)
        torch.testing.assert_close(used[0](x), model(x), rtol=1e-4, atol=1e-5)
    more = deploy.tune(model, tmp_path / "many", goal="throughput", streams=[2, 4], **given)
    assert {row.form.streams for row in more.rows} == {1, 2, 4}
    with pytest.raises(OptionError, match="streams"):
        deploy.tune(model, tmp_path, samples=SAMPLES, streams=[0])
