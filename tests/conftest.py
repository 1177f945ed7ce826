"""Settings and fixtures that every room's tests share."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

# Two tests run side by side, and a test's own processes inherit this: one thread each, and the
# package of this checkout.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1] / "src")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "convarium",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("convarium")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that `make data` fills; only tests marked `long` ask for it."""
    default = Path.home() / ".cache" / "convarium"
    folder = Path(os.environ.get("CONVARIUM_DATA", default))
    if not (folder / "fashion-mnist").is_dir():
        pytest.fail(f"no real data under {folder}; run: make data")
    return folder


@pytest.fixture(autouse=True)
def sources_read_once() -> None:
    """Half the time of an export goes into onnxscript's own 500 sources: each is read once here."""
    values = sys.modules.get("onnxscript._internal.values")
    if values is None:
        return
    traced = values.TracedOnnxFunction
    if isinstance(kept := traced.function_ir, property):
        traced.function_ir = functools.cached_property(kept.fget)
        traced.function_ir.__set_name__(traced, "function_ir")
