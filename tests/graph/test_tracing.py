"""Traces hold what a module executes, and leave nothing behind."""

import copy
import dataclasses
import gc
import weakref

import pytest
import torch
from hand_made import Forward
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.graph import trace

FAMILIES = (
    *("convnet", "lenet5", "alexnet", "alexnet_2012", "vgg11_bn", "resnet18", "resnetv2_50"),
    *("resnetblur50", "densenet121", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2"),
    *("mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0", "efficientnet_lite0"),
    *("efficientnet_v2_s", "convnext_tiny"),
)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_of_all_layers_are_those_of_a_run(name, training):
    with torch.device("meta"):
        model = models.create(name)
    shape = (2, model.in_channels, *model.input_size)
    graph = trace(model, shape, training=training)
    seen = []

    def see(module, given, result):
        seen.append(tuple(result.shape))

    for module in model.modules():
        module.register_forward_hook(see)
    with torch.no_grad():
        y = model.train(training)(torch.empty(shape, device="meta"))
    assert graph.outputs[0].shape == y.shape
    assert [call.results[0].shape for call in graph.calls] == seen


def test_functions_operators_and_slices_are_operations():
    def forward(self, x):
        y = nn.functional.relu(self.conv(x)) + x[:, :4]
        return torch.cat([y, y[..., 1:-1].mean(-1, keepdim=True)], -1)

    model = Forward(forward, conv=nn.Conv1d(6, 4, 3, padding=1))
    graph = trace(model, (2, 6, 10))
    names = [op.name for op in graph.operations]
    assert names == ["convolution", "relu", "slice", "add", "slice", "mean", "cat"]
    assert graph.outputs[0].shape == (2, 4, 11)
    assert graph.operations[0].layer == "conv"
    assert graph.operations[3].layer == ""


def test_a_reused_module_is_called_twice():
    shared = nn.Conv2d(3, 3, 3, padding=1)
    graph = trace(nn.Sequential(shared, nn.ReLU(), shared), (1, 3, 5, 5))
    assert [(call.layer, call.call) for call in graph.calls] == [
        ("0", 0),
        ("1", 0),
        ("0", 1),
        ("", 0),
    ]


def test_what_is_changed_in_place_is_another_value_of_the_same_memory():
    graph = trace(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True)), (1, 1, 4, 4))
    conv, relu = (operation.results[0] for operation in graph.operations)
    assert conv.number != relu.number
    assert conv.memory == relu.memory


