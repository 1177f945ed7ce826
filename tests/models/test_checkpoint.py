import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import convarium.models as models
from convarium.errors import OptionError, RunError
from convarium.models import registry
from convarium.models.convnet import ConvNet


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = models.create("convnet", channels=[4, 8], num_classes=3)
    return models.save(model, tmp_path / "run", {"task": "classification", "classes": ["a", "b"]})


def edit(folder, **changes):
    path = folder / "card.json"
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not None}))


def test_a_loaded_network_computes_the_same_bits(tmp_path):
    torch.manual_seed(0)
    model = models.create("resnet20_cifar", num_classes=4, depths=[1, 1, 1])
    model(model.example_input(8))  # moves the running statistics
    models.save(model, tmp_path)
    state = torch.get_rng_state()
    twin = models.load(tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert not twin.training
    assert (twin.name, twin.config, type(twin)) == (model.name, model.config, type(model))
    x = model.example_input(2)
    assert torch.equal(model.eval()(x), twin(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_number_type_is_kept(tmp_path, dtype):
    model = models.create("convnet", channels=[4]).to(dtype)
    models.save(model, tmp_path)
    twin = models.load(tmp_path)
    pairs = zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_a_new_head_and_another_memory_layout_survive(tmp_path):
    model = models.create("convnet").to(memory_format=torch.channels_last)
    model.reset_head(7)
    models.save(model, tmp_path)
    assert models.load(tmp_path)(torch.zeros(1, 3, 8, 8)).shape == (1, 7)


def test_the_card_says_what_a_stranger_needs(folder):
    card = models.read_card(folder)
    assert card["format_version"] == 1
    assert card["model"]["name"] == "convnet"
    assert card["model"]["options"]["channels"] == [4, 8]
    assert card["classes"] == ["a", "b"]
    assert card["library"]["torch"] == torch.__version__
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_defaults_that_depend_on_the_rank_are_written_out(tmp_path):
    models.save(models.create("convnet", spatial_dims=1), tmp_path)
    assert models.read_card(tmp_path)["model"]["options"]["channels"] == [64, 128, 256]


def test_a_network_without_a_name_is_not_saved(tmp_path):
    with pytest.raises(OptionError, match=r"has no name to be loaded by; build it with"):
        models.save(ConvNet(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"Cannot write"):
        models.save(models.create("lenet5"), tmp_path / "file" / "run")


def test_weights_that_run_code_when_unpickled_are_never_unpickled(folder, tmp_path):
    touched = tmp_path / "touched"

    class Hostile:
        def __reduce__(self):
            return open, (str(touched), "w")

    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(RunError, match=r"not a whole safetensors file .* never read"):
        models.load(folder)
    torch.save({"conv.weight": Hostile()}, folder / "model.safetensors")
    with pytest.raises(RunError, match=r"not a whole safetensors file"):
        models.load(folder)
    assert not touched.exists()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match=r"not a whole safetensors file"):
        models.load(folder)


def test_missing_files_name_the_remedy(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"There is no .*model.safetensors; copy the whole folder"):
        models.load(folder)
    with pytest.raises(RunError, match=r"There is no .*card.json; give the folder that"):
        models.load(tmp_path / "nowhere")


def test_a_newer_format_asks_for_an_update(folder):
    edit(folder, format_version=2)
    with pytest.raises(RunError, match=r"format_version 2, newer than 1.* pip install -U"):
        models.load(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": None}, "has no format_version"),
        ({"format_version": "1"}, "has no format_version"),
        ({"format_version": -3}, "has no format_version of 1 or more"),
        ({"format_version": True}, "has no format_version of 1 or more"),
        ({"model": None}, "lacks model.name"),
        ({"model": {"name": "convnet"}}, "lacks model.name .* or model.options"),
        ({"model": {"options": {}}}, "lacks model.name"),
        ({"model": {"name": 3, "options": {}}}, "lacks model.name"),
        ({"model": {"name": "convnet", "options": {"name": "x"}}}, "lacks model.name"),
        ({"model": {"name": "convmet", "options": {}}}, "Did you mean 'convnet'.*register it"),
        ({"model": {"name": "convnet", "options": {"norms": 1}}}, "no option 'norms'"),
        ({"model": {"name": "convnet", "options": {"dropout": 7}}}, "dropout"),
    ],
)
def test_a_damaged_card_is_one_sentence(folder, changes, sentence):
    edit(folder, **changes)
    with pytest.raises(RunError, match=sentence):
        models.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff", "[" * 100_000])
def test_a_card_that_is_not_one_is_refused(folder, text):
    (folder / "card.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"card.json"):
        models.load(folder)


def test_weights_of_another_network_name_the_tensors(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "head.weight": torch.zeros(5, 8)}, path)
    with pytest.raises(RunError, match=r"head.weight is \(5, 8\) instead of \(3, 8\); the two"):
        models.load(folder)
    del tensors["head.bias"]
    save_file({**tensors, "extra": torch.zeros(1)}, path)
    with pytest.raises(RunError, match=r"head.bias is missing, extra is not part of"):
        models.load(folder)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(RunError, match=r"and \d+ more"):
        models.load(folder)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convnet", {"num_classes": 10**12}),
        ("convnet", {"num_classes": 10**40}),
        ("convnet", {"channels": [10**6] * 4}),
        ("convnet", {"channels": [10**18, 10**18]}),
        ("lenet5", {"image_size": 10**9}),
        ("lenet5", {"image_size": 10**6}),
        ("resnet18", {"widths": [10**6] * 4}),
        ("convnet", {"self": 1}),
        ("convnet", {"cls": 1}),
    ],
)
def test_sizes_beyond_all_memory_in_a_card_are_one_sentence(folder, name, options):
    edit(folder, model={"name": name, "options": options})
    with pytest.raises(RunError, match=r"card.json"):
        models.load(folder)


def test_weights_that_are_no_floating_numbers_are_named(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "head.bias": torch.zeros(3, dtype=torch.int64)}, path)
    with pytest.raises(RunError, match=r"head.bias holds torch.int64 instead of torch.float32"):
        models.load(folder)


