import itertools
import json
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import convarium.models as models
from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS

PUBLISHED = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet264": 33_337_704,
    "densenet_bc_100_12": 769_162,
}

# Huang et al. 2016, table 2, in millions.
TABLE_2 = {
    "densenet_40_12": 1.0,
    "densenet_100_12": 7.0,
    "densenet_100_24": 27.2,
    "densenet_bc_100_12": 0.8,
    "densenet_bc_250_24": 15.3,
    "densenet_bc_190_40": 25.6,
}

TINY = {"depths": [2, 3], "growth_rate": 4, "stem_channels": 8, "stem": "cifar", "num_classes": 5}

KEYS = Path(__file__).parents[1] / "reference" / "published" / "torchvision-densenet121.json"


def on_meta(name, **options):
    with torch.device("meta"):
        return models.create(name, **options)


def count(model):
    return sum(p.numel() for p in model.parameters())


def tiny(**options):
    torch.manual_seed(0)
    return models.create("densenet121", **TINY | options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    assert count(on_meta(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", TABLE_2)
def test_the_cifar_nets_have_the_millions_of_the_papers_table(name):
    assert round(count(on_meta(name)) / 1e6, 1) == TABLE_2[name]


@pytest.mark.parametrize("name", models.list_models("densenet*"))
def test_the_number_in_the_name_counts_the_weight_layers(name):
    kinds = (nn.Conv2d, nn.Linear)
    layers = sum(isinstance(module, kinds) for module in on_meta(name).modules())
    named = int(re.match(r"densenet(?:_bc)?_?(\d+)", name)[1])
    assert layers == named + (name == "densenet264")  # the paper's own table has 265


def parameters_by_hand(depths, k, stem, channels, bottleneck, compression, classes):
    """Weights of convolutions, two numbers a normed channel, and the linear layer."""
    total = 3 * channels * (49 if stem == "imagenet" else 9)
    total += 2 * channels if stem == "imagenet" else 0
    for i, depth in enumerate(depths):
        if i:
            kept = int(channels * compression)
            total += 2 * channels + channels * kept
            channels = kept
        for _ in range(depth):
            total += 2 * channels
            before = channels
            if bottleneck:
                before = bottleneck * k
                total += channels * before + 2 * before
            total += 9 * before * k
            channels += k
    return total + 2 * channels + channels * classes + classes


@settings(max_examples=25)
@given(
    depths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    k=st.integers(2, 20),
    stem=st.sampled_from(["imagenet", "cifar"]),
    width=st.integers(1, 40),
    bottleneck=st.sampled_from([0, 1, 3, 4]),
    compression=st.sampled_from([0.25, 0.5, 0.7, 1.0]),
)
def test_any_options_give_the_parameters_counted_by_hand(
    depths, k, stem, width, bottleneck, compression
):
    options = {"depths": depths, "growth_rate": k, "stem": stem, "stem_channels": width}
    options |= {"bottleneck": bottleneck, "compression": compression, "num_classes": 7}
    expected = parameters_by_hand(depths, k, stem, width, bottleneck, compression, 7)
    assert count(on_meta("densenet121", **options)) == expected


def test_features_are_the_outputs_of_the_dense_blocks():
    model = on_meta("densenet121")
    assert [stage.channels for stage in model.stages] == [256, 512, 1024, 1024]
    assert [stage.reduction for stage in model.stages] == [4, 8, 16, 32]
    assert [s.channels for s in on_meta("densenet161").stages] == [384, 768, 2112, 2208]
    small = on_meta("densenet_bc_100_12")
    assert [stage.reduction for stage in small.stages] == [1, 2, 4]


def by_hand(model, x):
    """The maps of `features` and the logits, from the state dict alone."""
    p = model.state_dict()

    def step(x, name, padding=0):
        keys = ("running_mean", "running_var", "weight", "bias")
        x = F.relu(F.batch_norm(x, *(p[f"{name}.norm.{key}"] for key in keys)))
        return F.conv2d(x, p[f"{name}.conv.weight"], padding=padding)

    x = F.conv2d(x, p["stem.conv.weight"], padding=1)
    maps = []
    for i, depth in enumerate(model.config["depths"], start=1):
        if i > 1:
            x = F.avg_pool2d(step(x, f"block{i}.transition.squeeze"), 2)
        for j in range(1, depth + 1):
            name, y = f"block{i}.layer{j}", x
            if model.config["bottleneck"]:
                y = step(y, f"{name}.squeeze")
            x = torch.cat([x, step(y, f"{name}.grow", padding=1)], 1)
        maps.append(x)
    last = F.batch_norm(x, *(p[f"final.norm.{key}"] for key in ("running_mean", "running_var")))
    last = last * p["final.norm.weight"][:, None, None] + p["final.norm.bias"][:, None, None]
    return maps, F.relu(last).mean((2, 3)) @ p["head.weight"].T + p["head.bias"]


@pytest.mark.parametrize("bottleneck", [4, 0])
def test_the_network_is_the_papers_computed_by_hand(bottleneck):
    model = tiny(bottleneck=bottleneck).double().eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
    x = model.example_input(2, size=11)
    maps, logits = by_hand(model, x)
    for found, expected in zip(model.features(x), maps, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model(x), logits)


FRUGAL = [(True, False), (False, True), (True, True)]


def gradients(model, x, run=None, steps=2):
    """Output, gradients and buffers after some steps, with the same random draws."""
    torch.manual_seed(1)
    for _ in range(steps):
        model.zero_grad()
        y = (model if run is None else run)(x)
        y.square().mean().backward()
    return [y, *(p.grad for p in model.parameters()), *model.buffers()]


@pytest.mark.parametrize("bottleneck", [4, 0])
@pytest.mark.parametrize(("efficient", "checkpointing"), FRUGAL)
def test_recomputing_changes_nothing_but_memory(efficient, checkpointing, bottleneck):
    options = {"bottleneck": bottleneck, "dropout": 0.3}
    plain, frugal = tiny(**options), tiny(memory_efficient=efficient, **options)
    frugal.use_gradient_checkpointing(checkpointing)
    x = plain.example_input(3, size=8)
    for a, b in zip(gradients(plain, x), gradients(frugal, x), strict=True):
        assert torch.equal(a, b)


def peak_bytes(model, x):
    """The largest sum of bytes that a training step held at one time."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        model(x).square().mean().backward()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def test_recomputing_lowers_the_peak_of_memory_by_two_fifths_and_more():
    peaks = []
    for efficient, checkpointing in [(False, False), *FRUGAL]:
        options = {"depths": [6, 12], "growth_rate": 8, "memory_efficient": efficient}
        model = tiny(**options)
        model.use_gradient_checkpointing(checkpointing)
        peaks.append(peak_bytes(model, model.example_input(4, size=32)))
    assert max(peaks[1:]) < 0.6 * peaks[0], peaks


class Calls(TorchDispatchMode):
    """Counts the calls of each operation."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_memory_efficient_steps_repeat_concatenations_but_no_convolutions():
    found = []
    for efficient in (False, True):
        model = tiny(memory_efficient=efficient)
        with Calls() as calls:
            model(model.example_input(2, size=8)).sum().backward()
        found.append([calls.names.count(f"aten.{n}.default") for n in ("convolution", "cat")])
    (convolutions, joints), (again, joints_again) = found
    assert again == convolutions == 12  # the stem's, two in each of 5 layers, the transition's
    assert joints_again == joints + 3  # the inputs of all layers but the first of each block


def test_a_memory_efficient_step_compiles_to_one_graph_with_the_same_gradients():
    model = tiny(memory_efficient=True, depths=[2, 1])
    x = model.example_input(2, size=8)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    expected = [tensor.clone() for tensor in gradients(model, x, steps=1)]
    model.load_state_dict(state)
    torch.compiler.reset()
    run = torch.compile(model, fullgraph=True, backend="aot_eager")
    for a, b in zip(expected, gradients(model, x, run, steps=1), strict=True):
        torch.testing.assert_close(b, a)
    torch.compiler.reset()


def test_a_memory_efficient_network_exports_strictly_as_the_plain_one():
    model = tiny(memory_efficient=True, depths=[2, 1]).eval()
    x = model.example_input(2, size=8)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},), strict=True)
    assert not [node for node in program.graph.nodes if "checkpoint" in str(node.target)]
    again = model.example_input(3, size=8, seed=1)
    torch.testing.assert_close(program.module()(again), model(again))


