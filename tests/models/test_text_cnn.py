import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.explain import hires_cam
from convarium.measure import receptive_field

SMALL = {"vocabulary": 30, "embedding_dim": 5, "filters": 4, "num_classes": 3}


def small(**options):
    torch.manual_seed(0)
    return models.create("text_cnn", **(SMALL | options)).double().eval()


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"num_classes": 0}, 3_993_900),
        ({"num_classes": 0, "norm": "batch"}, 3_994_500),
        ({"num_classes": 2, "mean": True}, 3_994_502 + 2 * 128),
        ({"num_classes": 20, "norm": "batch", "vocabulary": 10_000}, 1_440_520),
        ({"num_classes": 0, "embedding": "static"}, 153_900),
        ({"num_classes": 0, "embedding": "two_channel"}, 3_993_900),
    ],
)
def test_it_has_the_stated_parameters(options, count):
    with torch.device("meta"):
        assert parameters(models.create("text_cnn", **options)) == count


def test_without_a_head_it_is_an_embedding_of_300():
    model = models.create("text_cnn", num_classes=0, vocabulary=50).eval()
    assert model(torch.randint(50, (4, 9))).shape == (4, 300)
    wide = models.create("text_cnn", num_classes=0, vocabulary=50, mean=True).eval()
    assert wide(torch.randint(50, (4, 9))).shape == (4, 428)
    assert (wide.num_features, wide.stages[0].channels) == (428, 428)


def by_the_formula(model, words):
    """One text, window by window: the maximum of relu(w x + b), the mean, and the last layer."""
    vectors = torch.stack([sum(t.weight[word] for t in model.stem.children()) for word in words])
    found = []
    windows = model.stage1[0]
    for size, conv in zip(windows.sizes, windows.convs, strict=True):
        layer = conv if isinstance(conv, nn.Conv1d) else conv[1]
        short = max(size - len(words), 0)
        text = torch.cat([vectors, torch.zeros(short, 5, dtype=torch.float64)])
        answers = [
            (layer.weight * text[i : i + size].t()).sum((1, 2)) + layer.bias
            for i in range(len(text) - size + 1)
        ]
        found.append(torch.stack(answers).relu().amax(0))
    found += [vectors.mean(0)] if model.config["mean"] else []
    return model.head(torch.cat(found))


@settings(max_examples=30)
@given(
    words=st.lists(st.integers(2, 29), min_size=1, max_size=9),
    more=st.integers(0, 6),
    kind=st.sampled_from(["random", "static", "two_channel"]),
    sizes=st.sampled_from([[3, 4, 5], [1, 2], [7], [2, 6]]),
    mean=st.booleans(),
)
def test_it_is_the_formula_of_the_paper(words, more, kind, sizes, mean):
    model = small(embedding=kind, kernel_sizes=sizes, mean=mean)
    expected = by_the_formula(model, words)
    ids = torch.tensor([words + [0] * more])
    torch.testing.assert_close(model(ids)[0], expected)
    rest = torch.tensor([words + [9] * more])
    mask = torch.arange(len(words) + more)[None] < len(words)
    torch.testing.assert_close(model(rest, mask)[0], expected)


@pytest.mark.parametrize("mean", [False, True])
def test_padding_never_reaches_the_maximum_nor_the_statistics(mean):
    model = small(norm="batch", dropout=0.0, mean=mean)
    with torch.no_grad():
        for norm in model.stage1[0].norms:
            norm.bias.fill_(5.0)  # what a window of nothing but padding would answer
            norm.weight.fill_(-3.0)
    ids = torch.tensor([[2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13]])
    padded = nn.functional.pad(ids, (0, 30))
    torch.testing.assert_close(model(padded), model(ids))
    torch.testing.assert_close(model.train().embed(padded), model.embed(ids))


@pytest.mark.parametrize(("norm", "mean"), [("none", False), ("batch", False), ("none", True)])
def test_an_empty_text_has_an_answer_that_padding_does_not_change(norm, mean):
    model = small(norm=norm, mean=mean)
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    expected = model(nothing)
    assert expected.isfinite().all()
    torch.testing.assert_close(model(torch.zeros(2, 12, dtype=torch.int64)), expected)


def test_padding_under_a_mask_may_be_any_number():
    model = small()
    ids = torch.tensor([[2, 3, 4, 5, 6, 7], [8, 9, 10, 0, 0, 0]])
    expected = model(ids, ids > 0)
    torch.testing.assert_close(model(torch.where(ids > 0, ids, -1), ids > 0), expected)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    more=st.integers(0, 4),
    kind=st.sampled_from(["random", "static", "two_channel"]),
    norm=st.sampled_from(["none", "batch"]),
    mean=st.booleans(),
)
def test_looked_up_texts_are_convolved_texts(lengths, more, kind, norm, mean):
    model = small(embedding=kind, norm=norm, mean=mean)
    if norm == "batch":
        for module in model.stage1[0].norms:
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.weight, -2, 2)
    x = model.example_input(len(lengths), max(*lengths, 1) + more)
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        expected = model(x * mask), model(x, mask)
        model.tabulate()
        torch.testing.assert_close((model(x * mask), model(x, mask)), expected)