@pytest.mark.parametrize("card", [{"a": float("nan")}, {"a": {1}}, {"a": "\ud800"}])
def test_a_card_that_is_not_json_leaves_the_old_folder_whole(folder, card):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = models.create("convnet", channels=[4, 8], num_classes=3)
    with pytest.raises(OptionError, match=r"card cannot be written as JSON .* finite numbers"):
        models.save(other, folder, card)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_loading_draws_no_weights_that_are_thrown_away(folder, monkeypatch):
    drawn = []
    for name in ("normal_", "uniform_"):
        draw = getattr(torch.Tensor, name)

        def watched(tensor, *numbers, draw=draw, **options):
            drawn.extend([] if tensor.is_meta else [tensor])
            return draw(tensor, *numbers, **options)

        monkeypatch.setattr(torch.Tensor, name, watched)
    torch.nn.Linear(2, 2)
    assert len(drawn) == 2  # the watch works
    models.load(folder)
    assert len(drawn) == 2


def test_a_loaded_network_is_as_one_built_anew_with_memory_of_its_own(folder):
    anew = models.create("convnet", channels=[4, 8], num_classes=3).state_dict(keep_vars=True)
    twin = models.load(folder)
    with open(folder / "model.safetensors", "r+b") as file:  # as a plain copy over it would
        file.seek(-64, 2)
        file.write(b"\xff" * 64)
    for name, tensor in twin.state_dict(keep_vars=True).items():
        assert (type(tensor), tensor.dtype) == (type(anew[name]), anew[name].dtype)
        assert (tensor.device.type, tensor.requires_grad) == ("cpu", anew[name].requires_grad)
        assert tensor.is_contiguous()
        assert not tensor.isnan().any()


class Unusual(ConvNet):
    """Two layers share a weight; a buffer and a plain attribute are in no state dict."""

    def __init__(self, *, num_classes: int = 4) -> None:
        super().__init__(channels=[4, 4, 4], num_classes=num_classes)
        self.stage3[0].conv.weight = self.stage2[0].conv.weight
        self.register_buffer("ramp", torch.arange(4.0), persistent=False)
        self.plain = [torch.arange(3.0)]


@pytest.fixture
def unusual(monkeypatch):
    monkeypatch.setattr(registry, "_rows", dict(registry._rows))
    models.register(models.Variant("unusual", Unusual, {}, "our own"))
    return models.create("unusual").eval()


def test_tied_weights_are_saved_and_still_tied_after_loading(unusual, tmp_path):
    models.save(unusual, tmp_path)
    twin = models.load(tmp_path)
    assert twin.stage3[0].conv.weight is twin.stage2[0].conv.weight
    x = unusual.example_input(2)
    assert torch.equal(unusual(x), twin(x))


def test_what_no_state_dict_holds_is_made_by_the_constructor(unusual, tmp_path):
    twin = models.load(models.save(unusual, tmp_path))
    assert torch.equal(twin.ramp, torch.arange(4.0))
    assert torch.equal(twin.plain[0], torch.arange(3.0))
    assert not any(t.is_meta for t in (*twin.parameters(), *twin.buffers()))


def test_a_folder_of_mixed_number_types_comes_back_bit_equal(tmp_path):
    model = models.create("convnet", channels=[4]).eval()
    model.head.double()
    models.save(model, tmp_path)
    twin = models.load(tmp_path)
    for (name, a), (_, b) in zip(
        model.state_dict().items(), twin.state_dict().items(), strict=True
    ):
        assert a.dtype == b.dtype, name
        assert torch.equal(a, b), name


def test_numbers_of_numpy_are_written_as_json_has_them(tmp_path):
    model = models.create("convnet", channels=(np.int64(4),), num_classes=np.int64(3))
    assert models.load(models.save(model, tmp_path)).config == model.config


@pytest.mark.parametrize(
    "options", [{"depths": [10**9, 3, 3]}, {"num_classes": 2 * 10**9}, {"in_channels": 10**9}]
)
def test_a_card_that_asks_for_huge_sizes_takes_neither_memory_nor_time(tmp_path, options):
    model = models.create("resnet20_cifar")
    models.save(model, tmp_path)
    edit(tmp_path, model={"name": model.name, "options": model.config | options})
    for call in (models.load, lambda folder: models.create(model.name, pretrained=folder)):
        with pytest.raises(RunError, match=r"does not fit|a sum of 2000 or less"):
            call(tmp_path)
