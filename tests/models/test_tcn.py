import copy
import math
import pickle
import warnings

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.measure import receptive_field, temporal_receptive_field


def small(**options):
    torch.manual_seed(0)
    keywords = {"in_channels": 2, "num_classes": 3, "channels": [4, 4, 5], "kernel_size": 3}
    model = models.create("tcn", **(keywords | options)).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


class ByThePaper(nn.Module):
    """Figure 1 (b) of the paper in plain torch: pad on both sides, and cut off what looks ahead."""

    def __init__(self, before, after, taps, dilation):
        super().__init__()
        self.cut = (taps - 1) * dilation
        for name, channels in (("conv1", before), ("conv2", after)):
            conv = nn.Conv1d(channels, after, taps, padding=self.cut, dilation=dilation)
            setattr(self, name, parametrizations.weight_norm(conv))
        self.shortcut = nn.Conv1d(before, after, 1) if before != after else None

    def forward(self, x):
        y = self.conv1(x)[:, :, : x.shape[2]].relu()
        y = self.conv2(y)[:, :, : x.shape[2]].relu()
        return (y + (x if self.shortcut is None else self.shortcut(x))).relu()


def test_it_computes_what_the_papers_figure_says():
    model = small()
    blocks = [
        ByThePaper(*sizes, 3, 2**i).double() for i, sizes in enumerate([(2, 4), (4, 4), (4, 5)])
    ]
    for stage, block in zip(("stage1", "stage2", "stage3"), blocks, strict=True):
        block.load_state_dict(model.get_submodule(stage)[0].state_dict())
    x = model.example_input(2, 40)
    expected = model.head(nn.Sequential(*blocks)(x)[:, :, -1])
    torch.testing.assert_close(model(x), expected)


@settings(max_examples=12)
@given(
    taps=st.integers(1, 4),
    levels=st.integers(1, 4),
    dilations=st.sampled_from([None, "ones", "threes"]),
)
def test_the_field_is_the_formulas_and_nothing_comes_from_the_future(taps, levels, dilations):
    base = {None: 2, "ones": 1, "threes": 3}[dilations]
    given_list = None if dilations is None else [base**i for i in range(levels)]
    model = small(channels=[3] * levels, kernel_size=taps, dilations=given_list, readout="every")
    field = temporal_receptive_field(levels, taps, dilation_base=base)
    found = receptive_field(model, (1, 2, field + 20))
    assert (found.size, found.stride, found.status) == ((field,), (1,), "exact")
    assert found.start == (1 - field,)
    length, at = field + 20, field + 9
    x = model.example_input(1, length).requires_grad_()
    model(x)[0, :, at].sum().backward()
    gradient = x.grad[0].abs().sum(0)
    assert not gradient[at + 1 :].any()
    assert not gradient[: at - field + 1].any()


def test_every_output_is_free_of_later_inputs_of_any_size():
    model = small(readout="every", norm="batch")
    x = model.example_input(2, 30)
    expected = model(x)
    for at in (0, 7, 28):
        changed = x.clone()
        changed[:, :, at + 1 :] = 1e6
        assert torch.equal(model(changed)[:, :, : at + 1], expected[:, :, : at + 1])


@pytest.mark.parametrize("norm", ["weight", "batch", "none"])
@pytest.mark.parametrize("readout", ["last", "every", "mean"])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_streaming_equals_the_whole(norm, readout, dtype, limit):
    model = small(norm=norm, readout=readout, dropout=0.4).to(dtype)
    x = model.example_input(3, 45)
    with torch.no_grad():
        stepped, state = [], model.initial_state(3)
        for t in range(45):
            y, state = model.step(x[:, :, t], state)
            stepped.append(y)
        streamed, other = [], model.initial_state(3)
        for chunk in x.split([1, 7, 0, 30, 2, 5], 2):
            y, other = model.stream(chunk, other)
            assert y.shape == (3, 3, chunk.shape[2])
            streamed.append(y)
        stepped, streamed = torch.stack(stepped, 2), torch.cat(streamed, 2)
        if readout == "every":
            expected = model(x)
        else:
            expected = torch.stack([model(x[:, :, : t + 1]) for t in range(45)], 2)
    assert (stepped - expected).abs().max() < limit
    assert (streamed - expected).abs().max() < limit
    assert state.shape == other.shape
    assert (state - other).abs().max() < limit


