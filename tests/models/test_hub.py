"""The Hub: up and down against a server that speaks its protocol, in processes of their own.

The client reads its settings from the environment when it is first imported.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from forked import Forked, execute
from hub_server import COMMIT, Server
from peer_truth import fill
from safetensors.torch import save_file

from convarium import models
from convarium.errors import MissingExtraError, OptionError
from convarium.models import hub

PLAY = """
import json
from pathlib import Path
import torch
import convarium
from convarium import files, models
out, NET = {}, "resnet20_cifar"
def said(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except convarium.errors.ConvariumError as error:
        return f"{type(error).__name__}: {error}"
"""


def play(server: Server, home: Path, code: str, **settings: str) -> dict[str, Any]:
    """Run code in a process whose Hub is the server; `out` comes back."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))
    }
    environment |= {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_none",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        **settings,
    }
    text = PLAY + code + "\nprint(json.dumps(out))"
    done = Forked(execute, text, folder=home.parent, words=environment).wait()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


UP_AND_DOWN = """
card = {"task": "classification", "classes": ["a", "b", "c"]}
model = models.create(NET, num_classes=3)
out["address"] = models.push_to_hub(model, "me/net", card, licence="apache-2.0")
folder = models.pull_from_hub("me/net")
out["folder"], out["classes"] = str(folder), models.read_card(folder)["classes"]
twin = models.load(folder)
pairs = zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
out["same"] = all(torch.equal(a, b) for a, b in pairs)
again = models.create(NET, pretrained="me/net", num_classes=5)
out["again"] = [again.num_classes, torch.equal(again.stem.conv.weight, model.stem.conv.weight)]
out["nothing"] = said(models.create, NET, pretrained="me/nothing")
out["empty"] = said(models.create, NET, pretrained="me/empty")
out["other"] = said(models.create, "resnet32_cifar", pretrained="me/net")
out["name"] = said(models.push_to_hub, model, "not a name")
fields = models.create("espcn", factor=2, cells=[4, 6], cell_kernel=3, constraint="additive")
torch.nn.init.normal_(fields.places.local.weight)
kept = Path("run")
kept.mkdir()
files.write_tensors(kept / "scatter.safetensors", {"patterns": torch.randn(3, 1, 8, 12)})
models.push_to_hub(fields.eval(), "me/fields", {"classes": ["u"], "beside": ["x"]}, folder=kept)
folder, x = models.pull_from_hub("me/fields"), torch.randn(2, 1, 4, 6)
out["fields"] = torch.equal(models.load(folder)(x), fields(x))
patterns = [files.read_tensors(each / "scatter.safetensors")["patterns"] for each in (kept, folder)]
out["patterns"] = torch.equal(*patterns)
models.push_to_hub(fields, "me/again", models.read_card(folder))
out["without"] = models.read_card(models.pull_from_hub("me/again")).get("beside")
out["unsaved"] = said(models.push_to_hub, type(model)(num_classes=3), "me/net")
"""
OFFLINE = """
out["kept"] = models.create(NET, pretrained="me/net").num_classes
out["unknown"] = said(models.create, NET, pretrained="me/unknown")
out["default"] = said(models.create, "mobilenet_v1", pretrained=True)
"""


def test_a_network_goes_up_and_comes_down_and_stays_without_the_network(
    server: Server, tmp_path: Path
) -> None:
    (server.folder / "me" / "empty").mkdir(parents=True)
    out = play(server, tmp_path / "home", UP_AND_DOWN)
    assert out["address"] == f"{server.address}/me/net"
    assert Path(out["folder"]).name == COMMIT
    assert out["classes"] == ["a", "b", "c"]
    assert out["same"]
    assert out["again"] == [5, True]
    about = (server.folder / "me" / "fields" / "README.md").read_text()
    assert "tags: [convarium]" in about
    assert "- variables: u" in about
    assert (out["fields"], out["patterns"], out["without"]) == (True, True, None)
    assert out["nothing"].startswith("DataError: Cannot fetch card.json of me/nothing (404")
    assert out["empty"].startswith("DataError: Cannot fetch model.safetensors of me/empty (404")
    assert "holds resnet20_cifar, not resnet32_cifar" in out["other"]
    assert out["name"].startswith("OptionError: Cannot upload to not a name")
    assert out["unsaved"].startswith("OptionError")

    uploaded = server.folder / "me" / "net"
    assert {path.name for path in uploaded.iterdir()} == {
        "README.md", "card.json", "model.safetensors",
    }  # fmt: skip
    page = (uploaded / "README.md").read_text()
    assert page.startswith("---\nlibrary_name: convarium\n")
    assert 'license: "apache-2.0"' in page
    assert 'convarium.models.pull_from_hub("me/net")' in page

    out = play(server, tmp_path / "home", OFFLINE, HF_HUB_OFFLINE="1")
    assert out["kept"] == 3
    assert "Cannot fetch card.json of me/unknown (" in out["unknown"]
    assert "give its path instead" in out["unknown"]
    assert "of timm/mobilenetv1_100.ra4_e3600_r224_in1k (" in out["default"]