@pytest.mark.parametrize("mean", [False, True])
def test_the_heat_adds_up_to_the_logit_without_its_bias(mean):
    model = small(mean=mean, kernel_sizes=[1, 3])
    ids = torch.tensor([[2, 9, 4, 11, 6, 0, 0], [8, 9, 10, 11, 12, 13, 14], [5, 0, 0, 0, 0, 0, 0]])
    heat = hires_cam(model, ids, target=1).values
    expected = model(ids)[:, 1] - model.head.bias[1]
    torch.testing.assert_close(heat.double().sum(1), expected, rtol=1e-5, atol=1e-6)
    assert not heat[:, 5:][[0, 2]].any()


def test_tables_are_left_when_a_weight_changes_or_gradients_are_wanted():
    model = small().tabulate()
    x = model.example_input(2)
    assert model(x).requires_grad
    with torch.no_grad():
        before = model(x)
        for parameter in model.parameters():
            parameter.mul_(1.5)
        after = model(x)
        assert not torch.allclose(before, after)
        twin = small()
        twin.load_state_dict(model.state_dict())
        assert torch.equal(after, twin(x))
        torch.testing.assert_close(model.tabulate()(x), after)
        assert model.float()(x).dtype == torch.float32


def test_a_copy_that_gets_other_weights_does_not_look_up_the_old_ones():
    model = small()
    ids = model.example_input(2, 9)
    with torch.no_grad():
        twin = copy.deepcopy(model.tabulate())
        other = {name: value + 1 for name, value in model.state_dict().items()}
        for _ in range(2):
            twin.load_state_dict(other)
        fresh = small()
        fresh.load_state_dict(other)
        assert torch.equal(twin(ids), fresh(ids))
        assert not torch.allclose(model(ids), twin(ids))


@pytest.mark.parametrize("tabulated", [False, True])
@pytest.mark.parametrize("mean", [False, True])
def test_zeros_in_front_of_a_text_and_within_it_are_in_no_window(tabulated, mean):
    model = small(mean=mean)
    text = model.example_input(1, 7)
    with torch.no_grad():
        expected = model(text)
        model = model.tabulate() if tabulated else model
        behind = nn.functional.pad(text, (4, 3))
        torch.testing.assert_close(model(behind), expected)
        holed = torch.cat([text[:, :5], torch.zeros_like(text[:, :2]), text[:, 5:]], 1)
        if not mean:  # two words are no window
            torch.testing.assert_close(model(holed), model(text[:, :5]))


def test_vectors_are_given_and_kept_or_learnt():
    vectors = torch.randn(30, 5, dtype=torch.float64)
    ids = torch.tensor([[2, 3, 4, 5, 6]])
    for kind, tables in (("static", 1), ("fine_tuned", 1), ("two_channel", 2)):
        model = small(embedding=kind).train()
        model.set_vectors(vectors)
        torch.testing.assert_close(model.stem(ids)[0].t(), tables * vectors[2:7])
        assert not any(table.weight[0].any() for table in model.stem.children())
        model(ids).sum().backward()
        learnt = [name for name, p in model.named_parameters() if name.startswith("stem")]
        assert learnt == ([] if kind == "static" else ["stem.learnt.weight"])
        model.unfreeze()
        assert parameters(model) == parameters(small(embedding=kind))


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match=r"embedding \(='random'\) draws its vectors"):
        small().set_vectors(torch.zeros(30, 5))
    model = small(embedding="static")
    with pytest.raises(ShapeError, match=r"vectors \(30, 4\) must be \(30, 5\)"):
        model.set_vectors(torch.zeros(30, 4))
    with pytest.raises(OptionError, match="finite"):
        model.set_vectors(torch.full((30, 5), torch.nan))


def test_saved_and_loaded_it_keeps_its_fixed_vectors(tmp_path):
    model = small(embedding="two_channel")
    model.set_vectors(torch.randn(30, 5, dtype=torch.float64))
    twin = models.load(models.save(model, tmp_path))
    ids = model.example_input(3)
    assert torch.equal(twin(ids), model(ids))


def test_vectors_start_within_a_quarter_and_padding_at_zero():
    model = models.create("text_cnn", vocabulary=500, embedding="two_channel")
    for table in model.stem.children():
        assert 0.24 < table.weight.abs().max() <= 0.25
        assert not table.weight[0].any()
        assert table.weight[1:].std().item() == pytest.approx(0.25 / 3**0.5, rel=0.02)


def test_the_field_is_the_longest_kernel():
    field = receptive_field(small(kernel_sizes=[2, 5]), (1, 20))
    assert (field.size, field.stride, field.start) == ((5,), (1,), (-2,))


def test_examples_are_words_and_what_are_no_ids_is_refused():
    model = small()
    x = model.example_input(20, 30)
    assert (x.shape, x.dtype, x.min().item(), x.max().item()) == ((20, 30), torch.int64, 2, 29)
    assert torch.equal(x, model.example_input(20, 30))
    assert not torch.equal(x, model.example_input(20, 30, seed=1))
    for wrong in (torch.zeros(2, 9), torch.zeros(2, 1, 9, dtype=torch.int64), [[2, 3]]):
        with pytest.raises(ShapeError, match=r"takes \(B, T\) of whole numbers"):
            model(wrong)
    for wrong in (30, -1):
        with pytest.raises(ShapeError, match=f"knows the ids 0 to 29, and here is {wrong};"):
            model(torch.tensor([[2, wrong, 3]]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"vocabulary": 2}, r"vocabulary \(=2\) must be 3 or more"),
        ({"kernel_sizes": []}, r"kernel_sizes \(=\[\]\)"),
        ({"embedding": "frozen"}, r"embedding \(='frozen'\) must be one of"),
        ({"in_channels": 3}, r"has no option 'in_channels'"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        small(**options)
