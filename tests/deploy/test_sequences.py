"""Files of networks that read sequences: free lengths, masks, and live data, in the runtime."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from convarium import deploy, models
from convarium.errors import OptionError, ShapeError, VerificationError


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("options", [{"mean": True}, {"norm": "batch"}])
def test_tokens_of_any_length_give_what_the_network_gives(tmp_path, options):
    torch.manual_seed(0)
    model = models.create(
        "text_cnn", vocabulary=40, embedding_dim=6, filters=5, num_classes=3, **options
    ).eval()
    ids = model.example_input(5, 12)
    ids[1, 7:] = 0
    made = deploy.export_sequences(model, tmp_path / "t.onnx", samples=ids, card={"classes": "abc"})
    assert (made.form, made.n, made.least, made.runs) == ("tokens", 5, 5, 6)
    run = session(made.path)
    for batch, length in ((1, 5), (3, 30)):
        more = model.example_input(batch, length, seed=3)
        (found,) = run.run(None, {"input": more.numpy()})
        assert np.allclose(found, model(more).detach().numpy(), atol=1e-5)
    props = {each.key: each.value for each in onnx.load(made.path).metadata_props}
    assert json.loads(props["convarium.card"]) == {"classes": "abc"}
    assert json.loads(json.dumps(made.to_json()))["form"] == "tokens"
    assert "largest difference" in made.sentence()
    assert "opset 18" in made.sentence()
    assert "100.0% of the predictions agree" in made.sentence()
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"]["t.onnx"]
    assert entry["sha256"] == {"t.onnx": made.sha256}
    assert entry["latency"]["median_ms"] > 0


def test_a_mask_is_an_input_of_its_own(tmp_path):
    torch.manual_seed(0)
    model = models.create("fcn", in_channels=2, num_classes=3, channels=[4, 6, 4]).eval()
    x = torch.randn(4, 2, 20)
    mask = torch.arange(20) < torch.tensor([[20], [9], [13], [20]])
    made = deploy.export_sequences(model, tmp_path / "s.onnx", samples=x, mask=mask)
    run = session(made.path)
    short = x[1:2, :, :9]
    (alone,) = run.run(None, {"input": short.numpy(), "mask": np.ones((1, 9), bool)})
    (padded,) = run.run(None, {"input": x[1:2].numpy(), "mask": mask[1:2].numpy()})
    assert np.allclose(alone, padded, atol=1e-5)
    assert np.allclose(alone, model(short).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("form", ["steps", "chunks"])
@pytest.mark.parametrize("norm", ["weight", "batch"])
def test_a_stream_goes_on_in_the_runtime(tmp_path, form, norm):
    torch.manual_seed(0)
    model = models.create(
        "tcn", in_channels=2, channels=[4, 5], num_classes=3, norm=norm, readout="mean"
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(3, 2, 70)
    made = deploy.export_stream(model, tmp_path / "s.onnx", samples=x, form=form)
    assert made.runs == (71 if form == "steps" else 13)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    run, model = session(made.path), model.eval()
    state = model.initial_state(3).numpy()
    outputs = []
    for t in range(0, 70, 1 if form == "steps" else 10):
        piece = x[:, :, t] if form == "steps" else x[:, :, t : t + 10]
        feed = {"input": piece.contiguous().numpy(), "state": state}
        output, state = run.run(["output", "next_state"], feed)
        outputs.append(output)
    last = outputs[-1] if form == "steps" else outputs[-1][:, :, -1]
    assert np.allclose(last, model(x).detach().numpy(), atol=1e-5)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    text = models.create("text_cnn", vocabulary=40, embedding_dim=4, filters=3)
    fcn = models.create("fcn", channels=[4, 4, 4])
    path = tmp_path / "x.onnx"
    with pytest.raises(ShapeError, match="token ids"):
        deploy.export_sequences(fcn, path, samples=torch.zeros(2, 1, 30))
    with pytest.raises(OptionError, match="does not stream"):
        deploy.export_stream(text, path, samples=torch.zeros(2, 1, 30))
    tcn = models.create("tcn", channels=[64, 64, 64])
    with pytest.raises(OptionError, match="form"):
        deploy.export_stream(tcn, path, samples=torch.zeros(2, 1, 30), form="words")
    with pytest.raises(ShapeError, match="must be series"):
        deploy.export_stream(tcn, path, samples=torch.zeros(2, 30))
    with pytest.raises(VerificationError, match="does not compute"):
        deploy.export_stream(tcn, path, samples=torch.randn(2, 1, 9), tolerance=1e-12)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tcn", "fcn", "inception_time", "temporal_cnn"])
def test_a_file_of_series_of_any_length_is_verified_at_three(tmp_path, name):
    torch.manual_seed(0)
    small = {"tcn": {"channels": [4, 5]}, "fcn": {"channels": [4, 5, 4]}}
    small |= {"inception_time": {"filters": 3, "depth": 3}, "temporal_cnn": {"channels": [4, 5]}}
    model = models.create(name, in_channels=2, num_classes=3, **small[name]).eval()
    x = torch.randn(5, 2, 40)
    made = deploy.export(model, tmp_path / "s.onnx", samples=x, dynamic_size=True)
    assert made.sizes == ((40,), (50,), (20,))
    assert "40 and 50 and 20" in made.sentence()
    run = session(made.path)
    for length in (17, 33, 120):
        series = torch.randn(2, 2, length)
        (found,) = run.run(None, {"input": series.numpy()})
        assert np.allclose(found, model(series).detach().numpy(), atol=1e-5)


def test_a_file_has_the_weights_that_weight_norm_gives(tmp_path):
    torch.manual_seed(0)
    model = models.create("tcn", channels=[4, 5], num_classes=3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.mul_(1.5 if name.endswith("original0") else 1)
            value.add_(torch.randn_like(value) if name.endswith("bias") else 0)  # no two alike
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(4, 1, 30)
    made = deploy.export(model, tmp_path / "t.onnx", samples=x)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    graph = onnx.load(made.path).graph
    kinds = {node.op_type for node in graph.node}
    assert "Conv" in kinds
    assert not kinds & {"Mul", "Div", "Sqrt", "Pow", "ReduceL2", "ReduceSum", "Abs"}
    assert sum(np.prod(each.dims, dtype=int) for each in graph.initializer if each.dims) == sum(
        p.numel() for p in model.materialise().parameters()
    )
    (found,) = session(made.path).run(None, {"input": x.numpy()})
    assert np.allclose(found, model.eval()(x).detach().numpy(), atol=1e-5)
    program = deploy.export(model, tmp_path / "t.pt2", samples=x, format="torch")
    assert program.agreement == 1
