import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from convarium import layers
from convarium.errors import OptionError


def test_the_norm_ends_the_branch_before_the_addition_and_only_the_relu_follows():
    torch.manual_seed(0)
    block = layers.BasicBlock(2, 4, 4).eval()
    torch.nn.init.constant_(block.norm2.weight, 3.0)
    torch.nn.init.constant_(block.norm2.bias, 0.5)
    x = torch.randn(2, 4, 6, 6)
    y = block.conv2(F.relu(block.norm1(block.conv1(x))))
    torch.testing.assert_close(block(x), F.relu(block.norm2(y) + x))
    assert (block(x) - F.relu(block.norm2(y + x))).abs().max() > 0.1


def test_the_bottleneck_has_the_weights_of_the_paper():
    block = layers.BottleneckBlock(2, 256, 256, inner_channels=64)
    assert sum(p.numel() for p in block.parameters()) == 70_400


@pytest.mark.parametrize(("stride_in", "strides"), [("3x3", (1, 2)), ("1x1", (2, 1))])
@pytest.mark.parametrize("cls", [layers.BottleneckBlock, layers.PreActBottleneckBlock])
def test_v1_5_and_the_2015_form_put_the_stride_where_they_say(cls, stride_in, strides):
    block = cls(2, 16, 32, inner_channels=8, stride=2, stride_in=stride_in)
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
    assert block(torch.randn(2, 16, 7, 7)).shape == (2, 32, 4, 4)


@given(rank=st.integers(1, 3), size=st.integers(1, 9), stride=st.integers(1, 3))
def test_the_pad_shortcut_subsamples_and_adds_zeros(rank, size, stride):
    shortcut = layers.PadShortcut(rank, 3, 5, stride)
    x = torch.randn(2, 3, *[size] * rank)
    y = shortcut(x)
    every = (..., *[slice(None, None, stride)] * rank)
    assert torch.equal(y[:, :3], x[every])
    assert not y[:, 3:].any()
    assert list(shortcut.parameters()) == []


@given(
    rank=st.integers(1, 2),
    size=st.integers(2, 8),
    stride=st.integers(1, 2),
    widths=st.sampled_from([(8, 8), (8, 16)]),
    shortcut=st.sampled_from(["projection", "pad", "none"]),
    kind=st.sampled_from(["basic", "bottleneck", "pre-basic", "pre-bottleneck"]),
    norm=st.sampled_from(["batch", "group", "layer", "none"]),
)
def test_every_block_divides_the_size_by_its_stride(
    rank, size, stride, widths, shortcut, kind, norm
):
    cls = {
        "basic": layers.BasicBlock,
        "bottleneck": layers.BottleneckBlock,
        "pre-basic": layers.PreActBasicBlock,
        "pre-bottleneck": layers.PreActBottleneckBlock,
    }[kind]
    inner = {"inner_channels": 4, "groups": 2} if "bottleneck" in kind else {}
    block = cls(rank, *widths, stride=stride, shortcut=shortcut, norm=norm, **inner)
    y = block(torch.randn(2, widths[0], *[size] * rank))
    assert tuple(y.shape) == (2, widths[1], *[-(-size // stride)] * rank)


@pytest.mark.parametrize("shared", [True, False])
def test_the_pre_activated_shortcut_is_clean_except_in_the_first_block(shared):
    torch.manual_seed(0)
    block = layers.PreActBasicBlock(2, 4, 4, shared=shared)
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    expected = F.relu(F.batch_norm(x, None, None, training=True)) if shared else x
    torch.testing.assert_close(block(x), expected)


def test_a_plain_block_has_no_way_around():
    block = layers.BasicBlock(2, 4, 4, shortcut="none")
    torch.nn.init.zeros_(block.norm2.weight)
    assert not block(torch.randn(2, 4, 6, 6)).any()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_block_overwrites_a_map_that_a_hook_holds(rank):
    torch.manual_seed(0)
    block = layers.BottleneckBlock(rank, 8, 8, inner_channels=4)
    held = []

    def keep(module, inputs, output):
        held.append((output, output.detach().clone()))

    for child in block.children():
        child.register_forward_hook(keep)
    block(torch.randn(2, 8, *[4] * rank))
    assert len(held) == 10
    assert all(torch.equal(output, copy) for output, copy in held)


def test_the_pad_shortcut_drops_no_channels():
    with pytest.raises(
        OptionError, match=r"shortcut \(='pad'\) .* from 64 to 32; use 'projection'"
    ):
        layers.PadShortcut(2, 64, 32, stride=2)
    with pytest.raises(OptionError, match=r"shortcut \(='pad'\)"):
        layers.BasicBlock(2, 8, 4, shortcut="pad")
    layers.BasicBlock(2, 8, 4, shortcut="projection")


KINDS = {
    "basic": (layers.BasicBlock, {}),
    "bottleneck": (layers.BottleneckBlock, {"inner_channels": 4}),
    "2015": (layers.BottleneckBlock, {"inner_channels": 4, "stride_in": "1x1"}),
    "pre basic": (layers.PreActBasicBlock, {}),
    "pre bottleneck": (layers.PreActBottleneckBlock, {"inner_channels": 4}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_drop_path_leaves_out_the_branch_of_some_samples_and_doubles_the_others(kind):
    torch.manual_seed(0)
    cls, options = KINDS[kind]
    block = cls(2, 6, 6, drop_path=0.5, **options).double()
    whole = cls(2, 6, 6, **options).double()
    whole.load_state_dict(block.state_dict())  # the same keys
    x = torch.rand(32, 6, 4, 4, dtype=torch.float64) + 10  # so that the last ReLU passes all
    branch = whole(x) - x
    y = block(x) - x
    kept = y.flatten(1).abs().amax(1) > 1e-9
    assert 4 < kept.sum() < 28
    torch.testing.assert_close(y[kept], 2 * branch[kept])
    torch.testing.assert_close(block.eval()(x), whole.eval()(x))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("shortcut", ["projection", "pad"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dilated_block_finds_the_strided_map_at_every_second_place(kind, shortcut, rank):
    torch.manual_seed(0)
    cls, options = KINDS[kind]
    options = {**options, "shortcut": shortcut}
    strided = cls(rank, 6, 6, stride=2, **options).eval()
    dense = cls(rank, 6, 6, dilation=(1, 2), **options).eval()
    dense.load_state_dict(strided.state_dict())
    x = torch.randn(2, 6, *[9, 8][:rank])
    every = (..., *[slice(None, None, 2)] * rank)
    torch.testing.assert_close(dense(x)[every], strided(x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_blurred_block_halves_the_map_once_behind_a_relu(kind):
    torch.manual_seed(0)
    cls, options = KINDS[kind]
    block = cls(2, 6, 6, stride=2, blur=True, **options).eval()
    pools = [m for m in block.modules() if isinstance(m, layers.BlurPool)]
    assert len(pools) == 1
    seen = []
    pools[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    assert block(torch.randn(2, 6, 8, 8)).shape == (2, 6, 4, 4)
    assert seen[0].shape[2:] == (8, 8)
    assert (seen[0] >= 0).all()  # it stands behind a ReLU


def test_an_unknown_shortcut_is_an_error():
    with pytest.raises(OptionError, match=r"shortcut \(='zeros'\) must be one of projection, pad"):
        layers.BasicBlock(2, 16, 32, shortcut="zeros")
