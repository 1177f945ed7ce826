"""What holds for every method: one call shape, no trace, batches as singles, every kind of net."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain import Attribution

Method = Callable[..., Attribution]

Nets = Callable[..., nn.Sequential]
Small = Callable[..., tuple[nn.Sequential, Tensor]]


@pytest.fixture
def small(conv_gap_linear: Nets) -> Small:
    """Makes a net and a batch."""

    def make(rank: int = 2, batch: int = 3) -> tuple[nn.Sequential, Tensor]:
        network = conv_gap_linear(rank)
        return network, torch.randn(batch, 2, *(5, 4, 3)[:rank], dtype=torch.float64)

    return make


def close(heat: Attribution, other: Attribution, tolerance: float = 1e-6) -> bool:
    """Within a share of the largest value."""
    largest = other.values.abs().max()
    return bool((heat.values - other.values).abs().max() <= tolerance * largest)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_result_names_what_it_is_in_every_rank(method: Method, small: Small, rank: int) -> None:
    network, x = small(rank)
    heat = method(network, x, target=[0, 1, 2])
    assert heat.values.shape == (3, *x.shape[2:])
    assert heat.values.dtype == torch.float32
    assert heat.input_size == tuple(x.shape[2:])
    assert heat.method == method.__name__
    assert heat.layer == (
        "1" if method.__name__.endswith("_cam") or "plus" in method.__name__ else "input"
    )
    assert heat.target == (0, 1, 2)
    assert len(heat.status) == 3
    assert heat.note == ""
    assert heat.values.abs().max() > 0
    if method.__name__ != "finer_cam":
        torch.testing.assert_close(heat.logit, network(x)[range(3), range(3)].float())
    if heat.channels is not None:
        assert heat.channels.shape == x.shape
        torch.testing.assert_close(heat.channels.sum(1), heat.values)


def test_batches_equal_singles_each_with_its_own_target(method: Method, small: Small) -> None:
    network, x = small(batch=3)
    together = method(network, x, target=[2, 0, 1])
    for row, target in enumerate([2, 0, 1]):
        alone = method(network, x[row : row + 1], target=target)
        torch.testing.assert_close(together.values[row], alone.values[0], rtol=1e-5, atol=1e-9)
        assert together.status[row] == alone.status[0]


def test_frozen_and_callers_without_gradients_get_the_same_map(
    method: Method, small: Small
) -> None:
    network, x = small()
    expected = method(network, x, target=1)
    assert torch.equal(method(network.requires_grad_(False), x, target=1).values, expected.values)
    with torch.no_grad():
        assert torch.equal(method(network, x, target=1).values, expected.values)
    with torch.inference_mode():
        inside = method(network, x.clone(), target=1).values
    assert torch.equal(inside, expected.values)
    assert not inside.is_inference()


def test_narrow_numbers_and_autocast_give_the_map_within_their_precision(
    method: Method, small: Small
) -> None:
    network, x = small()
    network, x = network.float(), x.float()
    expected = method(network, x, target=1)
    with torch.autocast("cpu", torch.bfloat16):
        cast = method(network, x, target=1)
    narrow = method(network.bfloat16(), x.bfloat16(), target=1)
    # the changes that occlusion looks at are smaller than the scores themselves
    tolerance = 0.4 if method.__name__ == "occlusion" else 0.08
    for heat in (cast, narrow):
        assert heat.values.dtype == torch.float32
        assert close(heat, expected, tolerance)


class Answering(nn.Module):
    """Takes two inputs and answers with a dictionary."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, shift: Tensor) -> dict[str, Any]:
        return {"about": "logits", "logits": self.body(x + shift.reshape(-1, 1, 1, 1))}


def test_several_inputs_and_other_outputs(method: Method, small: Small) -> None:
    body, x = small()
    model = Answering(body)
    shift = torch.zeros(3, dtype=torch.float64)
    expected = method(model.body, x, target=1)
    by_forward = method(model, (x, shift), target=1, forward=lambda a, b: model(a, b)["logits"])
    assert torch.equal(by_forward.values, expected.values)
    assert by_forward.target == (1, 1, 1)
    if method.__name__ == "finer_cam":
        return
    by_target = method(model, (x, shift), target=lambda out: out["logits"][range(3), 1])
    assert torch.equal(by_target.values, expected.values)
    assert by_target.target is None
    with pytest.raises(ShapeError, match="returns a dict, not logits"):
        method(model, (x, shift))


