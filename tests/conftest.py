"""Profiles and switches that all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("fast"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("ZIPSTREAM_LARGE") == "1":
        return
    skip = pytest.mark.skip(reason="gigabytes of data: run with ZIPSTREAM_LARGE=1")
    for item in items:
        if "large" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _no_date_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that want SOURCE_DATE_EPOCH set it themselves."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
