import importlib.util
import json
import subprocess
import sys

import pytest

import convarium.models as models
from convarium.errors import UnknownModelError
from convarium.models import catalogue, registry

FAMILIES = list(dict.fromkeys(variant.family for variant in registry.VARIANTS))


@pytest.fixture(scope="module")
def writer(root):
    """The tool that writes the file."""
    path = root / "tools" / "write_catalogue.py"
    spec = importlib.util.spec_from_file_location("write_catalogue", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def few(names):
    """The first, the last, and two between: the long run takes all."""
    return {names[n * (len(names) - 1) // 3] for n in range(4)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choose", [few, pytest.param(set, marks=pytest.mark.long)])
def test_the_file_in_the_wheel_is_what_the_variants_give(family, choose, writer):
    names = choose([variant.name for variant in registry.VARIANTS if variant.family == family])
    stored = [row for row in catalogue.read() if row["name"] in names]
    now = json.loads(catalogue.text(writer.row(row["name"]) for row in stored))
    assert len(stored) == len(names)
    assert stored == now, "run: make families"


def test_every_row_knows_its_work_and_its_field():
    for row in catalogue.read():
        assert row["macs"] > row["parameters"] // 2, row["name"]  # few weights are used only once
        assert len(row["field"]) == len(row["field_stride"]) == row["spatial_dims"], row["name"]
        factor = row["options"].get("factor")  # of fields, the last map is the fine field
        strides = [row["stages"][-1]["reduction"]] * row["spatial_dims"]
        assert row["field_stride"] == ([1 / n for n in factor] if factor else strides), row["name"]


def test_the_file_has_a_line_for_each_row():
    assert catalogue.PATH.read_text(encoding="utf-8") == catalogue.text(catalogue.read())


def test_every_row_states_the_parameters_that_are_there():
    for row, variant in zip(catalogue.read(), registry.VARIANTS, strict=True):
        assert (row["name"], row["parameters"]) == (variant.name, variant.parameters)


def test_names_and_rows_are_those_of_the_registry():
    shipped = [variant.name for variant in registry.VARIANTS]
    assert catalogue.names() == shipped
    assert catalogue.names("plain*") == models.list_models("plain*")
    row = catalogue.find("resnet8")
    assert row["options"]["stem"] == "cifar"
    assert row["choices"]["stem"] == ["imagenet", "cifar", "pool"]
    assert row["stages"][-1] == {"name": "layer3", "channels": 256, "reduction": 4}
    with pytest.raises(UnknownModelError, match="Did you mean 'lenet5'"):
        catalogue.find("lenet-5")


def test_reading_the_list_does_not_import_torch(root):
    code = (
        "import sys; from convarium.models import catalogue; "
        "assert catalogue.find('resnet50')['parameters'] == 25557032; "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root / "src", check=False)
    assert done.returncode == 0
