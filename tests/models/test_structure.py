"""Parts of a network: closed forms, the maps of a real run, and no trace left."""

import pytest
import torch

from convarium.errors import ShapeError
from convarium.models import create
from convarium.models.structure import Part, measure


def test_lenet_by_hand():
    # LeCun et al. 1998, figure 2: C1, S2, C3, S4, C5, F6 and the output layer.
    assert measure(create("lenet5"), (1, 32, 32)) == [
        Part("input", (1, 32, 32), 0, False),
        Part("stage1", (6, 14, 14), 6 * 25 + 6, True),
        Part("stage2", (16, 5, 5), 16 * 6 * 25 + 16, True),
        Part("neck", (84,), 400 * 120 + 120 + 120 * 84 + 84, False),
        Part("head", (10,), 84 * 10 + 10, False),
    ]


@pytest.mark.parametrize("name", ["resnetv2_110_cifar", "densenet_40_12", "mobilenet_v2"])
def test_shapes_are_those_of_the_maps(name):
    network = create(name, num_classes=3).eval()
    shape = (3, 40, 56)
    parts = {part.name: part.shape for part in measure(network, shape)}
    with torch.no_grad():
        maps = network.features(torch.zeros(1, *shape))
        last = network.forward_features(torch.zeros(1, *shape))
    for stage, y in zip(network.stages, maps, strict=True):
        assert parts[stage.name] == tuple(y.shape[1:])
    assert parts["final"] == tuple(last.shape[1:])
    assert parts["head"] == (3,)


def test_volumes_and_signals():
    volumes = measure(create("convnet", spatial_dims=3), (3, 8, 16, 24))
    assert [part.shape for part in volumes][1:] == [
        (16, 4, 8, 12), (32, 2, 4, 6), (64, 2, 4, 6), (10,),
    ]  # fmt: skip
    signals = measure(create("convnet", spatial_dims=1, num_classes=0), (3, 100))
    assert [part.shape for part in signals][1:] == [(64, 50), (128, 25), (256, 25), (256,)]


def test_measuring_leaves_network_and_random_state_alone():
    network = create("resnet20_cifar")
    network.freeze("layer1")
    state = torch.get_rng_state()
    parts = measure(network, (3, 32, 32))
    assert sum(part.parameters for part in parts) == 269_722  # frozen ones too
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert not network.layer1.training
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 32, 32), r"takes \(B, 3, H, W\)"),
        ((3, 32), r"takes \(B, 3, H, W\)"),
        ((3, 2, 2), "too small for convnet"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, words):
    with pytest.raises(ShapeError, match=words):
        measure(create("convnet"), shape)
