"""The samples of a plain run hold all that they have to."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.support import sweeps


@pytest.fixture(params=[False, True], ids=["plain", "whole"])
def whole(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sweeps, "WHOLE", request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    "axes", [("ab", "cd", "ef"), ("abc", "defg", "hi", "jk"), ("abcdefg", "hijk", "lm", "no", "pq")]
)
def test_each_two_values_meet(axes: tuple[str, ...], whole: bool) -> None:
    rows = sweeps.pairs(*axes)
    assert len(rows) == len(set(rows))
    assert (set(rows) == set(product(*axes))) == whole
    for one, other in combinations(range(len(axes)), 2):
        assert {(row[one], row[other]) for row in rows} == set(product(axes[one], axes[other]))


def test_a_sample_has_both_ends(whole: bool) -> None:
    assert sweeps.sample(range(100), 4) == (list(range(100)) if whole else [0, 33, 66, 99])
    assert sweeps.sample("abc", 4) == ["a", "b", "c"]
