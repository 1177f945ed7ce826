"""New versions take the place of old ones between two requests; broken ones do not."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import threading

import pytest
import torch

from convarium import models, predict, serve
from convarium.errors import OptionError, RunError
from convarium.serve import Limits
from convarium.serve.served import named_runs, open_served

PNG = {"Content-Type": "image/png"}


def write_version(folder, steps, seed):
    """A whole run of another seed, in the place of the old one."""
    torch.manual_seed(seed)
    card = {"task": "classification", **steps.to_card(), "seed": seed}
    new = folder.with_name(f"{folder.name}-{seed}")
    models.save(models.create("convnet", num_classes=3), new, card)
    for name in ("model.safetensors", "card.json"):
        os.replace(new / name, folder / name)


def touch(folder):
    """The card comes last."""
    (folder / "card.json").touch()


@pytest.fixture
def folder(photos, tmp_path):
    return shutil.copytree(photos, tmp_path / "photos")


def test_a_new_version_answers_after_a_reload(folder, pictures, serving):
    client = serving({"photos": folder})
    before = client.post("/predict", content=pictures["a.png"], headers=PNG).json()
    assert asyncio.run(client.service.reload(changed=True)) == {}
    write_version(folder, predict.open_run(folder).preprocessing, 1)
    assert asyncio.run(client.service.reload(changed=True)) == {"photos": True}
    after = client.post("/predict", content=pictures["a.png"], headers=PNG).json()
    assert after["version"] != before["version"]
    assert after["predictions"] != before["predictions"]
    lines = client.get("/metrics").text.splitlines()
    assert 'convarium_reloads_total{result="taken",run="photos"} 1.0' in lines


@pytest.mark.parametrize(
    ("name", "broken"),
    [("model.safetensors", b"cut short"), ("card.json", b"[]"), ("card.json", b'{"model": 7}')],
)
def test_a_broken_version_leaves_the_old_one(folder, pictures, serving, name, broken):
    client = serving({"photos": folder})
    before = client.post("/predict", content=pictures["a.png"], headers=PNG).json()
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(broken)
    touch(folder)
    assert asyncio.run(client.service.reload(changed=True)) == {"photos": False}
    assert asyncio.run(client.service.reload(changed=True)) == {}  # nothing new to try
    assert client.post("/predict", content=pictures["a.png"], headers=PNG).json() == before
    events = [json.loads(line)["event"] for line in client.lines.getvalue().splitlines()]
    assert events.count("not_reloaded") == 1
    (folder / name).write_bytes(whole)
    touch(folder)
    assert asyncio.run(client.service.reload(changed=True)) == {"photos": True}


def test_a_version_is_never_half_old(folder, pictures, serving, monkeypatch):
    """The card is read, then both files change, then the weights are."""
    client = serving({"photos": folder})
    before, opened = client.service.named("photos").version, predict.open_run
    steps = opened(folder).preprocessing

    def late(where):
        found = opened(where)
        write_version(folder, steps, 7)
        monkeypatch.undo()
        return found

    monkeypatch.setattr(predict, "open_run", late)
    assert asyncio.run(client.service.reload()) == {"photos": False}
    assert client.service.named("photos").version == before
    assert asyncio.run(client.service.reload(changed=True)) == {"photos": True}


def test_weights_whose_card_is_on_its_way_are_not_taken(folder, serving):
    client = serving({"photos": folder})
    before = client.service.named("photos").version
    weights = folder / "model.safetensors"
    weights.touch()
    assert asyncio.run(client.service.reload(changed=True)) == {}
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    assert asyncio.run(client.service.reload(changed=True)) == {}
    touch(folder)
    assert asyncio.run(client.service.reload(changed=True)) == {"photos": True}
    assert client.service.named("photos").version != before


def test_two_reloads_at_once_take_a_version_once(folder, serving):
    client = serving({"photos": folder})
    write_version(folder, predict.open_run(folder).preprocessing, 9)

    async def both():
        reloads = [client.service.reload(changed=True) for _ in range(2)]
        return await asyncio.gather(*reloads)

    assert asyncio.run(both()) == [{"photos": True}, {}]


def test_a_link_that_moves_while_it_is_followed_changes_nothing(folder, tmp_path, monkeypatch):
    steps = predict.open_run(folder).preprocessing
    write_version(shutil.copytree(folder, tmp_path / "other"), steps, 8)
    link, opened = tmp_path / "link", predict.open_run
    link.symlink_to(folder)
    expected = open_served("a", folder).version

    def late(where):
        link.unlink()
        link.symlink_to(tmp_path / "other")
        return opened(where)

    monkeypatch.setattr(predict, "open_run", late)
    assert open_served("a", link).version == expected


def test_no_request_is_lost_while_versions_change(folder, pictures, serving):
    client = serving({"photos": folder}, watch=0.02)
    steps, statuses, versions, done = predict.open_run(folder).preprocessing, [], set(), []

    def ask():
        while not done:
            answer = client.post("/predict", content=pictures["a.png"], headers=PNG)
            statuses.append(answer.status_code)
            versions.add(answer.json().get("version"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    taken = client.service.metrics.reloads.labels("photos", "taken")
    for seed in range(1, 6):
        write_version(folder, steps, seed)
        wanted = client.service.named("photos").version
        for _ in range(500):
            if client.service.named("photos").version != wanted:
                break
            threading.Event().wait(0.01)
    done.append(True)
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert taken._value.get() >= 5
    assert len(versions) >= 3


def test_a_watch_outlives_what_nobody_foresaw(folder, serving, monkeypatch):
    client = serving({"photos": folder})
    calls = []

    async def broken(*, changed):
        calls.append(changed)
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(client.service, "reload", broken)

    async def watched():
        task = asyncio.ensure_future(client.service.watch(0.001))
        while len(calls) < 3:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(watched())
    assert '"error": "ZeroDivisionError"' in client.lines.getvalue()
    assert "secret" not in client.lines.getvalue()


def test_a_tuned_form_is_used_where_there_is_one(folder, pictures, serving):
    from convarium import deploy

    run = predict.open_run(folder)
    samples = torch.zeros(2, 3, 32, 32)
    engines = ["folded"]
    found = deploy.tune(run.model, run.tuned, samples=samples, engines=engines, threads=[1])
    client = serving({"photos": folder})
    assert client.get("/info").json()["form"] == found.chosen.form.label
    plain = serve.Service({"photos": folder}, untuned=True, journal=serve.Journal(io.StringIO()))
    assert plain.named("photos").form == "the network itself"
    plain.close()
    answer = client.post("/predict", content=pictures["a.png"], headers=PNG)
    assert answer.status_code == 200


def test_an_error_in_the_server_is_told_to_nobody(photos, pictures, serving, monkeypatch):
    client = serving({"photos": photos})
    served = client.service.named("photos")

    def broken(batch):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(served.predictor, "outputs", broken)
    answer = client.post("/predict", content=pictures["a.png"], headers=PNG)
    assert (answer.status_code, answer.json()["error"]) == (500, "failed")
    told = [json.loads(line) for line in client.lines.getvalue().splitlines()]
    (failed,) = [line for line in told if line["event"] == "failed"]
    assert (failed["error"], failed["id"]) == ("ZeroDivisionError", answer.headers["x-request-id"])
    assert any("broken" in place for place in failed["at"])
    assert "secret" not in answer.text + client.lines.getvalue()


def test_what_is_no_run_is_refused(tmp_path, photos):
    with pytest.raises(RunError, match="no run folder"):
        serve.Service({"none": tmp_path / "none"})
    with pytest.raises(OptionError, match="no run to serve"):
        serve.Service({})
    with pytest.raises(OptionError, match="queue"):
        Limits(queue=0)


def test_runs_are_named_by_their_folders():
    assert {name: str(path) for name, path in named_runs(["a/photos", "b=c/d"]).items()} == {
        "photos": "a/photos",
        "b": "c/d",
    }
    with pytest.raises(OptionError, match="Two runs are called 'photos'"):
        named_runs(["a/photos", "b/photos"])
    with pytest.raises(OptionError, match="plain name"):
        named_runs(["a b"])
