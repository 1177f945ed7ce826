"""OpenVINO's and torch's files, free sizes, pixels inside, and what stands beside the files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convarium
from convarium import deploy
from convarium.data import Preprocessing, VolumePreprocessing
from convarium.deploy.given import Given
from convarium.deploy.pictures import Front
from convarium.errors import MissingExtraError, OptionError, VerificationError

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
CARD = {"classes": ["Ärmel", "日本"], "preprocessing": {"input_shape": [2, 6, 6]}}
STEPS = Preprocessing((3, 12, 12), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), ("a", "b", "c"))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()


def pixels(n: int = 4, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 3, side, side), generator=generator, dtype=torch.uint8)


SAMPLES = STEPS.finish(pixels())


@pytest.mark.parametrize("format", SUFFIXES)
def test_every_format_takes_any_batch_and_knows_its_card(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{SUFFIXES[format]}"
    model = network()
    result = deploy.export(model, path, samples=SAMPLES, format=format, card=CARD)
    assert result.agreement == 1.0
    assert result.n == 4
    run = deploy.Artefact(path)
    for n in (1, 2, 7):
        x = STEPS.finish(pixels(n))
        torch.testing.assert_close(run(x), model(x), rtol=0, atol=1e-4 * result.scale)
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"][path.name]
    assert entry["card"] == CARD
    assert entry["versions"]["torch"] == torch.__version__
    assert entry["latency"]["median_ms"] > 0
    assert entry["sha256"] == {
        name: convarium.files.sha256(tmp_path / name) for name in entry["sha256"]
    }
    expected = {path.name, "manifest.json", ".lock", *entry["sha256"]}
    assert {*os.listdir(tmp_path)} <= expected


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_free_size_is_verified_on_larger_inputs(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{SUFFIXES[format]}"
    model = network()
    result = deploy.export(model, path, samples=SAMPLES, format=format, dynamic_size=True)
    assert result.sizes == ((12, 12), (15, 15))
    assert "12x12 and 15x15" in result.sentence()
    x = STEPS.finish(pixels(3, 20))
    torch.testing.assert_close(deploy.Artefact(path)(x), model(x), rtol=0, atol=1e-4)


def test_a_network_for_one_size_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 3))
    with pytest.raises(OptionError, match=r"\(3, 15, 15\), so the size .* cannot be left free"):
        deploy.export(model, tmp_path / "net.onnx", samples=SAMPLES, dynamic_size=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("format", "layout"),
    [
        ("onnx", "channels_first"),
        ("openvino", "channels_last"),
        pytest.param("onnx", "channels_last", marks=pytest.mark.long),
        pytest.param("openvino", "channels_first", marks=pytest.mark.long),
        pytest.param("torch", "channels_first", marks=pytest.mark.long),
        pytest.param("torch", "channels_last", marks=pytest.mark.long),
    ],
)
def test_pixels_inside_give_what_the_preprocessing_gives(
    format: str, layout: str, tmp_path: Path
) -> None:
    path = tmp_path / f"net{SUFFIXES[format]}"
    model = network()
    result = deploy.export(
        model, path, samples=SAMPLES, format=format, preprocessing=STEPS, pixels=layout
    )
    assert result.pixels == layout
    given = pixels(3)
    laid = given.permute(0, 2, 3, 1).contiguous() if layout == "channels_last" else given
    expected = model(STEPS.finish(given))
    torch.testing.assert_close(deploy.Artefact(path)(laid), expected, rtol=0, atol=1e-4)


def test_series_and_volumes(tmp_path: Path) -> None:
    for rank, shape in ((1, (3, 2, 24)), (3, (2, 2, 8, 8, 8))):
        model = convarium.create("convnet", spatial_dims=rank, in_channels=2, num_classes=3)
        for format in ("openvino", "torch"):
            path = tmp_path / f"net{rank}{SUFFIXES[format]}"
            result = deploy.export(model, path, samples=torch.rand(shape), format=format)
            assert result.agreement == 1.0


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pixels": "nhwc", "preprocessing": STEPS}, r"pixels \(='nhwc'\) must be one of"),
        ({"pixels": "channels_last"}, "needs the preprocessing"),
        ({"format": "openvino"}, r"must end in \.xml for openvino"),
        (
            {
                "samples": torch.randn(2, 3, 12, 12),
                "preprocessing": STEPS,
                "pixels": "channels_last",
            },
            "were not made from 8-bit pixels",
        ),
    ],
)
def test_bad_arguments_are_one_sentence(
    keywords: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        deploy.export(network(), tmp_path / "net.onnx", **{"samples": SAMPLES, **keywords})
    assert os.listdir(tmp_path) == []


def test_a_missing_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'convarium\[openvino\]'"):
        deploy.export(network(), tmp_path / "net.xml", samples=SAMPLES, format="openvino")
    assert os.listdir(tmp_path) == []


def test_weights_of_another_ir_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    model = network()
    deploy.export(model, path, samples=SAMPLES, format="openvino")
    data = np.fromfile(tmp_path / "net.bin", np.float32)
    data[: len(data) // 2] += 1
    data.tofile(tmp_path / "net.bin")
    with pytest.raises(VerificationError, match="does not compute what the model computes"):
        deploy.verify(path, model, SAMPLES)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(VerificationError, match=r"openvino cannot run net\.xml"):
        deploy.verify(path, model, SAMPLES)


def test_the_manifest_forgets_files_that_are_gone(tmp_path: Path) -> None:
    deploy.export(network(), tmp_path / "one.onnx", samples=SAMPLES)
    (tmp_path / "one.onnx").unlink()
    deploy.export(network(), tmp_path / "two.onnx", samples=SAMPLES)
    assert [*json.loads((tmp_path / "manifest.json").read_text())["files"]] == ["two.onnx"]


def test_precision_and_suffix_of_an_artefact(tmp_path: Path) -> None:
    deploy.export(network(), tmp_path / "net.onnx", samples=SAMPLES)
    with pytest.raises(OptionError, match="must be fp32, or bf16 for a file of OpenVINO's"):
        deploy.Artefact(tmp_path / "net.onnx", precision="bf16")
    with pytest.raises(OptionError, match=r"must end in \.onnx, \.xml, \.pt2"):
        deploy.Artefact(tmp_path / "net.bin")


def test_openvino_tells_its_makers_nothing(root: Path) -> None:
    """In a process of its own, where nothing has been imported yet."""
    script = (
        "import sys\n"
        "from convarium.deploy.artefact import runtime_package, unreported\n"
        "runtime_package('openvino')\n"
        "with unreported():\n"
        "    import nncf\n"
        "sys.exit('openvino_telemetry' in sys.modules)\n"
    )
    command = [sys.executable, "-W", "always", "-c", script]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(root / "src"), *sys.path]))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


class Hostile:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def test_a_program_with_a_pickled_object_runs_nothing(tmp_path: Path) -> None:
    good, bad, trace = tmp_path / "net.pt2", tmp_path / "bad.pt2", tmp_path / "trace"
    deploy.export(network(), good, samples=SAMPLES, format="torch")
    buffer = io.BytesIO()
    torch.save((Hostile(f"touch {trace}"),), buffer)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        names = [name for name in source.namelist() if "sample_inputs" in name]
        assert names
        for name in source.namelist():
            target.writestr(name, buffer.getvalue() if name in names else source.read(name))
    with pytest.raises(VerificationError, match=r"torch cannot run bad\.pt2"):
        deploy.Artefact(bad)
    assert not trace.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    with contextlib.suppress(Exception):
        torch.export.load(str(bad))
    assert trace.exists()  # so torch alone would have run it


@pytest.mark.parametrize(
    ("shape", "resize", "kind"),
    [((30, 45), 14, "bilinear"), ((45, 30), None, "bicubic"), ((12, 12), None, "bilinear")],
)
def test_whole_pictures_are_resized_in_the_file_as_pillow_does(
    tmp_path: Path, shape: tuple[int, int], resize: int | None, kind: Any
) -> None:
    moments = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    steps = Preprocessing((3, 12, 12), *moments, resize=resize, interpolation=kind)
    generator = torch.Generator().manual_seed(4)
    pictures = torch.randint(0, 256, (5, *shape, 3), generator=generator, dtype=torch.uint8)
    model, path = network(), tmp_path / "net.xml"
    given = {"format": "openvino", "preprocessing": steps, "pixels": "pictures"}
    result = deploy.export(model, path, samples=pictures, **given)
    assert result.apart is not None
    assert result.apart < 0.1
    found = deploy.Artefact(path)(pictures)
    seen = torch.stack([steps.apply(each.numpy()) for each in pictures])
    with torch.no_grad():
        expected = model(steps.finish(seen))
    if shape == (12, 12):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    scale = expected.abs().max()
    assert (found - expected).abs().max() < 0.02 * scale  # of a pixel that is one apart
    agreed = (found.argmax(1) == expected.argmax(1)).float().mean()
    assert result.agreement == pytest.approx(float(agreed))
    other = pictures.flip(0)
    torch.testing.assert_close(deploy.Artefact(path)(other), found.flip(0), rtol=1e-4, atol=1e-5)


def test_a_resize_that_is_not_the_preprocessings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures = network(), torch.zeros(2, 30, 45, 3, dtype=torch.uint8)
    pictures[:, :, ::2] = 255
    given = {"samples": pictures, "preprocessing": STEPS, "pixels": "pictures"}
    with pytest.raises(OptionError, match="for OpenVINO"):
        deploy.export(model, tmp_path / "net.onnx", **given)
    with pytest.raises(OptionError, match=r"uint8 \(N, H, W, 3\)"):
        deploy.export(model, tmp_path / "a.xml", format="openvino", **given | {"samples": SAMPLES})
    monkeypatch.setattr("convarium.deploy.pictures.covering", lambda *sizes: (12, 19))
    with pytest.raises(VerificationError, match="does not resize"):
        deploy.export(model, tmp_path / "a.xml", format="openvino", **given)
    assert not list(tmp_path.iterdir())


def test_agreement_is_with_the_preprocessings_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preprocessing whose pixels mean something else cannot hide behind those of the runtime."""
    generator = torch.Generator().manual_seed(5)
    pictures = torch.randint(0, 256, (8, 12, 12, 3), generator=generator, dtype=torch.uint8)
    dark = pictures // 4
    monkeypatch.setattr(Front, "pixels", lambda self, given: dark)
    model, path = network(), tmp_path / "net.xml"
    given = {"format": "openvino", "preprocessing": STEPS, "pixels": "pictures"}
    monkeypatch.setattr(Given, "as_file", lambda self, batch: dark[: len(batch)])
    result = deploy.export(model, path, samples=pictures, **given)
    with torch.no_grad():
        own = model(STEPS.finish(pictures.movedim(-1, 1))).argmax(1)
    agreed = (deploy.Artefact(path)(pictures).argmax(1) == own).float().mean()
    assert result.agreement == pytest.approx(float(agreed))


def test_pictures_of_volumes_are_refused(tmp_path: Path) -> None:
    steps = VolumePreprocessing((1, 4, 4, 4), (40.0,), (20.0,), spacing=(1.0, 1.0, 1.0))
    pictures = torch.zeros(2, 4, 4, 1, dtype=torch.uint8)
    given = {"format": "openvino", "preprocessing": steps, "pixels": "pictures"}
    with pytest.raises(OptionError, match="for images, not volumes"):
        deploy.export(network(), tmp_path / "net.xml", samples=pictures, **given)