def test_dropout_follows_every_convolution_but_the_first():
    model = on_meta("densenet_bc_100_12", depths=[2, 2], dropout=0.2)
    kinds = [type(m).__name__ for m in model.modules() if isinstance(m, nn.Conv2d | nn.Dropout)]
    assert kinds == ["Conv2d", *["Conv2d", "Dropout"] * 9, "Dropout"]  # the neck's has p = 0
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.2] * 9 + [0.0]


def test_channels_last_gives_the_same_output():
    model = tiny().eval()
    x = model.example_input(2, size=8)
    expected = model(x)
    found = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)


def test_weights_start_as_torchvisions_do():
    torch.manual_seed(0)
    model = models.create("densenet121", depths=[2, 2], num_classes=50)
    for name, module in model.named_modules():
        if isinstance(module, CONVOLUTIONS):
            fan_in = module.weight[0].numel()
            z = module.weight.detach().double() * math.sqrt(fan_in / 2)
            n = z.numel()
            assert abs(z.mean().item()) < 5 / math.sqrt(n), name
            assert abs(z.var().item() - 1) < 5 * math.sqrt(2 / n), name
            assert abs((z**4).mean().item() - 3) < 5 * math.sqrt(96 / n), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            assert module.weight.abs().max().item() <= bound
            assert abs(module.weight.std().item() / bound - 3**-0.5) < 0.03
            assert (module.bias == 0).all()


