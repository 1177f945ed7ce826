"""Fields that a run keeps for checks: all that its network reads, and a reason where some lack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray
from small_fields import fields

from convarium import data, files, models, predict
from convarium.data import GridOptions
from convarium.errors import RunError
from convarium.train.storage import write_start


def run_of(folder, *, gaps=False, **options):
    """A run that is not trained, with what training keeps, and its parts."""
    path = fields(folder / "fine.nc", 24, 8, 12)
    if gaps:  # a block at every second time, and a cell at all times
        with xarray.load_dataset(path) as found:
            found.u[::2, :2, :2] = np.nan
            found.u[:, 4, 4] = np.nan
        found.to_netcdf(path, engine="h5netcdf")
    given = {"variables": ["u"], "factor": [2, 2], "weighted": options.pop("weighted", True)}
    parts = data.split(data.open_dataset(str(path), fields=given))
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(**options))
    keywords = {"constraint": "additive", "depth": 1, "width": 8, **steps.network_options}
    model = models.create("edsr_small", **keywords)
    steps.begin(model)
    models.save(model, folder / "run", data.build_card(parts, steps))
    write_start(folder / "run", parts, steps)
    return predict.open_run(folder / "run"), parts, steps


def changed(run, keep):
    """What the run keeps, without some of it."""
    path = run.folder / "preprocessing" / "samples.safetensors"
    kept = files.read_tensors(path)
    files.write_tensors(path, {name: kept[name] for name in keep})
    return kept


@pytest.mark.parametrize("start", ["delta", "coarse"])
def test_what_is_kept_is_what_the_network_reads(tmp_path, start):
    run, parts, steps = run_of(tmp_path, gaps=True, start=start, means=True)
    (batch,) = data.batches(parts.validation, steps, batch_size=32, skipped=[])
    given = predict.field_samples(run)
    assert list(given) == ["input", "mask", "fine", "weights"]
    assert torch.equal(given["input"], batch.inputs[0])
    assert torch.equal(given["mask"], batch.mask)
    assert torch.equal(given["fine"], batch.named["fine"])
    areas = torch.tensor(steps.grid.areas, dtype=torch.float32).view(-1, 1).expand(8, 12).clone()
    areas[4, 4] = 0  # never known, which the climatology tells
    assert torch.equal(given["weights"][0, 0], areas)
    kept = changed(run, ["inputs", "ids", "fine"] if start == "delta" else ["inputs", "ids"])
    assert kept["static"].shape == (1, 2, 8, 12)
    assert ("fine" in kept) == (start == "delta")
    with pytest.raises(RunError, match=r"keeps no mask, .*--samples coarse\.nc"):
        predict.field_samples(run)


def test_a_run_that_kept_its_inputs_alone_has_its_weights(tmp_path):
    run, _, steps = run_of(tmp_path, start="coarse")
    changed(run, ["inputs", "ids"])
    given = predict.field_samples(run)
    assert list(given) == ["input", "weights"]
    assert given["weights"].shape == (len(given["input"]), 1, *steps.grid.shape)


def test_cells_that_are_never_known_have_no_weight_without_areas(tmp_path):
    run, _, _ = run_of(tmp_path, gaps=True, weighted=False)
    given = predict.field_samples(run)
    assert given["weights"][:, 0, 4, 4].eq(0).all()
    assert given["weights"].sum() == (8 * 12 - 1) * len(given["input"])
    changed(run, ["inputs", "ids", "mask"])
    with pytest.raises(RunError, match=r"keeps no fine fields, .*--samples coarse\.nc"):
        predict.field_samples(run)
