from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.errors import OptionError
from convarium.models import create, options


class Specimen:
    def __init__(
        self,
        *,
        width: int,
        rate: float = 0.5,
        flag: bool = False,
        sizes: Sequence[int] | int = (3, 5),
        kind: Literal["sum", "mean"] = "sum",
        label: str | None = None,
    ) -> None: ...


def test_the_configuration_is_every_keyword_as_json_has_it():
    assert options.complete(Specimen, {"width": 4, "label": "a"}) == {
        "width": 4,
        "rate": 0.5,
        "flag": False,
        "sizes": [3, 5],
        "kind": "sum",
        "label": "a",
    }


def test_an_unknown_option_is_an_error_with_the_close_match():
    with pytest.raises(OptionError, match=r"no option 'wdith'. Did you mean 'width'"):
        options.complete(Specimen, {"wdith": 4})
    with pytest.raises(OptionError, match=r"It takes: width, rate, flag, sizes, kind, label"):
        options.complete(Specimen, {"zzz": 4})


@pytest.mark.parametrize(
    ("given_options", "sentence"),
    [
        ({"width": 4.0}, r"width \(=4.0\) must be a whole number"),
        ({"width": True}, r"width \(=True\) must be a whole number"),
        ({"rate": "half"}, r"rate \(='half'\) must be a number"),
        ({"flag": 1}, r"flag \(=1\) must be true or false"),
        ({"sizes": [3, "5"]}, r"sizes .* must be a list of whole numbers or a whole number"),
        ({"sizes": None}, r"sizes \(=None\) must be"),
        ({"kind": "means"}, r"must be one of 'sum', 'mean'. Did you mean 'mean'"),
        ({"label": 3}, r"must be a text or left out"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_is_allowed(given_options, sentence):
    with pytest.raises(OptionError, match=sentence):
        options.complete(Specimen, {"width": 1} | given_options)


@given(
    width=st.integers(),
    rate=st.floats(allow_nan=False) | st.integers(),
    sizes=st.lists(st.integers()) | st.tuples(st.integers()) | st.integers(),
)
def test_values_of_the_right_kind_are_kept(width, rate, sizes):
    found = options.complete(Specimen, {"width": width, "rate": rate, "sizes": sizes})
    expected = list(sizes) if isinstance(sizes, tuple) else sizes
    assert (found["width"], found["rate"], found["sizes"]) == (width, rate, expected)


def test_closed_lists_of_values_are_known():
    assert options.choices(Specimen) == {"kind": ["sum", "mean"]}


def test_ranges_and_lengths_name_the_option():
    with pytest.raises(OptionError, match=r"depths \(=\[1, 0\]\) must be 1 or more"):
        options.at_least(1, depths=[1, 0])
    with pytest.raises(OptionError, match=r"depths \(=\[\]\) must have at least one entry"):
        options.at_least(1, depths=[])
    with pytest.raises(OptionError, match=r"dropout \(=1.0\) must be at least 0 and below 1"):
        options.probability(dropout=1.0)
    with pytest.raises(OptionError, match=r"a \(=\[1\], 1 long\) and b \(=\[1, 2\], 2 long\)"):
        options.equal_lengths(a=[1], b=[1, 2])


def test_a_number_that_no_memory_holds_names_the_option():
    with pytest.raises(OptionError, match=r"classes \(=1180591620717411303424\) must be below"):
        options.at_least(0, classes=2**70)


def test_more_blocks_than_anybody_builds_name_the_option():
    options.block_counts(depths=[1000, 1000])
    with pytest.raises(OptionError, match=r"depths .* a sum of 2000 or less, not 2001"):
        options.block_counts(depths=[1000, 1001])
    with pytest.raises(OptionError, match=r"depths \(=\[0, 1\]\) must be 1 or more"):
        options.block_counts(depths=[0, 1])


@pytest.mark.parametrize(
    ("name", "options_given"),
    [
        ("resnet18", {"depths": [10**9, 1, 1, 1]}),
        ("vgg11", {"depths": [10**9, 1, 1, 1, 1]}),
        ("densenet121", {"depths": [10**9, 1, 1, 1]}),
        ("convnext_tiny", {"depths": [10**9, 1, 1, 1]}),
        ("squeezenet1_1", {"depths": [10**9, 1, 1]}),
        ("efficientnet_b0", {"depths": [1, 10**9, 1, 1, 1, 1, 1]}),
        ("efficientnet_v2_l", {"depth_multiplier": 100.0}),
    ],
)
def test_every_family_refuses_absurd_depths_at_once(name, options_given):
    with pytest.raises(OptionError, match="a sum of 2000 or less"):
        create(name, **options_given)
