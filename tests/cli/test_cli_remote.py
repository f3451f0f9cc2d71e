"""The commands list and cat, and that paths to be archived mean what they always have."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.loops import module
from tests.support.remote_archives import archive_of, members_of, noise
from tests.support.remote_servers import serving

SIZES = (300_000, 0, 20)


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "zipstream_adapter", *arguments]
    return subprocess.run(command, capture_output=True, cwd=cwd, timeout=200, check=False)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "a.zip").write_bytes(archive_of(SIZES, zipfile.ZIP_DEFLATED))
    return tmp_path


def test_an_archive_here_is_listed(here: Path) -> None:
    done = run(here, "list", "a.zip")
    assert (done.returncode, done.stderr) == (0, b"")
    sizes = [len(data) for data in members_of(archive_of(SIZES, zipfile.ZIP_DEFLATED)).values()]
    assert done.stdout.decode() == "".join(
        f"{size:14}  2026-01-02 03:04:06  {number}.bin\n" for number, size in enumerate(sizes)
    )


def test_members_of_an_archive_here(here: Path) -> None:
    done = run(here, "cat", "./a.zip", "2.bin", "0.bin")
    members = members_of(archive_of(SIZES, zipfile.ZIP_DEFLATED))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == members["2.bin"] + members["0.bin"]


def test_an_archive_behind_a_url(here: Path) -> None:
    module("obstore")
    with serving(archive=archive_of(SIZES)) as server:
        listed = run(here, "list", server.url + "archive?sig=secret")
        assert [line.split()[0] for line in listed.stdout.decode().splitlines()] == ["300000", "0", "20"]
        assert len(server.asked) == 1
        assert run(here, "cat", server.url + "archive", "0.bin").stdout == noise(300_000)
        missing = run(here, "cat", server.url + "archive?sig=secret", "0.bin", "other")
        assert missing.returncode == 1
        assert missing.stdout == b""  # nothing leaves before all are known
        assert b"no member 'other' in http://127.0.0.1" in missing.stderr
        assert b"secret" not in missing.stderr
        assert run(here, "list", server.url + "nothing").returncode == 1


def test_a_url_without_the_extra_says_which_is_missing(here: Path) -> None:
    (here / "obstore.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-m", "zipstream_adapter", "list", "s3://bucket/key"],
        capture_output=True,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(here)},
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    assert b"install the extra 's3'" in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_is_no_archive(here: Path) -> None:
    (here / "text").write_text("no archive")
    for arguments in (("list", "text"), ("cat", "text", "a"), ("list", "nothing"), ("cat", "a.zip", "nothing")):
        done = run(here, *arguments)
        assert done.returncode == 1, arguments
        assert done.stderr.startswith(b"zipstream-adapter: "), arguments
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_broken_member(here: Path, method: int) -> None:
    data = bytearray(archive_of((300_000,), method))
    data[100:104] = b"\xff\x00\xff\x00"
    (here / "a.zip").write_bytes(data)
    done = run(here, "cat", "a.zip", "0.bin")
    assert done.returncode == 1
    assert b"'0.bin' cannot be read" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away(here: Path) -> None:
    (here / "a.zip").write_bytes(archive_of((5_000_000,)))
    command = f"{sys.executable} -m zipstream_adapter cat a.zip 0.bin | head -c 10 | wc -c"
    done = subprocess.run(command, shell=True, capture_output=True, cwd=here, timeout=200, check=True)
    assert done.stdout.strip() == b"10"
    assert done.stderr == b""


def test_names_that_a_terminal_would_obey_are_spelled_out(here: Path) -> None:
    with zipfile.ZipFile(here / "a.zip", "w") as archive:
        archive.writestr("one\n\x1b[2Jtwo ü", b"")
    assert rb"one\n\x1b[2Jtwo" in run(here, "list", "a.zip").stdout
    assert "two ü" in run(here, "list", "a.zip").stdout.decode()


@pytest.mark.parametrize("name", ["list", "cat"])
def test_files_of_those_names_are_archived_as_ever(here: Path, name: str) -> None:
    (here / name).write_text("a file")
    for path in (name, f"./{name}"):
        done = run(here, path, "a.zip")
        assert done.returncode == 0, done.stderr
        with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
            assert archive.namelist() == [name, "a.zip"]
            assert archive.read(name) == b"a file"
    (here / name).unlink()
    assert run(here, f"./{name}").returncode == 1  # a file that is not there


def test_help_names_the_commands(here: Path) -> None:
    said = run(here, "--help").stdout.decode()
    assert "zipstream-adapter list URL" in said
    assert "./test is always the" in said
    assert "MEMBER" in run(here, "cat", "--help").stdout.decode()
    assert run(here, "list").returncode == 2
