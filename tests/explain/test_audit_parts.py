"""The parts of an audit against other libraries, closed forms and properties."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from audited import compared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.metrics import silhouette_score

from convarium import data
from convarium.data.names import Names
from convarium.data.samples import FileSamples
from convarium.errors import DataError, OptionError, ShapeError
from convarium.explain.auditing import boxes, claiming, clusters, searching, swapping
from convarium.explain.auditing.counting import Difference, Rate, holm, sign_test
from convarium.explain.auditing.filling import without
from convarium.explain.auditing.gathering import Answers, Drawn, drawn_from
from convarium.explain.auditing.grouping import group_tables, label_rates
from convarium.explain.auditing.masks import check_masks, read_masks


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_is_scipys_binomial_test(more, less):
    theirs = stats.binomtest(more, more + less, alternative="greater").pvalue if more + less else 1
    assert sign_test(more, less) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_all_intersections(values):
    places = range(len(values))
    sets = [s for n in range(1, len(values) + 1) for s in itertools.combinations(places, n)]
    closed = [
        max(min(1, len(s) * min(values[i] for i in s)) for s in sets if place in s)
        for place in places
    ]
    assert holm(values) == pytest.approx(closed)


def test_paired_answers_count_the_samples_that_changed():
    first = np.array([True] * 30 + [False] * 10)
    second = np.array([True] * 10 + [False] * 30)
    found = Difference.of_pairs(first, second)
    assert found.value == 0.5
    assert found.p == 0.5**20
    assert found.interval.low > 0.3
    assert found.interval.high < 0.7
    same = Difference.of_pairs(first, first)
    assert same.interval.low < 0 < same.interval.high
    assert same.p == 1


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([(20,), (9, 7), (4, 5, 6)]))
def test_hot_boxes_hold_their_share_and_the_peak(seed, size):
    heat = torch.rand(size, generator=torch.Generator().manual_seed(seed)) ** 4
    box = boxes.hot_box(heat, 0.5)
    assert heat[box.slices].sum() >= 0.5 * heat.sum() * (1 - 1e-6)
    assert box.mask()[torch.unravel_index(heat.argmax(), size)]
    assert box.mask().float().mean() == pytest.approx(box.share)


@settings(max_examples=15)
@given(st.integers(0, 100), st.sampled_from([((0,), (4,), (12,)), ((2, 3), (3, 4), (9, 10))]))
def test_other_places_do_not_touch_the_box(seed, where):
    box = boxes.Box(*where)
    for other in boxes.elsewhere(box, 5, seed):
        assert not (box.mask() & other.mask()).any()
        assert (other.size, int(other.mask().sum())) == (box.size, int(box.mask().sum()))


def test_a_box_that_leaves_no_room_is_met_as_little_as_can_be():
    box = boxes.Box((0,), (6,), (8,))
    assert {other.start for other in boxes.elsewhere(box, 20, 0)} == {(2,)}


@pytest.mark.parametrize("size", [(24,), (12, 12), (8, 8, 8)])
def test_clusters_part_maps_that_stand_at_two_places(size):
    maps = torch.rand(30, *size, generator=torch.Generator().manual_seed(0)) / 50
    maps[:20, ..., :3] += 1
    maps[20:, ..., -3:] += 1
    numbers, centres = clusters.cluster(clusters.features(maps), 5)
    assert numbers.tolist() == [0] * 20 + [1] * 10
    assert len(centres) == 2
    one, _ = clusters.cluster(clusters.features(maps[:20]), 5)
    assert one.unique().tolist() == [0]


def test_the_silhouette_is_scikit_learns():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)).double()
    numbers = torch.arange(40) % 3
    theirs = silhouette_score(points.numpy(), numbers.numpy())
    assert clusters.silhouette(points, numbers) == pytest.approx(theirs)


@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 4)])
def test_removed_places_hold_what_is_around_them(size):
    x = torch.full((2, 1, *size), 3.0)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[(slice(1, 3),) * len(size)] = True
    x[:, :, mask] = 9
    assert torch.allclose(without(x, mask, "surrounding"), torch.full_like(x, 3))
    assert torch.allclose(without(x, mask, "mean"), torch.full_like(x, 3))
    each = mask.expand(2, *size)
    assert torch.allclose(without(x, each, "surrounding"), torch.full_like(x, 3))
    blurred = without(x, mask, "blur")
    assert (blurred[:, :, mask] < 9).all()
    assert torch.equal(blurred[:, :, ~mask], x[:, :, ~mask])


def test_donors_are_others_of_the_same_or_of_another_label():
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    same = swapping.donors(labels, 0, "same")
    other = swapping.donors(labels, 0, "other", others=True)
    for row, label in enumerate(labels[:5]):
        assert labels[same[row]] == label
        assert same[row] != row
        assert labels[other[row]] != label
    assert same[5] == -1  # alone with its label


def test_marked_objects_stay_out_of_what_is_pasted():
    images = torch.zeros(2, 1, 6, 6)
    images[0, :, 1:3, 1:5] = 1  # an object at the place, and a mark beside it
    images[0, :, 0, 0] = 9
    images[1, :, 2:5, 3] = 2  # an object that reaches into the place
    masks = (images[:, 0] > 0) & (images[:, 0] < 9)
    numbers = torch.arange(2)
    some = Drawn(
        None, ("x", "y"), np.arange(2), ("", ""), images, numbers, numbers, 2, images[:, 0]
    )  # fmt: skip
    one, other = numbers[:1], numbers[1:]
    place = [boxes.Box((0, 0), (3, 6), (6, 6))]
    whole = searching.pasted(some, other, one, place, over=True)[0, 0]
    assert torch.equal(whole[:3], images[0, 0, :3])
    assert torch.equal(whole[3:], images[1, 0, 3:])
    marked = replace(some, masks=tuple(masks))
    found = searching.pasted(marked, other, one, place)[0, 0]
    assert found[0, 0] == 9
    found[0, 0] = 0
    assert torch.equal(found, images[1, 0])
    estimated = searching.pasted(some, other, one, place)[0, 0]  # by the taker's heat, not masks
    assert estimated[0, 0] == 9
    assert torch.equal(estimated[2:5, 3], images[1, 0, 2:5, 3])
    assert torch.equal(estimated[1, 1:5], images[0, 0, 1, 1:5])


def test_equal_areas_lie_outside():
    masks = torch.zeros(5, 6, 8, dtype=torch.bool)
    masks[:, 2:5, 1:4] = True
    found = swapping.equal_area(masks, 0)
    assert not (found & masks).any()
    assert found.flatten(1).sum(1).tolist() == [9] * 5


def test_gaps_compare_groups_of_the_same_label():
    # label 0 is hard everywhere; label 1 is hard in "b" only
    targets = np.repeat([0, 0, 1, 1], 100)
    words = ["a"] * 100 + ["b"] * 100 + ["a"] * 100 + ["b"] * 100
    right = np.concatenate([np.arange(100) < n for n in (50, 50, 95, 40)])
    (column,) = compared(words, targets, right, 20)
    widest, gap = column.gaps[0]
    assert (widest.label, widest.group) == ("y", "b")
    assert gap.value == pytest.approx(0.55)
    assert (column.worst.label, column.worst.group) == ("y", "b")
    assert column.compared == 4
    assert dict(column.groups)["b"] == Rate(90, 200)
    assert not any(cell.gap.interval.low > 0 for cell in column.cells if cell.label == "x")
    (few,) = compared(words, targets, right, 101)
    assert few.worst is None
    assert few.gaps == ()
    with pytest.raises(OptionError, match="400 different values"):
        group_tables({"id": [*map(str, range(400))]}, 400)


def test_labels_are_told_from_the_hardest_and_only_with_samples():
    targets = np.repeat([0, 2], [4, 10])
    predicted = np.array([0, 0, 0, 2] + [2] * 3 + [0] * 7)
    rows = np.arange(14)
    found = label_rates(Answers(("x", "none", "y"), rows, rows, targets, predicted))
    assert found == (("y", Rate(3, 10)), ("x", Rate(3, 4)))


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        (([950, 940], [950, 400]), "supported"),
        (([950, 950], [940, 950]), "not supported"),
        (([950, 950], [19, 17]), "undecided"),
    ],
)
def test_one_open_gap_keeps_a_column_open(right, verdict):
    """Of two labels in two groups of 1000, or of 20, samples: how many are right."""
    targets, words, hits = [], [], []
    for label, counts in enumerate(right):
        n = 1000 if max(counts) > 20 else 20
        for word, count in zip("ab", counts, strict=True):
            targets += [label] * n
            words += [word] * n
            hits += [i < count for i in range(n)]
    (column,) = compared(words, np.array(targets), np.array(hits), 20)
    sanity = SimpleNamespace(verdict="passes", method="grad_cam")
    (claim,) = claiming.claims([], None, [column], sanity, 0.1)
    assert claim.verdict == verdict


def test_empty_cells_are_no_group():
    targets, right = np.zeros(6, np.int64), np.ones(6, np.bool_)
    (column,) = compared(["a", "", "b", "a", "", "b"], targets, right, 1)
    assert column.left_out == 2
    assert [(name, rate.n) for name, rate in column.groups] == [("a", 2), ("b", 2)]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "masks" / "cat").mkdir(parents=True)
    for i in range(3):
        Image.new("L", (20, 10), i).save(tmp_path / "in" / "cat" / f"{i}.png")
    mask = np.zeros((10, 20), np.uint8)
    mask[:, 10:] = 1
    Image.fromarray(mask).save(tmp_path / "masks" / "cat" / "0.bmp")
    Image.new("L", (8, 8), 1).save(tmp_path / "masks" / "cat" / "2.png")
    names = Names.of([f"cat/{i}.png" for i in range(3)])
    return data.Dataset(FileSamples(str(tmp_path / "in"), names), source=str(tmp_path / "in"))


def test_masks_go_through_the_steps_of_their_images(photos, tmp_path):
    steps = data.Preprocessing((3, 5, 5), mean=(0.0,) * 3, std=(1.0,) * 3)
    ids = np.arange(2)
    found = read_masks(tmp_path / "masks", photos, ids, ids, steps)
    # 10 x 20 is halved and its middle, columns 5 to 14 of 20, is kept
    assert found[0].shape == (5, 5)
    assert found[0][:, 3:].all()
    assert not found[0][:, :2].any()
    assert found[1] is None
    paths = [tmp_path / "masks" / "cat" / "0.bmp", None]
    (again, none) = read_masks(paths, photos, ids, ids, steps)
    assert torch.equal(again, found[0])
    assert none is None
    with pytest.raises(DataError, match="8 x 8"):
        read_masks(tmp_path / "masks", photos, np.array([2]), np.array([2]), steps)
    with pytest.raises(ShapeError, match="2 masks for 3 samples"):
        check_masks(paths, 3, steps)


def test_the_black_of_a_jpeg_is_no_region(photos, tmp_path):
    mask = np.zeros((10, 20), np.uint8)
    mask[:, 10:] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "cat" / "1.jpg", quality=30)
    assert (np.asarray(Image.open(tmp_path / "masks" / "cat" / "1.jpg"))[:, :10] > 0).any()
    steps = data.Preprocessing((1, 10, 20), mean=(0.0,), std=(1.0,))
    (found,) = read_masks(tmp_path / "masks", photos, np.array([1]), np.array([1]), steps)
    assert torch.equal(found, torch.from_numpy(mask > 0))


def test_masks_of_the_inputs_size_follow_images_that_are_enlarged(tmp_path):
    """An image of 8 x 8 is made 16 x 16, of which the middle 8 x 8 are kept; so is its mask."""
    (tmp_path / "in").mkdir()
    image = np.zeros((8, 8), np.uint8)
    image[2:6, 2:6] = 255
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    names = Names.of(["a.png"])
    samples = FileSamples(str(tmp_path / "in"), names)
    dataset = data.Dataset(samples, source=str(tmp_path / "in"))
    steps = data.Preprocessing((1, 8, 8), mean=(0.0,), std=(1.0,), resize=16)
    first = np.array([0])
    (found,) = read_masks(image[None], dataset, first, first, steps)
    assert torch.equal(found, steps.apply(dataset.read(0))[0] > 127)
    assert found.all()
    large = data.Preprocessing((1, 32, 32), mean=(0.0,), std=(1.0,))
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[:, :5] = 1
    (own,) = read_masks(mask, dataset, first, first, large)
    assert own.sum() == 5 * 32


def test_what_one_donor_does_many_times_is_one_voice():
    """Places of 5 donors do what they do, whether they are the tested one or the control."""
    generator = np.random.default_rng(0)
    donors = np.arange(250) % 5
    naive, honest = [], []
    for _ in range(300):
        first, second = (generator.random((2, 5)) < 0.3)[:, donors]
        naive.append(Difference.of_pairs(first, second).p <= 0.05)
        honest.append(Difference.of_pairs(first, second, donors=donors).p <= 0.05)
    assert np.mean(naive) > 0.25
    assert np.mean(honest) <= 0.05
    all_of_them = Difference.of_pairs(donors >= 0, donors < 0, donors=donors)
    assert all_of_them.p == 0.5**5
    each = np.arange(250)
    assert Difference.of_pairs(donors > 2, donors < 1, donors=each).p == pytest.approx(
        Difference.of_pairs(donors > 2, donors < 1).p
    )


def test_donors_take_turns():
    pool = torch.tensor([3, 5, 8])
    drawn = drawn_from(pool, 7, 0, "word")
    assert sorted(drawn.bincount()[pool].tolist()) == [2, 2, 3]
    assert not len(drawn_from(pool[:0], 7, 0, "word"))
