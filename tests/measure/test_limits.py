"""Words on a limit that is missed."""

import pytest

from convarium.measure.limits import Miss


@pytest.mark.parametrize(
    ("found", "allowed", "words"),
    [
        (150, 100, "50 % more"),
        (50, 100, "50 % less"),
        (100.3, 100, "0.3 % more"),
        (1200, 100, "12 times as much"),
        (16, 100_000, "6,250 times less"),
    ],
)
def test_a_miss_says_by_how_much(found, allowed, words):
    ratio = max(found / allowed, allowed / found)
    assert Miss("min_field", allowed, found, ratio).words().endswith(f"({words})")