@settings(max_examples=15)
@given(
    chunks=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    taps=st.integers(1, 3),
    readout=st.sampled_from(["last", "every", "mean"]),
)
def test_chunks_of_any_length_follow_each_other(chunks, taps, readout):
    model = small(kernel_size=taps, readout=readout, num_classes=0, dilations=[2, 1, 3])
    x = model.example_input(2, max(sum(chunks), 1))[:, :, : sum(chunks)]
    with torch.no_grad():
        whole, end = model.stream(x, model.initial_state(2))
        state, found = model.initial_state(2), []
        for chunk in x.split(chunks, 2):
            y, state = model.stream(chunk, state)
            found.append(y)
    torch.testing.assert_close(torch.cat(found, 2), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


def test_a_step_leaves_the_state_and_the_mode_as_they_are():
    model = small(dropout=0.5, norm="batch").train()
    statistics = copy.deepcopy(dict(model.named_buffers()))
    state = model.initial_state(2)
    x = model.example_input(2, 5)
    model.stream(x, state)
    first, _ = model.step(x[:, :, 0], state)
    second, _ = model.step(x[:, :, 0], state)
    assert torch.equal(first, second)
    assert not state.any()
    assert model.training
    assert all(torch.equal(statistics[name], b) for name, b in model.named_buffers())
    torch.testing.assert_close(first, model.eval()(x[:, :, :1]))


@pytest.mark.parametrize("norm", ["weight", "batch"])
def test_a_step_uses_the_weights_as_they_are_now(norm):
    model, other = small(norm=norm), small(norm=norm, num_classes=3)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.mul_(2)
        x, state = model.example_input(2, 1), model.initial_state(2)

        def differs():
            return not torch.allclose(model.step(x[:, :, 0], state)[0], model(x), atol=1e-12)

        assert not differs()
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01)
            assert not differs()
        model.load_state_dict(other.state_dict(), assign=True)
        assert not differs()
        state, x = state.float(), x.float()
        assert torch.allclose(model.float().step(x[:, :, 0], state)[0], model(x), atol=1e-6)
        model.materialise()
        assert torch.allclose(model.step(x[:, :, 0], state)[0], model(x), atol=1e-6)


def test_rows_of_a_state_are_sequences_of_their_own():
    model = small()
    x = model.example_input(3, 12)
    _, state = model.stream(x[:, :, :9], model.initial_state(3))
    y, _ = model.stream(x[[2, 0], :, 9:], state[[2, 0]])
    torch.testing.assert_close(y[:, :, -1], model(x)[[2, 0]])


def test_a_state_does_not_grow_and_gradients_pass_through_it():
    model = small(readout="mean")
    state = model.initial_state(1)
    sizes = set()
    x = model.example_input(1, 300).requires_grad_()
    for t in range(300):
        y, state = model.step(x[:, :, t], state)
        sizes.add(tuple(state.shape))
    assert len(sizes) == 1
    y.sum().backward()
    assert x.grad[0, :, 0].any()  # the mean sees all


