"""The page of fine fields: what it says of distributions, rare values and cells without a truth."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from convarium import data, tasks
from convarium.data import Batch, Dataset
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.pairs import perfect_pairs
from convarium.data.grids.samples import GridSamples
from convarium.report.field_page import write_fields_page


def dataset(years):
    """Temperatures of years over a region, a corner of which is never known."""
    random = np.random.default_rng(0)
    grid = Grid(30 + 2.0 * np.arange(12), 2.0 * np.arange(16))
    values = (280 + random.normal(size=(years, 12, 16))).astype("f4")
    values[:, :4, :4] = np.nan
    times = np.arange("1900", str(1900 + years), dtype="datetime64[Y]").astype("datetime64[ns]")
    fields = fields_of_arrays({"t": values}, grid, times=times, units={"t": "K"})
    samples = GridSamples(perfect_pairs(fields, 4, ["t"]))
    facts = {"task": "downscale", "classes": ["t"], "units": ["K"], "targets": samples.told[1]}
    return Dataset(samples, source="made", mirrored=False, **facts)


@pytest.mark.parametrize("years", [16, 48])
def test_a_page_of_distributions(tmp_path, years):
    made = dataset(years)
    parts = data.split(made, test=0.5)
    steps = data.fit_preprocessing(parts.train)
    ids = parts.test.ids
    truth = torch.from_numpy(made.samples.pairs.read(ids)[1])
    task = tasks.Downscaling(("t",), ("K",), (280.0,), (1.0,), parts=("mean", "spread"))
    meter = task.meter()
    named = {"weights": torch.isfinite(truth).float()}
    given = torch.cat([torch.full_like(truth, 280.0), torch.full_like(truth, 0.5)], 1)
    index = torch.from_numpy(ids)
    meter.add(given, Batch((truth,), truth, None, index, None, named=named))
    found = tasks.beside_baselines(meter.evaluation(), made, steps)
    card = {"task": "downscale", "classes": ["t"], "model": {"name": "espcn", "options": {}}}
    path = write_fields_page(
        tmp_path / "page.html", card=card, history=[], evaluation=found, dataset=made
    )
    page = path.read_text()
    assert "Where the truth falls" in page
    shares = [float(each) for each in re.findall(r'<td class="n">([\d.]+)&nbsp;%</td><td', page)]
    assert len(shares) == 10
    assert min(shares[0], shares[-1]) > 20  # half as wide as it should be
    assert ("Ten years" in page) == (years == 48)  # of 8 and 24 years of the test
    assert "nan on average" not in page
    row = next(row for row in found.rows["t"] if row.method == "network")
    assert row.crps == pytest.approx(found.crps[0])
    assert row.crps_interval[0] < row.crps < row.crps_interval[1]
    plain = next(row for row in found.rows["t"] if row.method == "bilinear")
    assert plain.crps == plain.mae
    assert found.crps_gains == {}  # over values alone, which any spread beats
    assert "CRPS" in " ".join(found.lines())
    assert "smaller than" not in " ".join(found.lines())
    compared = found.comparisons["t"]
    values = {n: v if n == "network" else compared.truth for n, v in compared.values.items()}
    exact = dataclasses.replace(
        found, comparisons={"t": dataclasses.replace(compared, values=values)}
    )
    path = write_fields_page(path, card=card, history=[], evaluation=exact, dataset=made)
    assert "has no error without training, and the network has" in path.read_text()
    assert "nan" not in re.findall(r'<p class="figure">(.*)</p>', path.read_text())[0]