@pytest.mark.parametrize("dotted", [False, True])
def test_files_with_the_names_of_torchvision_old_and_new_load_whole(dotted):
    """Files from before 2018 say `denselayer1.norm.1.weight`."""
    keys = json.loads(KEYS.read_text())["keys"]
    state = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(keys)}
    if dotted:
        pattern = r"(denselayer\d+\.(?:norm|conv))(\d)\."
        state = {re.sub(pattern, r"\1.\2.", key): value for key, value in state.items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    model = models.create("densenet121")
    report = models.load_published(model, state)
    assert (report.source, len(report.used), report.unused) == ("torchvision", 727, ())
    own = [tensor.flatten()[0].item() for tensor in model.state_dict().values()]
    assert own == list(map(float, range(727)))  # their order is ours


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"compression": 0.0}, r"compression \(=0.0\) must be above 0 and at most 1"),
        ({"compression": 1.5}, r"compression \(=1.5\) must be above 0 and at most 1"),
        ({"bottleneck": -1}, r"bottleneck \(=-1\) must be 0 or more"),
        ({"growth_rate": 0}, r"growth_rate \(=0\) must be 1 or more"),
        ({"stem_channels": 0}, r"stem_channels \(=0\) must be 1 or more"),
        ({"depths": [6, 0]}, r"depths \(=\[6, 0\]\) must be 1 or more"),
        ({"depths": []}, r"depths \(=\[\]\) must have at least one entry"),
        ({"dropout": 1.0}, r"dropout \(=1.0\) must be at least 0 and below 1"),
        ({"stem": "cifr"}, r"stem \(='cifr'\) .*cifar"),
        ({"growth": 12}, r"no option 'growth'\. .*growth_rate"),
    ],
)
def test_options_that_make_no_network_are_errors(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        models.create("densenet121", **options)
