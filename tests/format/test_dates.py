"""Dates: one instant in UTC, whatever was passed and wherever the machine stands."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zipfile
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter import Entry, OptionError, stream_zip
from zipstream_adapter._format.timestamps import EARLIEST, LATEST, clamped, default_date, extended_timestamp, to_utc

SECOND = timedelta(seconds=1)
NOON = datetime(2024, 2, 29, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "given_as",
    [
        NOON,
        datetime(2024, 2, 29, 12, 0, 1),
        datetime(2024, 2, 29, 17, 30, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2024, 2, 28, 22, 0, 1, tzinfo=timezone(timedelta(hours=-14))),
        int(NOON.timestamp()),
        NOON.timestamp(),
        (2024, 2, 29, 12, 0, 1),
    ],
    ids=["aware", "naive", "east", "west, the day before", "timestamp", "float timestamp", "6-tuple"],
)
def test_every_way_to_say_a_date_is_one_instant(given_as: Any) -> None:
    assert to_utc(given_as) == NOON
    assert to_utc(given_as).tzinfo is UTC


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1980, 1, 3), max_value=datetime(2107, 12, 29)))
def test_an_aware_datetime_keeps_its_instant_in_any_zone(moment: datetime) -> None:
    assert to_utc(moment) == moment.astimezone(UTC)


@pytest.mark.parametrize(
    "value",
    [
        EARLIEST - SECOND,
        LATEST + SECOND,
        datetime(1979, 12, 31, 23, 59, 59, 999999),
        datetime(1980, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2107, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        0,
        -1.5,
        (1979, 12, 31, 23, 59, 59),
        (2108, 1, 1, 0, 0, 0),
        (2023, 2, 29, 0, 0, 0),
        (2024, 1, 1, 24, 0, 0),
        (2024, 1, 1, 0, 0),
        (2024, 1, 1, 0, 0, 0, 0),
        (2024, 1, 1, 0, 0, 0.0),
        time.gmtime(0x60000000),
        1e300,
        float("nan"),
        float("inf"),
        10**30,
        date(2024, 1, 1),
        "2024-01-01",
        True,
        b"",
    ],
    ids=repr,
)
def test_what_is_no_date_or_outside_the_format_is_refused_where_it_is_explicit(value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        to_utc(value)
    assert f"modified={value!r}" in str(caught.value)
    if "outside 1980 to 2107" in str(caught.value):
        assert str(caught.value).endswith(": give a date in it, or leave modified out")


@pytest.mark.parametrize("edge", [EARLIEST, LATEST, LATEST + timedelta(microseconds=999999)])
def test_the_first_and_the_last_second_are_good(edge: datetime) -> None:
    assert to_utc(edge) == edge
    assert row(Entry("a", b"", modified=edge)).date_time[0] in (1980, 2107)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_files_own_date_is_moved_to_the_nearest_that_fits(timestamp: float) -> None:
    # Some file systems keep 64 bits of seconds: every number is possible.
    found = clamped(timestamp)
    if timestamp <= EARLIEST.timestamp():
        assert found == EARLIEST
    elif timestamp >= LATEST.timestamp():
        assert found == LATEST
    else:
        assert abs(found.timestamp() - timestamp) < 1e-5


def row(entry: Entry, **options: Any) -> zipfile.ZipInfo:
    with zipfile.ZipFile(io.BytesIO(b"".join(stream_zip([entry], **options)))) as archive:
        return archive.infolist()[0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, (1980, 1, 1, 0, 0, 0)),
        (int(NOON.timestamp()), (2024, 2, 29, 12, 0, 0)),
        (int(LATEST.timestamp()) + 86400, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_a_path_entry_has_its_files_date_clamped(tmp_path: Path, seconds: int, expected: tuple[int, ...]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"data")
    os.utime(path, (seconds, seconds))
    assert row(Entry.from_path(path)).date_time == expected
    os.utime(tmp_path, (seconds, seconds))
    assert row(Entry.from_path(tmp_path)).date_time == expected


def test_a_stated_date_goes_before_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    assert row(Entry.from_path(tmp_path / "a", modified=NOON)).date_time == (2024, 2, 29, 12, 0, 0)


# Data without a date


def test_data_without_a_date_gets_the_present() -> None:
    before = datetime.now(UTC)
    found = default_date()
    assert before - SECOND <= found <= datetime.now(UTC) + SECOND


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [("1709208001", NOON), ("0", EARLIEST), ("-1", EARLIEST), ("5000000000", LATEST), (str(10**15), LATEST)],
)
def test_source_date_epoch_is_the_date_of_data_without_one(
    monkeypatch: pytest.MonkeyPatch, epoch: str, expected: datetime
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert default_date() == expected
    assert row(Entry("a", b"")).date_time[:5] == expected.timetuple()[:5]
    assert row(Entry("a", b"", modified=(2001, 2, 3, 4, 5, 6))).date_time == (2001, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("epoch", ["yesterday", "1.5", "1e9", "0x10"])
def test_a_malformed_source_date_epoch_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, epoch: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(OptionError, match=f"SOURCE_DATE_EPOCH='{epoch}'"):
        default_date()


def test_an_empty_source_date_epoch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert abs(default_date() - datetime.now(UTC)) < timedelta(minutes=1)


# The extended timestamp


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1980, 1, 1), max_value=datetime(2107, 12, 31)))
def test_the_extended_timestamp_holds_the_second_up_to_2038(moment: datetime) -> None:
    field = extended_timestamp(moment)
    if moment.timestamp() >= 1 << 31:
        assert field == b""
    else:
        # APPNOTE 4.5: id, size, then flags (bit 0: modification time) and signed seconds.
        assert struct.unpack("<2HBl", field) == (0x5455, 5, 1, int(moment.timestamp()))


@pytest.mark.parametrize(("seconds", "size"), [((1 << 31) - 1, 9), (1 << 31, 0)])
def test_members_carry_the_extended_timestamp_until_it_overflows(seconds: int, size: int) -> None:
    assert len(row(Entry("a", b"", modified=seconds)).extra) == size
    assert row(Entry("a", b"", modified=seconds), extended_timestamps=False).extra == b""


def test_a_timestamp_field_of_the_users_own_is_not_doubled() -> None:
    own = extended_timestamp(NOON) + struct.pack("<2H", 0x7777, 0)
    assert row(Entry("a", b"", modified=1e9, extra=own)).extra == own
    other = struct.pack("<2H", 0x7777, 0)
    assert row(Entry("a", b"", modified=NOON, extra=other)).extra == extended_timestamp(NOON) + other


_ARCHIVE = """
import hashlib, sys, time
from datetime import datetime, timezone, timedelta
from pathlib import Path
from zipstream_adapter import Entry, stream_zip, walk
dates = [datetime(2024, 7, 1, 2, 30), datetime(2024, 3, 31, 2, 30, tzinfo=timezone(timedelta(hours=2))),
         1719800000, 1719800000.5, (2024, 10, 27, 2, 30, 0)]
entries = [Entry(str(at), b"data", modified=date) for at, date in enumerate(dates)]
made = b"".join(stream_zip([*entries, Entry("now", b"data"), *walk(sys.argv[1], symlinks="store", directories="all")]))
print(time.strftime("%z"), hashlib.sha256(made).hexdigest())
"""


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system takes no time zone from TZ")
def test_the_time_zone_does_not_reach_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"data")
    (tmp_path / "l").symlink_to("d/f")
    for path in (tmp_path / "d" / "f", tmp_path / "d", tmp_path / "l"):
        os.utime(path, (1719800000, 1719800000), follow_symlinks=False)
    said = []
    for zone in ("EST5EDT", "NZST-12NZDT,M10.1.0,M3.3.0/3"):
        environment = {**os.environ, "TZ": zone, "SOURCE_DATE_EPOCH": "1719800000"}
        command = [sys.executable, "-c", _ARCHIVE, str(tmp_path)]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, timeout=200)
        said.append(done.stdout.split())
    (zone1, digest1), (zone2, digest2) = said
    assert zone1 != zone2
    assert digest1 == digest2
