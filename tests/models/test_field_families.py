"""SRCNN, ESPCN, EDSR and the U-Net against their papers: sizes, layers in plain torch, fields."""

import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.errors import OptionError
from convarium.measure import cost, receptive_field


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_srcnn_has_the_papers_size_and_layers():
    torch.manual_seed(0)
    model = models.create("srcnn", factor=3)
    convolutions = 9 * 9 * 64 + 64 * 32 + 5 * 5 * 32  # 8,032 in section 4.1
    assert parameters(model) == convolutions + 64 + 32 + 1
    reference = nn.Sequential(
        nn.Upsample(scale_factor=3, mode="bicubic"),
        nn.Conv2d(1, 64, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 5, padding=2),
    )
    reference.load_state_dict(dict(zip(reference.state_dict(), model.parameters(), strict=True)))
    x = model.example_input(2, size=10)
    torch.testing.assert_close(model(x), reference(x))


def test_espcn_has_the_papers_layers():
    torch.manual_seed(0)
    model = models.create("espcn", factor=3)
    reference = nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 9, 3, padding=1),
        nn.PixelShuffle(3),
    )
    reference.load_state_dict(dict(zip(reference.state_dict(), model.parameters(), strict=True)))
    x = model.example_input(2, size=10)
    torch.testing.assert_close(model(x), reference(x))


@pytest.mark.parametrize(
    ("name", "factor", "published"),
    [
        ("edsr_baseline", 2, 1_369_859),  # the authors' models, without their two mean shifts
        ("edsr_baseline", 3, 1_554_499),
        ("edsr_baseline", 4, 1_517_571),
        ("edsr", 2, 40_729_603),
        ("edsr", 4, 43_089_923),
    ],
)
def test_edsr_has_the_published_size_for_pictures(name, factor, published):
    with torch.device("meta"):
        model = models.create(name, in_channels=3, out_channels=3, factor=factor)
    assert parameters(model) == published


def test_edsr_adds_scaled_branches_around_which_the_first_map_passes():
    torch.manual_seed(0)
    model = models.create("edsr_small", depth=2, width=5, branch_scale=0.1, start="none").double()
    x = model.example_input(2, size=9)
    stem, group = model.stem, model.stage1
    y = first = stem(x)
    for block in group.blocks:
        y = y + 0.1 * block.conv2(block.conv1(y).relu())
    y = first + group.conv(y)
    for conv in (m for m in model.neck if isinstance(m, nn.Conv2d)):
        y = nn.functional.pixel_shuffle(conv(y), 2)
    torch.testing.assert_close(model(x), model.head(y))


def test_resized_upsampling_costs_what_its_convolutions_cost():
    shuffled, resized = (
        models.create("espcn", upsampling=kind, factor=2) for kind in ("shuffle", "resize")
    )
    assert parameters(shuffled) - parameters(resized) == 3 * (9 * 32 + 1)
    macs = [cost(model, (1, 1, 8, 8)).macs for model in (shuffled, resized)]
    assert macs[0] == macs[1]  # one filter at four times as many places


def test_the_unet_reads_each_level_again_on_the_way_up():
    torch.manual_seed(0)
    model = models.create("unet", widths=[3, 5, 7], factor=2, start="none").double()
    x = model.example_input(2, size=12)
    one, two, three = model.features(x)
    assert [tuple(y.shape[1:]) for y in (one, two, three)] == [(3, 12, 12), (5, 6, 6), (7, 3, 3)]

    def up(y, conv, level, beside):
        larger = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return level(torch.cat([beside, conv(larger)], 1))

    way = model.neck
    y = up(three, way.smaller[0], way.levels[0], two)
    y = up(y, way.smaller[1], way.levels[1], one)
    torch.testing.assert_close(model(x), model.head(way.steps(y)))


def test_a_deeper_unet_sees_more_for_little_work():
    shallow, deep = (
        models.create("unet", widths=widths, factor=2, start="none") for widths in ([8], [8, 8, 8])
    )
    fields = [receptive_field(model, (1, 1, 64, 64)).size[0] for model in (shallow, deep)]
    macs = [cost(model, (1, 1, 64, 64)).macs for model in (shallow, deep)]
    assert fields[1] > 2 * fields[0]
    assert macs[1] < 2 * macs[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("srcnn", {"channels": [8]}),
        ("espcn", {"kernel_sizes": [5, 3]}),
        ("edsr", {"depth": 0}),
        ("unet", {"widths": []}),
    ],
)
def test_lists_that_do_not_fit_are_refused(name, options):
    with pytest.raises(OptionError, match=r"must (have|be)"):
        models.create(name, **options)
