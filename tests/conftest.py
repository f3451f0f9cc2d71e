"""Profiles and switches that all tests share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.sweeps import WHOLE
from zipstream_adapter._concurrency.pools import usable_cores

# The same examples each time, so that a run tells of what was changed. "thorough" draws others each time.
settings.register_profile(
    "fast", max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("sweep", parent=settings.get_profile("fast"), max_examples=60)
settings.register_profile("thorough", parent=settings.get_profile("fast"), max_examples=1000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sweep" if WHOLE else "fast"))
OUT = {"large": "gigabytes of data", "sweep": "every value of something"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    out = {name: why for name, why in OUT.items() if os.environ.get(f"ZIPSTREAM_{name.upper()}") != "1"}
    for item in items:
        for name in out.keys() & item.keywords:
            item.add_marker(pytest.mark.skip(reason=f"{out[name]}: run with ZIPSTREAM_{name.upper()}=1"))
        if "large" in item.keywords and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1800))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # else each pass of the collector visits thousands of tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return the workers for ``--numprocesses auto``: two more than there are cores, as many tests wait for others."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else usable_cores() + 2


@pytest.fixture(scope="module", autouse=True)
def _no_workers_left() -> Iterator[None]:
    yield
    if "tests.support.workers" in sys.modules:
        sys.modules["tests.support.workers"].end()


_PATIENT = ["_stream.producer", "_stream.async_driver", "_writer.member"]
_PATIENT += ["_entries.prefetch", "_entries.async_prefetch"]


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are marked as patient wait for sources as long as it takes."""
    if request.node.get_closest_marker("patient"):
        for module in _PATIENT:
            monkeypatch.setattr(f"zipstream_adapter.{module}.PATIENCE", 1e6)


@pytest.fixture(autouse=True)
def _no_date_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that want SOURCE_DATE_EPOCH set it themselves."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