class Step(nn.Module):
    """A step as a module, which is what exporters take."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x_t, state):
        return self.model.step(x_t, state)


def exported(model):
    state = model.initial_state(2)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) * 2
    given = torch.zeros(2, 2, dtype=state.dtype), state
    return torch.export.export(Step(model), given, dynamic_shapes=shapes, strict=True)


@pytest.mark.long
@pytest.mark.parametrize("options", [{"readout": "mean"}, {"norm": "batch"}])
def test_a_step_is_exported_strictly_for_any_batch(options):
    model = small(**options)
    program = exported(model).module()
    for batch in (1, 3):
        x, state = model.example_input(batch, 4), model.initial_state(batch)
        for t in range(4):
            expected, after = model.step(x[:, :, t], state)
            y, state = program(x[:, :, t], state)
            torch.testing.assert_close((y, state), (expected, after))


@pytest.mark.long
def test_steps_run_the_same_in_another_runtime(tmp_path):
    model = small(readout="mean").float().materialise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(exported(model), dynamo=True, verbose=False)
    program.save(tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    names = [node.name for node in session.get_inputs()]
    x, memory = model.example_input(3, 6), model.initial_state(3).numpy()
    for t in range(6):
        given = (x[:, :, t].numpy(), memory)
        y, memory = session.run(None, dict(zip(names, given, strict=True)))
    assert abs(y - model(x).detach().numpy()).max() < 1e-5


def test_materialised_it_is_a_network_without_weight_norm(tmp_path):
    model = small(dropout=0.3)
    x = model.example_input(2, 20)
    expected = model(x)
    assert model.materialise() is model
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
    assert model.config["norm"] == "none"
    twin = models.load(models.save(model, tmp_path))
    assert torch.equal(twin(x), model(x))


@pytest.mark.parametrize("readout", ["last", "every", "mean"])
def test_what_is_read_out(readout):
    model = small(readout=readout)
    x = model.example_input(2, 16)
    mask = torch.arange(16) < torch.tensor([[16], [9]])
    maps = model.features(x, mask)[-1]
    y = model(x, mask)
    if readout == "every":
        expected = model.head(maps.transpose(1, 2)).transpose(1, 2)
        assert torch.equal(y[0], expected[0])
        assert torch.equal(y[1, :, :9], expected[1, :, :9])
        assert not y[1, :, 9:].any()
    else:
        pairs = zip(maps, (16, 9), strict=True)
        read = [m[:, n - 1] if readout == "last" else m[:, :n].mean(1) for m, n in pairs]
        torch.testing.assert_close(y, model.head(torch.stack(read)))


@pytest.mark.parametrize("readout", ["last", "mean", "every"])
@pytest.mark.parametrize("starts", ["near", "far"])
def test_the_weights_start_as_stated(starts, readout):
    """Uniform in +-1/sqrt(fan-in) has deviation 1/sqrt(3 fan-in), He's normal sqrt(2/fan-in)."""
    torch.manual_seed(0)
    model = models.create("tcn", readout=readout, starts=starts)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d):
            spread = math.sqrt((2 if starts == "far" else 1 / 3) / module.weight[0].numel())
            few = 5 / math.sqrt(2 * module.weight.numel())
            assert module.weight.std().item() == pytest.approx(spread, rel=few), name
            assert bool(module.bias.any()) == (starts == "near")
    small = starts == "far" and readout != "every"
    for _ in range(2):
        spread = 0.01 if small else 1 / math.sqrt(3 * model.head.in_features)
        assert model.head.weight.std().item() == pytest.approx(spread, rel=0.2)
        model.reset_head(10)


