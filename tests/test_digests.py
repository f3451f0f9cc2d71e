"""Every archive of `tests.archives` has the bytes that it had: their SHA-256 stands in digests.json.

``python -m tests.test_digests`` writes the file anew and names the archives that changed. A change of bytes is a change
for users (of ETags, of resumed downloads): it belongs into the CHANGELOG.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest

from tests.archives import EPOCH, archives

DIGESTS = Path(__file__).with_name("digests.json")
KNOWN: dict[str, list[object]] = json.loads(DIGESTS.read_text("utf-8")) if DIGESTS.exists() else {}
ARCHIVES = archives()


def digest_of(name: str, place: Path) -> list[object]:
    """The archive's length in bytes and its SHA-256."""
    try:
        # Some compat modules show dates by the machine's clock.
        with mock.patch.dict(os.environ, {"SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC"}):
            time.tzset()
            data = ARCHIVES[name](place)
    finally:
        time.tzset()
    return [len(data), hashlib.sha256(data).hexdigest()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_has_the_bytes_it_had(name: str, place: Path) -> None:
    assert digest_of(name, place) == KNOWN[name]


def test_every_digest_is_of_an_archive() -> None:
    assert list(KNOWN) == list(ARCHIVES)


def _write() -> None:
    with tempfile.TemporaryDirectory() as place:
        found = {name: digest_of(name, Path(place)) for name in ARCHIVES}
    changed = [name for name in {**KNOWN, **found} if KNOWN.get(name) != found.get(name)]
    print(f"{len(found)} archives; changed, new or gone:", *changed, sep="\n  ")  # noqa: T201
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(digest)}" for name, digest in found.items())
    DIGESTS.write_text("{\n" + lines + "\n}\n", "utf-8")


if __name__ == "__main__":
    _write()