def test_wrappers_use_the_original_and_say_so(method: Method, small: Small) -> None:
    network, x = small()
    expected = method(network, x, target=1)
    for wrapped in (nn.DataParallel(network), torch.compile(network, backend="eager")):
        heat = method(wrapped, x, target=1)
        assert torch.equal(heat.values, expected.values)
        assert heat.note == "The original of the wrapped or compiled model was used."
        called = method(wrapped, x, target=1, forward=lambda z, run=wrapped: run(z))
        assert torch.equal(called.values, expected.values)
        assert "forward" not in vars(wrapped) or not isinstance(wrapped, nn.DataParallel)


def test_a_class_that_is_not_there_is_refused(method: Method, small: Small) -> None:
    network, x = small()
    for target in (3, -1, [0, 1, 7]):
        with pytest.raises(OptionError, match=r"target \(=-?\d\) must be from 0 to 2"):
            method(network, x, target=target)
    with pytest.raises(OptionError, match="2 classes for 3 samples"):
        method(network, x, target=[0, 1])


def test_what_is_no_image_is_refused_in_a_sentence(method: Method, small: Small) -> None:
    network, x = small()
    for wrong in ("cat.png", [1.0], x.numpy(), (x, "cat.png"), ()):
        with pytest.raises(OptionError, match="must be a tensor"):
            method(network, wrong)
    with pytest.raises(ShapeError, match=r"torch.uint8, not floating-point numbers"):
        method(network, x.byte())
    with pytest.raises(ShapeError, match="does not take an input of shape"):
        method(network, x[:, :1])
    with pytest.raises(ShapeError, match="must be a batch"):
        method(network, x[0, 0, 0])
    with pytest.raises(ShapeError, match="none of its axes may be empty"):
        method(network, x[:0])
    with pytest.raises(ShapeError, match="same batch axis"):
        method(network, (x, x[:1]))


def test_scripted_and_quantised_models_are_refused_in_a_sentence(
    method: Method, small: Small
) -> None:
    network, x = small()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against scripts
        scripted = torch.jit.trace(network, x)
    with pytest.raises(OptionError, match="is a scripted module"):
        method(scripted, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as of quantised tensors
        network[4] = torch.ao.nn.quantized.Linear(5, 3)
    with pytest.raises(OptionError, match="4 is a quantised module"):
        method(network, x)


def test_nan_in_a_sample_stays_there(method: Method, small: Small) -> None:
    network, x = small()
    x[1, 0, 2, 2] = torch.nan
    heat = method(network, x, target=1)
    alone = method(network, x[[0, 2]], target=1)
    assert heat.status[1] == "not finite"
    torch.testing.assert_close(heat.values[[0, 2]], alone.values, rtol=1e-5, atol=1e-9)


def test_methods_at_the_input_take_no_layer(input_method: Method, small: Small) -> None:
    network, x = small()
    with pytest.raises(OptionError, match="explains the input; leave it out"):
        input_method(network, x, layer="1")


def test_an_activation_in_place_behind_the_layer_changes_nothing(
    layer_method: Method, small: Small
) -> None:
    plain, in_place = small()[0], small()[0]
    in_place[1] = nn.ReLU(inplace=True)
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    expected = layer_method(plain, x, target=1, layer="0")
    assert (plain[0](x) < 0).any()
    assert torch.equal(layer_method(in_place, x, target=1, layer="0").values, expected.values)


NOT_FOR_TOKENS = (
    *("score_cam", "input_gradients", "smooth_grad", "integrated_gradients"),
    "guided_backpropagation",
)


class Tokens(nn.Module):
    """Token ids, an embedding, a convolution over time."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.body = body.float()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body(self.embedding(tokens).mT)


def test_token_ids_are_explained_or_refused_in_a_sentence(
    method: Method, conv_gap_linear: Nets
) -> None:
    ids = torch.randint(0, 9, (2, 7))
    model = Tokens(conv_gap_linear(1, channels=4))
    if method.__name__ in NOT_FOR_TOKENS:
        with pytest.raises(OptionError, match="x holds token ids"):
            method(model, ids)
        return
    heat = method(model, ids)
    assert heat.values.shape == (2, 7)
    assert heat.layer in ("body.1", "input")