def test_what_is_far_back_is_heard_from_the_start_if_asked():
    torch.manual_seed(0)
    heard = {}
    for starts in ("near", "far"):
        model = models.create("tcn", channels=[24] * 8, kernel_size=8, starts=starts)
        x = torch.rand(4, 1, 600, requires_grad=True)
        model.eval()(x).sum().backward()
        weight = x.grad.square().mean((0, 1)).sqrt()
        heard[starts] = weight[:200].mean() / weight[-1]
    assert heard["far"] > 0.2
    assert heard["far"] > 10 * heard["near"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": []}, r"channels \(=\[\]\) must have at least one entry"),
        ({"dilations": [1, 2]}, r"channels .* and dilations .* must have the same length"),
        ({"dilations": [1, 0, 2]}, r"dilations \(=\[1, 0, 2\]\) must be 1 or more"),
        ({"kernel_size": 0}, r"kernel_size \(=0\) must be 1 or more"),
        ({"dropout": 1.5}, r"dropout \(=1.5\)"),
        ({"starts": "here"}, r"starts .='here'. must be one of 'near', 'far'"),
        ({"readout": "first"}, r"readout \(='first'\) must be one of 'last', 'every', 'mean'"),
        ({"norm": "layer"}, r"norm \(='layer'\) must be one of 'weight', 'batch', 'none'"),
        ({"spatial_dims": 2}, r"spatial_dims \(=2\) must be one of 1"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        small(**options)


def test_a_mean_of_many_steps_is_counted_also_in_bfloat16():
    torch.manual_seed(0)
    model = models.create("tcn", channels=[4], readout="mean", num_classes=2).eval()
    model = model.bfloat16()
    x = torch.randn(1, 1, 600).bfloat16()
    with torch.no_grad():
        state = model.initial_state()
        for t in range(600):
            y, state = model.step(x[..., t], state)
        whole, chunked = model.stream(x, model.initial_state())
    assert (state.dtype, y.dtype, whole.dtype) == (torch.float32, *[torch.bfloat16] * 2)
    assert state[0, -1] == chunked[0, -1] == 600
    exact = copy.deepcopy(model).double()(x.double())
    assert torch.allclose(y.double(), exact, atol=0.02)
    assert torch.allclose(whole[..., -1].double(), exact, atol=0.02)


def test_types_that_do_not_fit_are_refused():
    model = models.create("tcn", channels=[4])
    with pytest.raises(OptionError, match=r"batch \(=2.0\) must be a whole number"):
        model.initial_state(2.0)
    for kind in (torch.float64, torch.bfloat16):
        with pytest.raises(
            ShapeError, match=f"of one type, and these are {kind} and torch.float32"
        ):
            model.step(torch.zeros(2, 1, dtype=kind), model.initial_state(2))
        with pytest.raises(ShapeError, match="in the type of the weights"):
            model.stream(torch.zeros(2, 1, 3, dtype=kind), model.initial_state(2))


def test_inputs_and_states_that_do_not_fit_are_refused():
    model = small()
    with pytest.raises(ShapeError, match=r"takes \(B, 2, L\)"):
        model(torch.zeros(1, 3, 9, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"takes \(B, C\) with 2 channels here, not \(1, 2, 4\)"):
        model.step(torch.zeros(1, 2, 4), model.initial_state(1))
    with pytest.raises(ShapeError, match=r"begin with initial_state\(3\)"):
        model.stream(torch.zeros(3, 2, 4), model.initial_state(1))


@pytest.mark.parametrize("norm", ["weight", "batch"])
def test_pickled_it_is_the_same_network_that_still_learns(norm):
    torch.manual_seed(0)
    model = models.create("tcn", channels=[4, 6], num_classes=3, norm=norm).eval()
    x = model.example_input(2, 20)
    expected = model(x)
    twin = pickle.loads(pickle.dumps(model))
    assert torch.equal(twin(x), expected)
    assert [*twin.state_dict()] == [*model.state_dict()]
    twin(x).sum().backward()
    assert all(p.grad is not None for p in twin.parameters())
    assert not any(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(twin(x), expected)
    assert torch.equal(model(x), expected)


def test_a_copy_that_is_materialised_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    model = models.create("tcn", channels=[4, 4], num_classes=3).eval()
    x = model.example_input(2, 20)
    expected = model(x)
    twin = copy.deepcopy(model).materialise()
    assert torch.equal(model(x), expected)
    torch.testing.assert_close(twin(x), expected)
    assert not any("parametrizations" in name for name, _ in twin.named_parameters())
