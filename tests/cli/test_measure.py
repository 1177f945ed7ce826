"""`convarium measure`: names, runs and functions; words, tables, pictures; what is refused."""

from __future__ import annotations

import json
import os
import re
import sys
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from convarium import measure, models, predict
from convarium.cli import main
from convarium.cli.measure import size
from convarium.cli.subject import find
from convarium.data import Preprocessing

NETS = """
import torch
from torch import nn
print("whatever foreign code prints")

def chain():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, (1, 5), bias=False),
    )

def long():
    inner = nn.Sequential()
    inner.add_module("a_name_that_is_longer_than_a_narrow_terminal_is_wide", nn.Conv2d(2, 2, 3))
    return inner

class Decides(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Sorts(nn.Module):
    def forward(self, x):
        return x.sort(2).values

class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(self.conv(x).relu(), 1)

class Numbers(nn.Module):
    def forward(self, x):
        return x.conj() if x.is_meta else x.nothing

def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(162, 3))

def double():
    return chain().double()

class Parts:
    Inner = Decides

def raises():
    raise ValueError("not today.\\nnor tomorrow")

def imports():
    import nowhere_to_be_found

def leaves():
    raise SystemExit(3)

def number():
    return 3

def needs(n):
    return nn.Conv2d(n, n, 3)

lazy = nn.LazyConv2d(4, 3)
net = nn.Conv2d(2, 4, 3)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A folder of one's own with Python files, and the name of one of them."""
    monkeypatch.chdir(tmp_path)
    name = f"nets_{abs(hash(str(tmp_path)))}"  # since Python keeps what it has imported
    (tmp_path / f"{name}.py").write_text(NETS)
    (tmp_path / f"{name}_broken.py").write_text("x = (")
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path):
    """A run without its training: a network, its card and three images."""
    torch.manual_seed(0)
    card = Preprocessing((1, 32, 32), (0.5,), (0.5,), classes=("a", "b")).to_card()
    network = models.create("convnet", in_channels=1, num_classes=2)
    for k in range(3):
        Image.effect_noise((40, 50), 20 + k).save(tmp_path / f"{k}.png")
    (tmp_path / "no.png").write_text("no image")
    return models.save(network, tmp_path / "run", {"task": "classification", **card})


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["measure", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def lines(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert main(["measure", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_name_gives_the_published_numbers(capsys):
    found = told(capsys, "resnet18")
    assert found["parameters"] == 11_689_512
    assert round(found["macs"] / 1e9, 3) == 1.814
    assert found["flops"] == 2 * found["macs"]
    field = found["field"]
    assert (field["size"], field["stride"], field["start"]) == ([435, 435], [32, 32], [-217, -217])
    assert (field["status"], field["covered_by"]) == ("exact", "layer4.0.conv1")
    assert "rows" not in field
    assert "layers" not in found


def test_words_name_both_counts_and_the_verdict(capsys):
    text = " ".join(" ".join(lines(capsys, "resnet18")).split())
    assert "MACs 1,814,073,344 (1.81 G) for 1 sample" in text
    assert "FLOPs 3,628,146,688 (3.63 G), two for each MAC" in text
    assert "field 435 inputs at layer4.1.act2, stride 32, start -217, centre 0; exact" in text
    assert "verdict Each position of layer4.1.act2 sees 435 x 435 inputs" in text


def test_a_function_of_ones_own(nets, capsys):
    path = sys.path[:]
    found = told(capsys, f"{nets}:chain", "--input", "2x9x20", "--layers")
    # 4 x 2 x 3 x 3 weights at 4 x 9 places; 2 x 4 of the norm; 6 x 4 x 1 x 5 at 4 x 5 places.
    assert found["parameters"] == 72 + 8 + 120
    assert found["macs"] == 72 * 4 * 9 + 120 * 4 * 5
    assert (found["field"]["size"], found["field"]["stride"]) == ([3, 11], [2, 2])
    rows = [(row["layer"], row["kind"], row["macs"], row["size"]) for row in found["layers"]]
    assert rows == [
        ("0", "Conv2d", 72 * 36, [3, 3]),
        ("1", "BatchNorm2d", 0, [3, 3]),
        ("2", "ReLU", 0, [3, 3]),
        ("3", "Conv2d", 2400, [3, 11]),
    ]
    assert sys.path == path


def test_a_class_in_a_class_and_a_module_itself_will_do(nets, capsys):
    assert told(capsys, f"{nets}:net", "--input", "2x9x9")["parameters"] == 76
    assert main(["measure", f"{nets}:Parts.Inner", "--input", "2x9x9"]) == 2
    assert "decides by the values" in capsys.readouterr().err


def test_lazy_layers_take_their_shapes_from_the_input(nets, capsys):
    assert told(capsys, f"{nets}:lazy", "--input", "2x9x9")["parameters"] == 4 * (2 * 9 + 1)


def test_memory_grows_with_the_batch_and_the_rest_does_not(capsys):
    one, eight = told(capsys, "lenet5"), told(capsys, "lenet5", "--batch", "8", "--layers")
    weights = one["parameter_bytes"]
    assert eight["forward_bytes"] - weights == 8 * (one["forward_bytes"] - weights)
    assert eight["training_bytes"] > one["training_bytes"]
    assert eight["macs"] == one["macs"] == sum(row["macs"] for row in eight["layers"])
    assert eight["layers"][0]["shape"][0] == 8


@pytest.mark.parametrize("memory", ["3M", "50MiB"])
def test_the_largest_batch_fits_and_one_more_does_not(memory, capsys):
    found = told(capsys, "lenet5", "--memory", memory)["largest_batch"]
    state = 4 * 61_706  # of momentum
    for key, name, more in (
        ("forward", "forward_bytes", 0),
        ("training", "training_bytes", 0),
        ("training_momentum", "training_bytes", state),
        ("training_adam", "training_bytes", 2 * state),
    ):
        taken = [told(capsys, "lenet5", "--batch", found[key] + k)[name] + more for k in (0, 1)]
        assert taken[0] <= size(memory) < taken[1]


def test_options_and_inputs_of_a_name(capsys):
    words = (
        "resnet18",
        "--option",
        "spatial_dims=1",
        "--option",
        "in_channels=6",
        "--input",
        "500",
    )
    found = told(capsys, *words)
    assert (found["input"], found["field"]["size"]) == ([6, 500], [435])
    assert "length" not in found


def test_the_table_has_a_line_a_layer_and_its_columns_stand_straight(capsys):
    whole = lines(capsys, "lenet5", "--layers")
    heading = next(k for k, line in enumerate(whole) if line.startswith("layer "))
    table = whole[heading:]
    assert table[0].split() == [
        "layer", "kind", "output", "parameters", "MACs", "field", "stride", "status",
    ]  # fmt: skip
    assert [line.split()[0] for line in table[1:4]] == [
        "stage1.0.conv", "stage1.0.act", "stage1.0.pool",
    ]  # fmt: skip
    end = table[0].index("parameters") + len("parameters")
    assert [table[k][:end].split()[-1] for k in (1, 4)] == ["156", "2,416"]
    assert "117,600" in table[1]  # 6 x 25 weights at 28 x 28 places
    assert all("whole input" in line for line in table[1:] if line.split()[0].startswith("head"))


@pytest.mark.parametrize("columns", [40, 70, 100])
def test_on_a_terminal_no_line_is_wider_and_names_keep_their_end(
    columns, nets, monkeypatch, capsys
):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    whole = lines(capsys, f"{nets}:long", "--input", "2x9x9", "--layers")
    assert max(map(len, whole[-2:])) <= columns
    assert {"layer", "MACs", "field"} <= set(whole[-2].split())  # and no number is cut
    assert {"1,764", "3"} <= set(whole[-1].split())  # 2 x 2 x 9 weights at 7 x 7 places
    assert whole[-1].startswith("...")
    assert whole[-1].split()[0].endswith("is_wide")


def test_a_run_is_measured_with_its_own_input(folder, capsys):
    found = told(capsys, folder)
    fewer = 2 * 32 * 9 + 8 * 129  # than with three channels and ten classes
    assert (found["input"], found["parameters"]) == ([1, 32, 32], 94_762 - fewer)
    assert told(capsys, folder, "--input", "32")["macs"] == found["macs"]


def test_a_saved_network_without_preprocessing_has_the_networks_input(tmp_path, capsys):
    models.save(models.create("resnet8"), tmp_path / "saved")
    assert told(capsys, tmp_path / "saved")["input"] == [3, 32, 32]


def test_the_effective_field_of_a_run_on_images(folder, tmp_path, capsys):
    images = sorted(tmp_path.glob("*.png"))
    assert main(["measure", str(folder), "--json", "--effective", *map(str, images)]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)["effective"]
    assert "skipped" in printed.err
    opened = predict.open_run(folder)
    x = torch.cat([opened.samples(path) for path in images[:3]])
    wanted = measure.effective_receptive_field(opened.model, x)
    assert (found["n"], found["area_50"]) == (3, wanted.area_50)
    assert found["deviation"] == pytest.approx(wanted.deviation)


def test_the_effective_field_on_random_inputs_is_the_same_each_time(capsys):
    found = [told(capsys, "lenet5", "--effective")["effective"] for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["area_50"] < found[0]["area_95"] <= found[0]["theoretical"] == 16 * 16
    assert any(line.startswith("  effective") for line in lines(capsys, "lenet5", "--effective"))


def test_a_map_that_no_layer_returns_is_measured_at_the_layer_before(nets, capsys):
    words = (f"{nets}:Functions", "--input", "2x9x9", "--effective")
    found = told(capsys, *words)
    assert found["field"]["layer"] == ":relu"
    assert (found["effective"]["layer"], found["effective"]["theoretical"]) == ("conv", 9)


def test_weights_of_another_type_are_measured_as_they_are(nets, capsys):
    words = (f"{nets}:double", "--input", "2x9x20", "--effective", "--latency")
    found = told(capsys, *words)
    assert found["latency"]["dtype"] == "float64"
    assert found["effective"]["theoretical"] == 3 * 11


def test_latency_is_that_of_the_batch(nets, capsys):
    found = told(capsys, f"{nets}:net", "--input", "2x9x9", "--batch", "3", "--latency")["latency"]
    assert [row["batch_size"] for row in found["rows"]] == [3]
    assert found["rows"][0]["median_ms"] > 0
    several = ("lenet5", "--latency", "--batch-sizes", "2,1")
    told_rows = told(capsys, *several)["latency"]["rows"]
    assert [row["batch_size"] for row in told_rows] == [2, 1]
    text = " ".join(" ".join(lines(capsys, *several)).split())
    assert text.index("ms a pass of 2,") < text.index("ms a pass of 1,")


@pytest.mark.parametrize("more", [[], ["--effective"], ["--latency"]])
def test_pictures_are_written_as_svg_and_png(more, tmp_path, capsys):
    svg, png = tmp_path / "net.SVG", tmp_path / "net.png"
    assert lines(capsys, "lenet5", "-o", svg, *more)[-1] == f"picture: {svg}"
    assert told(capsys, "lenet5", "-o", png, *more)["picture"] == str(png)
    root = ElementTree.parse(svg).getroot()
    assert root.attrib["aria-label"].startswith("lenet5: the ")
    with Image.open(png) as picture:
        assert picture.size[0] == pytest.approx(2 * float(root.attrib["width"]), abs=2)
        assert len(picture.convert("RGB").getcolors(2**20)) > 20


def test_a_name_takes_no_memory_until_weights_are_wanted():
    state = torch.get_rng_state()
    subject = find("lenet5", None, {"num_classes": 3})
    assert all(p.is_meta for p in subject.model.parameters())
    one, other = (list(subject.with_weights().parameters()) for _ in range(2))
    assert all(torch.equal(a, b) and not a.is_meta for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


REFUSED = [
    (["{nets}:nope", "--input", "2x9x9"], "has no 'nope'"),
    (["{nets}:Decidez", "--input", "2x9x9"], "Did you mean 'Decides'?"),
    (["{nets}:Decides", "--input", "2x9x9"], "decides by the values of its input"),
    (["{nets}:raises", "--input", "2x9x9"], "raised ValueError .* not today;"),
    (["{nets}:imports", "--input", "2x9x9"], "raised ModuleNotFoundError"),
    (["{nets}:leaves", "--input", "2x9x9"], "raised SystemExit"),
    (["{nets}:number", "--input", "2x9x9"], "type int, no torch.nn.Module"),
    (["{nets}:needs", "--input", "2x9x9"], "missing 1 required"),
    (["{nets}:lazy", "--input", "2x2x2"], "raised RuntimeError for a batch of the shape"),
    (["{nets}:nope"], "has no 'nope'"),
    (["{nets}:net", "--input", "9"], "needs --input with the whole shape"),
    (["{nets}:net", "--input", "3x9x9"], "does not take an input of shape"),
    (["{nets}:net", "--input", "2x2x2"], "does not take an input of shape"),
    (["{nets}:net", "--input", "2x9x9", "--option", "a=1"], "leave it out"),
    (["{nets}:net", "--input", "2x9x9", "--effective", "a.png"], "needs a run folder"),
    (["{nets}:Sorts", "--input", "2x9x9", "-o", "a.svg"], "no layer whose field is known"),
    (["{nets}:Numbers", "--input", "2x9x9", "--effective"], "no attribute 'nothing'"),
    (["{nets}:Numbers", "--input", "2x9x9", "--latency"], "no attribute 'nothing'"),
    (["{nets}:dense", "--input", "2x9x9", "--effective"], "no map of the input's axes"),
    (["{nets}:dense", "--input", "2x9x9", "-o", "a.svg"], "no layer whose map has places"),
    (["{nets}_broken:x", "--input", "2x9x9"], "raised SyntaxError when it was imported"),
    (["no_such_file:x", "--input", "2x9x9"], "There is no module 'no_such_file'"),
    (["a b:c", "--input", "2x9x9"], "must look like module:function"),
    ([":", "--input", "2x9x9"], "must look like module:function"),
    (["resnet5O"], "Did you mean 'resnet50'"),
    (["x" * 5000], "Give a name of convarium list, a run folder, or module:function"),
    (["."], "is not a run"),
    (["resnet50", "--input", "1x224x224"], "must be 3xHxW for resnet50"),
    (["lenet5", "--input", "1x5x5"], "lenet5"),
    (["resnet50", "--option", "stemm=cifar"], "Did you mean 'stem'"),
    (["resnet50", "--option", "stem=cifr"], "Did you mean 'cifar'"),
    (["resnet50", "--option", "num_classes=10000000000000000000000"], "num_classes"),
    (["lenet5", "--memory", "lots"], "number of bytes such as 8G"),
    (["lenet5", "--memory", "0"], "number of bytes such as 8G"),
    (["lenet5", "--memory", "-1G"], "--memory"),
    (["lenet5", "--batch", "0"], "must be 1 or more"),
    (["lenet5", "-o", "a.gif"], "must end in .svg or .png"),
    (["lenet5", "--batch-sizes", "1,2"], "belongs to --latency"),
    (["lenet5", "--latency", "--batch-sizes", "1,0"], "must be 1 or more"),
    (["lenet5", "-o", ""], "must end in .svg or .png"),
    (["lenet5", "-o", "file/a.svg"], "Cannot write"),
    (["lenet5", "--effective", "a.png"], "needs a run folder"),
    ([], "required"),
]


@pytest.mark.parametrize(("words", "hint"), REFUSED, ids=[" ".join(w)[:40] for w, _ in REFUSED])
def test_bad_input_is_one_sentence(words, hint, nets, tmp_path, capsys):
    (tmp_path / "file").write_text("a file")
    assert main(["measure", *(word.format(nets=nets) for word in words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [x for x in printed.err.splitlines() if x != "whatever foreign code prints"]
    assert re.search(hint, line)
    assert not list(tmp_path.glob("*.svg"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--input", "3x32x32"], "must be 1xHxW"),
        (["--input", "1x64x64", "--effective", "0.png"], "leave --input out"),
        (["--effective", "no.png"], "None of the images can be read"),
        (["--effective", "nowhere.png"], "nowhere.png"),
        (["--option", "num_classes=3"], "leave it out"),
    ],
)
def test_what_does_not_fit_a_run_is_refused(words, hint, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["measure", str(folder), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert hint in printed.err.splitlines()[-1]


def test_a_damaged_run_is_refused(folder, capsys):
    (folder / "card.json").write_text("{")
    assert main(["measure", str(folder)]) == 2
    assert "card.json" in capsys.readouterr().err
    os.remove(folder / "card.json")
    assert main(["measure", str(folder)]) == 2
    assert "has no card.json" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "G", "1e9", "8GG", "8 G B", "0.0000000001", "NaN"])
def test_bytes_that_are_none(text):
    with pytest.raises(Exception, match="must be a number of bytes"):
        size(text)