@pytest.mark.parametrize("wrap", [tuple, list, lambda given: {"a": given[0], "b": {"c": given[1]}}])
def test_outputs_are_found_in_whatever_is_returned(wrap):
    graph = trace(Forward(lambda self, x: wrap([x + 1, x[:, :1]])), (1, 2, 4, 4))
    assert [value.shape for value in graph.outputs] == [(1, 2, 4, 4), (1, 1, 4, 4)]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a network may return."""

    main: torch.Tensor
    aside: list[torch.Tensor]


def test_outputs_are_found_in_the_fields_of_a_dataclass():
    graph = trace(Forward(lambda self, x: {"a": Answer(x + 1, [x[:, :1]])}), (1, 2, 4))
    assert [value.shape for value in graph.outputs] == [(1, 2, 4), (1, 1, 4)]


def test_embeddings_are_given_whole_numbers():
    text = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3))
    assert trace(text, (2, 7)).outputs[0].shape == (2, 7, 3)
    assert trace(nn.EmbeddingBag(10, 4), (2, 7)).outputs[0].shape == (2, 4)
    positions = Forward(
        lambda self, x: x + self.table(torch.arange(x.shape[-2])), table=nn.Embedding(9, 4)
    )
    assert trace(positions, (2, 7, 4)).inputs[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("forward", "shape"),
    [
        (lambda self, x: torch.stft(x, 8, window=self.window, return_complex=True), (2, 32)),
        (lambda self, x: x.stft(8, window=self.window, return_complex=True).abs(), (2, 32)),
        (lambda self, x: torch.cdist(x, self.codes), (5, 4)),
        (lambda self, x: torch.inner(x, self.codes), (5, 4)),
        (lambda self, x: torch.linalg.multi_dot([x, self.codes.T, self.codes]), (5, 4)),
    ],
)
def test_constants_may_stand_beside_the_input_in_any_function(forward, shape):
    model = Forward(forward)
    model.register_buffer("window", torch.hann_window(8))
    model.codes = nn.Parameter(torch.rand(3, 4))
    assert trace(model, shape).outputs[0].shape == tuple(model(torch.rand(shape)).shape)


def test_an_error_that_only_names_something_meta_is_no_decision():
    def forward(self, x):
        raise ValueError("MetaFormer wants meta information of 8 x 8")

    with pytest.raises(ShapeError, match="MetaFormer wants meta"):
        trace(Forward(forward), (1, 1, 4, 4))


def test_several_inputs_have_several_shapes():
    model = Forward(lambda self, x: x)
    model.forward = lambda x, y: x.mean((2, 3)) + y
    graph = trace(model, [(1, 3, 4, 4), (1, 3)])
    assert len(graph.inputs) == 2
    assert graph.outputs[0].shape == (1, 3)


def test_decisions_by_constants_are_followed():
    def forward(self, x):
        if self.switch.item() > 0:
            return x * 2
        return x.mean((2, 3))

    model = Forward(forward)
    model.register_buffer("switch", torch.ones(()))
    assert [op.name for op in trace(model, (1, 1, 4, 4)).operations] == ["mul"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: x * 2 if x.sum() > 0 else x,
        lambda self, x: x * x.mean().item(),
        lambda self, x: x[x > 0],
        lambda self, x: torch.nonzero(x),
        lambda self, x: torch.from_numpy(x.numpy()),
    ],
)
def test_decisions_by_the_inputs_values_are_refused(forward):
    model = nn.Sequential(nn.Conv2d(1, 1, 1), Forward(forward))
    with pytest.raises(
        OptionError, match=r"Sequential decides by the values of its input \(in 1\)"
    ):
        trace(model, (1, 1, 4, 4))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 4, 8, 8), r"in 0\).*whole shape"),
        ((1, 3, 1, 1), r"in 0\).*whole shape"),
        ((3,), r"in 0\)"),
        ((), "sizes of the whole input"),
        ((1, 3, 0, 8), "sizes of the whole input"),
        ((1, 3, 8.0, 8), "sizes of the whole input"),
        (8, "sizes of the whole input"),
        ("1388", "sizes of the whole input"),
        (None, "sizes of the whole input"),
    ],
)
def test_a_wrong_shape_is_told(shape, words):
    with pytest.raises(ShapeError, match=words):
        trace(nn.Sequential(nn.Conv2d(3, 4, 3)), shape)


def test_scripted_and_lazy_modules_are_refused():
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = nn.Sequential(torch.jit.script(nn.Sequential(nn.Conv2d(1, 1, 1))))
    with pytest.raises(OptionError, match="scripted module"):
        trace(scripted, (1, 1, 4, 4))
    with pytest.raises(OptionError, match="lazy layers"):
        trace(nn.LazyConv2d(3, 3), (1, 1, 4, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_and_compiled_models_are_their_originals():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    expected = [op.name for op in trace(model, (1, 3, 8, 8)).operations]
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        assert [op.name for op in trace(wrapped, (1, 3, 8, 8)).operations] == expected


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 4, 8, 8)])
@pytest.mark.parametrize("training", [False, True])
def test_nothing_changes_also_when_it_fails(shape, training):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
    model[1].eval()
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    before, state = copy.deepcopy(model), torch.get_rng_state()
    if shape[1] == 3:
        assert trace(model, shape, training=training).outputs
    else:
        with pytest.raises(ShapeError):
            trace(model, shape, training=training)
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    for one, other in zip(model.state_dict().values(), before.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(one.grad, other)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def narrow(layers):
    """Layers within autocast, with numbers of the type that it had inside."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layers(x)

    return Forward(forward, layers=layers)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (2, 3, 8, 8)),
        (nn.Sequential(nn.ConvTranspose1d(3, 4, 3), nn.GELU(), nn.Linear(10, 3)), (2, 3, 8)),
        (nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4), nn.Softmax(-1)), (2, 3, 8)),
        (Forward(lambda self, x: self.mix(x, x, x)[0], mix=nn.MultiheadAttention(8, 2)), (2, 3, 8)),
        (nn.Sequential(nn.Conv3d(1, 4, 3), nn.AvgPool3d(2)), (2, 1, 8, 8, 8)),
        (Forward(lambda self, x: self.rnn(x)[0], rnn=nn.LSTM(8, 4)), (2, 3, 8)),
        (Forward(lambda self, x: x @ x.mT + x.double() @ x.mT.double()), (2, 3, 8)),
    ],
)
def test_types_within_autocast_are_those_of_a_run(layers, shape, device):
    model = narrow(copy.deepcopy(layers)).eval()
    with torch.no_grad():
        expected = model(torch.ones(shape))
    output = trace(model.to(device), shape).outputs[0]
    assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
    assert not torch.is_autocast_enabled("cpu")


def test_where_autocast_is_switched_off_numbers_keep_their_type():
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.one(x)
            with torch.autocast("cpu", enabled=False):
                return self.other(x.float())

    model = Forward(forward, one=nn.Linear(3, 3), other=nn.Linear(3, 3))
    products = [op for op in trace(model, (2, 3)).operations if op.name == "addmm"]
    assert [op.results[0].dtype for op in products] == [torch.bfloat16, torch.float32]


def test_what_a_models_own_hooks_do_is_in_their_module():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model[0].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    model[0].register_forward_hook(lambda module, args, given: given[:, :2])
    graph = trace(model, (2, 3))
    call = graph.calls[0]
    inside = graph.operations[call.start : call.stop]
    assert call.results[0].shape == (2, 2)
    assert inside[0].name == "add"
    assert inside[-1].name == "slice"
    assert {op.layer for op in inside} == {"0"}


@pytest.mark.parametrize("shape", [(2, 3), (2, 4)])
def test_nothing_is_held_and_nothing_hooked_afterwards(shape):
    model = nn.Sequential(nn.Linear(3, 3))
    seen = weakref.ref(model[0].weight)
    try:
        trace(model, shape)
    except ShapeError as error:
        assert shape == (2, 4)
        error.__traceback__ = error.__cause__ = error.__context__ = None
    assert gc.isenabled()
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks
    del model
    assert seen() is None


@pytest.mark.filterwarnings("ignore:.*quant.*")
def test_quantised_networks_are_refused_in_words():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear})
    with pytest.raises(OptionError, match=r"\(in 1\) whose shapes .* before it was converted\.$"):
        trace(quantised, (1, 3, 2, 2))