DEFAULT = """
model = models.create("mobilenet_v1", pretrained=True)
out["weights"] = model.published.hub_id
out["size"] = model.published.card()["preprocessing"]["input_shape"]
state = model.state_dict()
out["sums"] = [float(t.double().sum()) for t in state.values()]
unlisted = models.create("mobilenet_v1", pretrained="me/unlisted")
out["unlisted"] = unlisted.published
out["stem"] = torch.equal(unlisted.stem.state_dict()["conv.weight"], state["stem.conv.weight"])
"""


def test_the_default_weights_come_from_the_hub(root: Path, server: Server, tmp_path: Path) -> None:
    facts = json.loads((root / "tests/reference/published/timm-mobilenetv1_100.json").read_text())
    state = {key: fill(key, shape).float().contiguous() for key, shape in facts["keys"]}
    for repo_id in ("timm/mobilenetv1_100.ra4_e3600_r224_in1k", "me/unlisted"):
        folder = server.folder / repo_id
        folder.mkdir(parents=True)
        save_file(state, folder / "model.safetensors")
    out = play(server, tmp_path / "home", DEFAULT)
    assert out["weights"] == "timm/mobilenetv1_100.ra4_e3600_r224_in1k"
    assert out["size"] == [3, 256, 256]
    wanted = models.create("mobilenet_v1")
    models.load_published(wanted, state)
    sums = [float(tensor.double().sum()) for tensor in wanted.state_dict().values()]
    assert out["sums"] == pytest.approx(sums, rel=1e-12)
    assert out["unlisted"] is None
    assert out["stem"]


def test_the_page_of_a_network_runs_and_names_its_classes() -> None:
    model = models.create("resnet20_cifar", num_classes=30)
    card = {"task": "classification", "classes": [str(n) for n in range(30)], "preprocessing": {}}
    page = hub.readme(model, "me/net", card, None)
    assert "license" not in page
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in page
    assert "18, 19 and 10 more" in page
    code = page.split("```python\n")[1].split("```")[0]
    compile(code, "README.md", "exec")
    assert "open_run" in code


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: models.create("resnet18", pretrained=True),
        lambda: models.pull_from_hub("me/net"),
        lambda: models.push_to_hub(models.create("resnet20_cifar"), "me/net"),
    ):
        with pytest.raises(MissingExtraError, match=r"convarium\[hub\]"):
            call()
    with pytest.raises(MissingExtraError, match="pretrained='imagenet1k_v1', which needs no"):
        models.create("resnet18", pretrained=True)


def test_names_that_are_no_repository_are_refused() -> None:
    with pytest.raises(OptionError, match="owner/name"):
        models.pull_from_hub("a/b/c")


UNREACHABLE = """
import time
start = time.monotonic()
out["default"] = said(models.create, "resnet18", pretrained=True)
out["other"] = said(models.create, NET, pretrained="me/other")
out["seconds"] = time.monotonic() - start
"""


def test_a_hub_that_cannot_be_reached_is_given_up_at_once(server: Server, tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9"
    out = play(server, tmp_path / "home", UNREACHABLE, HF_ENDPOINT=closed)
    assert "Cannot fetch model.safetensors of timm/resnet18.a1_in1k (" in out["default"]
    assert "Cannot fetch card.json of me/other (" in out["other"]
    assert "not in the cache" not in out["other"]
    assert out["seconds"] < 8
