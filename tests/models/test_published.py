"""Foreign state dicts: every key accounted for, nothing half-loaded, nothing run."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import convarium.models as models
from convarium.errors import DataError, OptionError
from convarium.models.layouts import Layout, ours
from convarium.models.published import read_state

TINY = {"widths": [4, 6, 8], "num_classes": 3}
PAIRS = (  # of a resnet in torchvision's names, and in ours
    ("stem.conv.", "conv1."),
    ("stem.norm.", "bn1."),
    (".norm1.", ".bn1."),
    (".norm2.", ".bn2."),
    (".shortcut.", ".downsample."),
    ("head.", "fc."),
)


def network(seed=0, **options):
    torch.manual_seed(seed)
    return models.create("resnet8", **TINY | options)


def foreign(model):
    """The state dict as torchvision would name it."""
    state = {}
    for key, tensor in model.state_dict().items():
        for own, theirs in PAIRS:
            key = theirs + key.removeprefix(own) if key.startswith(own) else key
            key = key.replace(own, theirs) if own.startswith(".") else key
        state[key] = tensor.clone()
    return state


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("source", ["auto", "torchvision"])
def test_every_key_of_a_whole_state_dict_is_used(source):
    given, model = network(1), network(2)
    report = models.load_published(model, foreign(given), source)
    assert report.source == "torchvision"
    assert set(report.used) == set(foreign(given))
    assert report.unused == report.missing == report.adapted == ()
    assert same(given, model)


def test_our_own_names_are_a_source_too():
    given, model = network(1), network(2)
    assert models.load_published(model, given.state_dict()).source == "convarium"
    assert same(given, model)


@pytest.mark.parametrize("wrap", ["state_dict", "model"])
def test_wrapped_and_parallel_state_dicts_are_unwrapped(wrap):
    given, model = network(1), network(2)
    state = {f"module.{key}": tensor for key, tensor in foreign(given).items()}
    models.load_published(model, {wrap: state, "epoch": 3})
    assert same(given, model)


def test_files_are_read_by_their_kind(tmp_path):
    given = network(1)
    save_file(foreign(given), tmp_path / "a.safetensors")
    torch.save(foreign(given), tmp_path / "a.pth")
    torch.save({"state_dict": foreign(given), "epoch": 3}, tmp_path / "b.pt")
    for name in ("a.safetensors", "a.pth", "b.pt"):
        model = network(2)
        models.load_published(model, tmp_path / name)
        assert same(given, model)


def test_state_dicts_without_counters_are_whole():
    given, model = network(1), network(2)
    state = {k: v for k, v in foreign(given).items() if not k.endswith("num_batches_tracked")}
    assert models.load_published(model, state).missing == ()
    assert same(given, model)


@pytest.mark.parametrize("harm", ["missing", "unused", "shape"])
def test_a_partial_fit_is_an_error_that_lists_keys_and_loads_nothing(harm):
    given, model = network(1), network(2)
    state = foreign(given)
    if harm == "missing":
        del state["layer1.0.conv1.weight"]
    if harm == "unused":
        state["layer9.0.conv1.weight"] = torch.zeros(1)
    if harm == "shape":
        state["fc.weight"] = torch.zeros(7, 8)
    listed = {"missing": r"layer1\.0\.conv1", "unused": r"layer9\.0", "shape": r"fc\.weight is \(7"}
    with pytest.raises(DataError, match=listed[harm]):
        models.load_published(model, state)
    assert same(model, network(2))
    report = models.load_published(model, state, partial=True)
    assert len(report.unused) == (harm != "missing")
    assert len(report.missing) == (harm != "unused")
    assert torch.equal(model.state_dict()["stem.conv.weight"], state["conv1.weight"])


def test_a_state_dict_of_something_else_is_an_error_even_as_a_part():
    with pytest.raises(DataError, match="no key and shape fits"):
        models.load_published(network(), {"a": torch.zeros(3)}, partial=True)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_sum_makes_equal_channels_see_what_published_ones_saw(channels):
    given, model = network(1).eval(), network(2, in_channels=channels).eval()
    report = models.load_published(model, foreign(given), adapt="sum")
    assert report.adapted == ("stem.conv.weight",)
    grey = torch.randn(2, 1, 8, 8)
    # published: each of 3 channels holds x; ours: each of n channels holds x
    torch.testing.assert_close(
        model(grey.expand(-1, channels, -1, -1)), given(grey.expand(-1, 3, -1, -1))
    )


@pytest.mark.parametrize("channels", [3, 6, 9])
def test_repeat_sees_repeated_channels_as_the_published_ones(channels):
    given, model = network(1).eval(), network(2, in_channels=channels).eval()
    models.load_published(model, foreign(given), adapt="repeat")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model(x.repeat(1, channels // 3, 1, 1)), given(x))


def test_other_input_channels_are_an_error_by_default():
    with pytest.raises(DataError, match=r"conv1\.weight is \(4, 3, 3, 3\), not \(4, 1, 3, 3\)"):
        models.load_published(network(in_channels=1), foreign(network(1)))


def test_unknown_sources_and_policies_are_named_with_those_there_are():
    with pytest.raises(OptionError, match=r"torchvision.*Did you mean 'torchvision'"):
        models.load_published(network(), foreign(network()), "torchvison")
    with pytest.raises(OptionError, match=r"adapt \(='mean'\) must be one of error, sum, repeat"):
        models.load_published(network(), foreign(network()), adapt="mean")


class Hostile:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["plain pickle", "torch file"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, form):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    state = {**foreign(network()), "evil": Hostile(trace)}
    if form == "torch file":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(DataError, match=r"refused|cannot be read"):
        models.load_published(network(), path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["gone.pth", "empty.pth", "text.pth", "cut.pth", "bad.safetensors"]
)
def test_what_is_no_file_of_tensors_is_one_sentence(tmp_path, name):
    torch.save(foreign(network()), tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    contents = {"empty.pth": b"", "text.pth": b"hello", "cut.pth": whole[:500]}
    if name != "gone.pth":
        (tmp_path / name).write_bytes(contents.get(name, b"\x00" * 16))
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        models.load_published(network(), tmp_path / name)


@pytest.mark.parametrize("state", [{}, {"a": 1}, {1: torch.zeros(1)}, {"a": {"b": 2}}])
def test_what_is_no_state_dict_is_one_sentence(state):
    with pytest.raises(DataError, match="no state dict"):
        read_state(state)


def test_stages_and_blocks_are_counted_and_one_past_the_last_is_final():
    places = {"stage": ["s1", "s2", "final"], "block": ["s1.0", "s1.1", "s2.0", "final"]}
    layout = Layout(
        ((r"^b(?P<block>\d+)\.", "{block}."), (r"^g(?P<stage>\d+)\.", "{stage}.")), first=1
    )
    expected = {"b1.w": "s1.0.w", "b3.w": "s2.0.w", "b4.w": "final.w", "g2.0.w": "s2.0.w"}
    for theirs, own in expected.items():
        assert ours(theirs, layout, places) == own
    for outside in ("b0.w", "b5.w", "g0.w"):
        assert ours(outside, layout, places) == outside


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_floating_weights_of_any_width_are_converted(kind):
    given, model = network(1), network(2)
    models.load_published(model, {k: t.to(kind) for k, t in given.state_dict().items()})
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for found, sent in zip(model.parameters(), given.parameters(), strict=True):
        assert torch.equal(found, sent.to(kind).float())


@pytest.mark.parametrize("kind", [torch.int32, torch.bool, torch.complex64])
def test_whole_and_complex_numbers_are_no_weights(kind):
    state = {k: t.to(kind) for k, t in network(1).state_dict().items()}
    model, before = network(2), network(2)
    with pytest.raises(DataError, match=r"stem\.conv\.weight is .*, not float32"):
        models.load_published(model, state)
    assert same(model, before)


@pytest.mark.parametrize("change", [lambda t: t.to("meta"), lambda t: t.to_sparse()])
def test_tensors_without_plain_numbers_are_no_state_dict(change):
    state = network().state_dict()
    state["stem.conv.weight"] = change(state["stem.conv.weight"])
    with pytest.raises(DataError, match=r"stem\.conv\.weight.* no named tensor"):
        models.load_published(network(), state)


def test_a_network_without_memory_is_refused():
    state = network().state_dict()
    with torch.device("meta"):
        model = models.create("resnet8", **TINY)
    with pytest.raises(OptionError, match=r"meta device .*to_empty"):
        models.load_published(model, state)


def test_three_channels_are_not_taken_for_a_third_axis():
    flat = network().state_dict()  # its first kernel is (4, 3, 3, 3)
    deep = network(spatial_dims=3, in_channels=1)  # (4, 1, 3, 3, 3)
    report = models.load_published(deep, flat, partial=True)
    assert "stem.conv.weight" in report.unused


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_taken_off(prefix):
    given, model = network(1), network(2)
    state = {prefix + key: tensor for key, tensor in given.state_dict().items()}
    models.load_published(model, {"model": {"state_dict": state}, "epoch": 3})
    assert same(given, model)


def test_a_pickle_that_pops_from_nothing_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"\x80\x02.")
    with pytest.raises(DataError, match="cannot be read as a state dict"):
        models.load_published(network(), path)
