"""The standard library's own tests of zipfile pass with StreamingZipFile in ZipFile's place, but for those listed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.stdlib_cases import MODULES

_ROOT = Path(__file__).parents[2]

_READS = "it reads a member of an archive that is still being written, and those bytes have left"
_FP = "it takes the archive's bytes out of ZipFile.fp, which here is a sink that keeps none"
_LIMIT = "it lowers zipfile's ZIP64_LIMIT, which is no limit here: zip64 begins where the format's fields end"


class NotApplicable(NamedTuple):
    """Tests that fail here and not with zipfile itself, by id, and why. They have to keep failing."""

    tests: str
    reason: str
    since: tuple[int, int] = (3, 11)  # the first Python every release of which has them


NOT_APPLICABLE = [
    NotApplicable("*TestsWithSourceFile.test_read_return_size", _READS),
    NotApplicable("*WriterTests.test_close_after_close", _READS),
    NotApplicable("*WriterTests.test_write_after_close", _READS),
    NotApplicable("OtherTests.test_read0", _READS),
    NotApplicable("OtherTests.test_read_after_write_unicode_filenames", _READS),
    NotApplicable("StoredTestsWithSourceFile.test_write_default_name", _READS),
    NotApplicable("TestWithDirectory.test_root_folder_in_zipfile", _READS, since=(3, 13)),
    NotApplicable("TestsWithMultipleOpens.test_read_after_write", _READS),
    NotApplicable("TestsWithMultipleOpens.test_write_after_read", _READS),
    NotApplicable("TestPath.test_joinpath", _READS),
    NotApplicable("TestPath.test_joinpath_multiple", _READS),
    NotApplicable("TestPath.test_malformed_paths", _READS, since=(3, 13)),
    NotApplicable("TestPath.test_mutability", _READS),
    NotApplicable("TestPath.test_open", _READS),
    NotApplicable("TestPath.test_open_encoding_errors", _READS),
    NotApplicable("TestPath.test_open_encoding_utf16", _READS),
    NotApplicable("TestPath.test_read", _READS),
    NotApplicable("TestPath.test_traverse_truediv", _READS),
    NotApplicable("TestPath.test_unsupported_names", _READS, since=(3, 13)),
    NotApplicable("TestPath.test_extract_orig_with_implied_dirs", _FP),
    NotApplicable("TestPath.test_pathlike_construction", _FP),
    NotApplicable("TestPath.test_pickle", _FP, since=(3, 12)),
    NotApplicable("TestPath.test_read_does_not_close", _FP),
    NotApplicable("StoredTestZip64InSmallFiles.test_append", _LIMIT),
    NotApplicable("StoredTestZip64InSmallFiles.test_unseekable_zip_known_filesize", _LIMIT),
    NotApplicable(
        "StoredTestZip64InSmallFiles.test_unseekable_zip_unknown_filesize",
        "it wants a member that outgrows its header to fail, and here its descriptor gets 64-bit sizes",
    ),
    NotApplicable(
        "*TestsWithSourceFile.test_writing_errors",
        "it goes on with an archive whose file failed in the middle of a member, and here that poisons it",
    ),
]

NOT_APPLICABLE_LATE = [
    *NOT_APPLICABLE,
    NotApplicable(
        "StoredTestZip64InSmallFiles.test_force_zip64",
        "it wants no bit 3 on a file that can seek, and with lookahead=0 every member that has data has it",
    ),
]


def shipped() -> bool:
    try:
        return importlib.util.find_spec(MODULES[0]) is not None
    except ModuleNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not shipped(), reason="this Python comes without its own tests")

# Writer -> the tests to run, those that are listed, and how many pass at least. The loader finding nothing, or the
# replacement not being used, must not pass for success.
_RUNS = {
    "default": (["*"], NOT_APPLICABLE, 180),
    "late": (["Stored*", "Deflate*", "[OPU]*Tests.*", "TestsWith*", "TestWith*"], NOT_APPLICABLE_LATE, 90),
}


def outcomes(writer: str, place: Path, patterns: list[str]) -> dict[str, str]:
    """Test id -> what became of it, from a process of its own that runs in `place`."""
    results = place / "results.json"
    command = [sys.executable, "-m", "tests.interop.stdlib_cases", writer, str(results), *patterns]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, str] = json.loads(results.read_text())
    return found


def is_in(test: str, table: list[NotApplicable]) -> bool:
    return any(fnmatchcase(test, row.tests) for row in table)


@pytest.mark.parametrize("writer", ["default", pytest.param("late", marks=pytest.mark.sweep)])
def test_all_pass_but_for_those_listed_which_all_fail(writer: str, tmp_path: Path) -> None:
    tests, table, least = _RUNS[writer]
    found = outcomes(writer, tmp_path, tests)
    unexpected = [test + "\n" + said for test, said in found.items() if said[:6] == "failed" and not is_in(test, table)]
    assert not unexpected, "\n\n".join(unexpected)
    rotten = [test for test, said in found.items() if said == "passed" and is_in(test, table)]
    assert not rotten, "listed as not applicable, but they pass"
    unmatched = [row.tests for row in table if sys.version_info >= row.since and not any_matches(row, found)]
    assert writer == "late" or not unmatched, "listed, but there are no such tests"
    assert sum(said == "passed" for said in found.values()) > least


def any_matches(row: NotApplicable, found: dict[str, str]) -> bool:
    return any(fnmatchcase(test, row.tests) for test in found)


def test_those_listed_pass_with_zipfile_itself(tmp_path: Path) -> None:
    found = outcomes("zipfile", tmp_path, [row.tests for row in NOT_APPLICABLE_LATE])
    assert found
    assert not [test + "\n" + said for test, said in found.items() if said.startswith("failed")]
