"""Random streams against the published generator, and what must not change a sample's number."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import timeit
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium import seeds

MASK = (1 << 64) - 1
IDS = st.lists(st.integers(0, 2**62), min_size=1, max_size=20)
KEYS = st.lists(st.integers() | st.text("abc_", max_size=6), min_size=1, max_size=4)


def splitmix64(state: int, count: int) -> list[int]:
    """The generator of Steele, Lea and Flood (2014), in Python's own integers."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_reference_generator_gives_its_published_numbers() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(1234567, 3) == published


def test_sample_numbers_are_those_of_splitmix64() -> None:
    stream = splitmix64(seeds.derive(5, "crop", 2) - 0x9E3779B97F4A7C15, 1)[0]
    expected = [(bits >> 11) / 2**53 for bits in splitmix64(stream, 100)]
    assert seeds.uniform(np.arange(100), 5, "crop", 2).tolist() == expected


@given(ids=IDS, keys=KEYS)
def test_a_samples_number_does_not_depend_on_its_neighbours(
    ids: list[int], keys: list[int | str]
) -> None:
    together = seeds.uniform(np.array(ids, dtype=np.int64), *keys)
    alone = [seeds.uniform(np.array([one], dtype=np.int64), *keys)[0] for one in ids]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < 1)).all()


def test_numbers_are_uniform_and_streams_are_independent() -> None:
    n = 200_000
    one, two = (seeds.uniform(np.arange(n), 0, "flip", epoch) for epoch in (0, 1))
    counts = np.bincount((one * 100).astype(int), minlength=100)
    chi_square = float(((counts - n / 100) ** 2 / (n / 100)).sum())
    assert chi_square < 149  # the 0.999 quantile with 99 degrees of freedom is 148.2
    for left, right in ((one, two), (one[:-1], one[1:])):
        assert abs(np.corrcoef(left, right)[0, 1]) < 4 / np.sqrt(n)


@given(one=KEYS, two=KEYS)
def test_different_keys_give_different_seeds_of_63_bits(
    one: list[int | str], two: list[int | str]
) -> None:
    assert (seeds.derive(*one) == seeds.derive(*two)) == (one == two)
    assert 0 <= seeds.derive(*one) < 2**63


def test_a_number_and_its_digits_are_different_keys() -> None:
    assert seeds.derive(1) != seeds.derive("1")
    assert seeds.derive(1, 2) != seeds.derive(12)


def test_a_seed_is_the_same_on_every_machine() -> None:
    digest = hashlib.blake2b(b"int:0\x1fstr:order\x1fint:1", digest_size=8).digest()
    assert seeds.derive(0, "order", 1) == int.from_bytes(digest, "little") // 2
    assert seeds.permutation(8, 0, "order", 1).tolist() == [2, 1, 6, 4, 5, 0, 7, 3]


def test_another_process_with_another_hash_seed_draws_the_same(root: Path) -> None:
    code = "from convarium import seeds; print(seeds.derive(3, 'x'), seeds.permutation(5, 'p'))"
    environment = dict(os.environ, PYTHONPATH=str(root / "src"), PYTHONHASHSEED="123")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == f"{seeds.derive(3, 'x')} {seeds.permutation(5, 'p')}"


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_holds_every_number_once(n: int) -> None:
    drawn = seeds.permutation(n, 0, "order", 0)
    assert drawn.dtype == np.int64
    assert sorted(drawn.tolist()) == list(range(n))


def test_two_epochs_have_different_orders() -> None:
    orders = [seeds.permutation(1000, 0, "order", epoch) for epoch in (0, 1)]
    assert float((orders[0] == orders[1]).mean()) < 0.02


def test_torch_draws_what_manual_seed_of_the_derived_seed_draws() -> None:
    state = torch.get_rng_state()
    torch.manual_seed(seeds.derive(0, "dropout", 3))
    expected = torch.rand(4)
    seeds.torch_seed(torch.device("cpu"), 0, "dropout", 3)
    assert torch.equal(torch.rand(4), expected)
    torch.set_rng_state(state)


def test_seeding_a_step_is_cheap_enough_for_every_step() -> None:
    state = torch.get_rng_state()
    device = torch.device("cpu")
    ours = min(timeit.repeat(lambda: seeds.torch_seed(device, 0, "step", 1), number=200, repeat=5))
    torch.set_rng_state(state)
    assert ours / 200 < 50e-6
