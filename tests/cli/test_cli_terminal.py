"""The command in a real terminal: progress, the last line, names, passwords, and silence where there is no terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.loops import module
from tests.support.oracles import members, need, seven_zip_with
from tests.support.terminals import shown, terminal

MODULE = (sys.executable, "-m", "zipstream_adapter")
NO_TQDM = (
    sys.executable,
    "-c",
    "import sys; sys.modules['tqdm'] = None; from zipstream_adapter.cli import main; sys.exit(main())",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.txt").write_bytes(b"some text\n" * 1000)
    with (tmp_path / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    return tmp_path


@pytest.mark.parametrize("command", [MODULE, NO_TQDM], ids=["tqdm", "plain"])
@pytest.mark.parametrize("columns", [80, 30])
def test_a_progress_line_has_bytes_members_rate_and_the_time_left(
    place: Path, command: tuple[str, ...], columns: int
) -> None:
    if command is MODULE:
        module("tqdm")
    with terminal(*command, "tree", "-o", "out.zip", cwd=place, columns=columns) as seen:
        if columns == 30:
            seen.wait_for(r"\r[^\r\n]*\d")
            seen.wait_for(r"\r[^\r\n]*\r")
        elif command is MODULE:
            seen.wait_for(r"%\|.*\| [\d.]+[MG]/16\.0G \[\d\d:\d\d<\d\d:\d\d.*B/s, 1 member\]")
        else:
            seen.wait_for(r"[MG]iB of 16\.0 GiB \(\d+%\), 1 member, .*iB/s, .* left")
        os.kill(seen.process.pid, signal.SIGINT)
        assert seen.end() == 130
    states = [state for line in seen.said.split("\n") for state in line.split("\r")]
    assert all(len(state.replace("\x1b[K", "")) <= columns for state in states)
    assert shown(seen.said).strip() == "zipstream-adapter: interrupted"
    assert {path.name for path in place.iterdir()} == {"tree"}


@pytest.mark.parametrize("options", [(), ("-o", "out.zip")], ids=["standard output", "file"])
def test_the_last_line_says_what_was_written(place: Path, options: tuple[str, ...]) -> None:
    with (
        (place / "piped.zip").open("wb") as piped,
        terminal(*MODULE, "tree/a.txt", *options, cwd=place, stdout=piped.fileno()) as seen,
    ):
        assert seen.end() == 0
    name = "out.zip" if options else "standard output"
    assert shown(seen.said).startswith(f"zipstream-adapter: wrote {name}: 1 member, 9.8 KiB of data in ")
    assert shown(seen.said).count("\n") == 1
    assert members((place / ("out.zip" if options else "piped.zip")).read_bytes()) == {"a.txt": b"some text\n" * 1000}


def test_quiet_says_nothing_and_verbose_names_each_member(place: Path) -> None:
    (place / "tree/large.bin").write_bytes(b"not large")
    with terminal(*MODULE, "tree", "-q", "-x", "nothing", "-o", "out.zip", cwd=place) as seen:
        assert seen.end() == 0
    assert seen.said == ""
    with terminal(*MODULE, "tree", "-v", "-o", "out.zip", cwd=place) as seen:
        assert seen.end() == 0
    first, second, last = shown(seen.said).splitlines()
    assert (first, second) == ("tree/a.txt", "tree/large.bin")
    assert last.startswith("zipstream-adapter: wrote out.zip: 2 members")
    done = subprocess.run([*MODULE, "tree", "-v", "-o", "out.zip"], cwd=place, capture_output=True, check=True)
    assert done.stderr.splitlines()[:2] == [b"tree/a.txt", b"tree/large.bin"]


def test_nothing_is_said_where_standard_error_is_no_terminal(place: Path) -> None:
    (place / "tree/large.bin").write_bytes(b"not large")
    for arguments in (("tree", "-o", "out.zip"), ("test", "out.zip"), ("extract", "out.zip", "-d", "there")):
        done = subprocess.run([*MODULE, *arguments], cwd=place, capture_output=True, check=True, timeout=200)
        assert done.stderr == b""


def test_a_terminal_gets_no_archive_but_a_word(place: Path) -> None:
    with terminal(*MODULE, "tree", cwd=place) as seen:
        assert seen.end() == 1
    assert "the output is a terminal" in seen.said and "PK" not in seen.said


def test_a_password_is_asked_for_twice(place: Path) -> None:
    module("Crypto")
    with terminal(*MODULE, "tree/a.txt", "--password", "-o", "out.zip", cwd=place) as seen:
        seen.wait_for("Password: $")
        seen.type("correct horse\n")
        seen.wait_for("Again: $")
        seen.type("correct horse\n")
        assert seen.end() == 0
    assert "correct horse" not in seen.said
    assert seven_zip_with("correct horse", place / "out.zip")
    assert not seven_zip_with("wrong", place / "out.zip")


@pytest.mark.parametrize(
    ("typed", "words"), [(["one\n", "two\n"], "the two passwords differ"), (["\n"], "an empty password protects")]
)
def test_passwords_that_are_none(place: Path, typed: list[str], words: str) -> None:
    with terminal(*MODULE, "tree/a.txt", "--password", "-o", "out.zip", cwd=place) as seen:
        for prompt, text in zip(("Password: $", "Again: $"), typed, strict=False):
            seen.wait_for(prompt)
            seen.type(text)
        assert seen.end() == 1
    assert f"--password: {words}" in seen.said
    assert {path.name for path in place.iterdir()} == {"tree"}


def test_a_password_is_not_asked_for_without_a_terminal(place: Path) -> None:
    done = subprocess.run(
        [*MODULE, "tree/a.txt", "--password", "-o", "out.zip"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stderr == b"zipstream-adapter: --password: there is no terminal to ask at: give --password-file\n"


def test_a_member_is_typed_in(place: Path) -> None:
    with terminal(*MODULE, "-", "--name", "typed.txt", "-o", "out.zip", cwd=place) as seen:
        seen.type("hello\n\x04")
        assert seen.end() == 0
    assert members((place / "out.zip").read_bytes()) == {"typed.txt": b"hello\n"}


def test_other_commands_show_their_progress(place: Path) -> None:
    subprocess.run([*MODULE, "tree/a.txt", "-o", "out.zip"], cwd=place, check=True, timeout=200)
    for arguments, words in {
        ("test", "out.zip"): "out.zip: 1 member, 9.8 KiB, all sizes and CRC-32s are right",
        ("extract", "out.zip", "-d", "there"): "extracted 1 member (9.8 KiB) to there",
    }.items():
        with terminal(*MODULE, *arguments, cwd=place) as seen:
            assert seen.end() == 0
        assert words in shown(seen.said)


def test_a_file_that_is_named_like_a_command(place: Path) -> None:
    """An archive could not go to a terminal: so the word is the command there."""
    (place / "tree/large.bin").unlink()
    (place / "test").mkdir()
    subprocess.run([*MODULE, "tree", "-o", "out.zip"], cwd=place, check=True, timeout=200)
    with terminal(*MODULE, "test", "out.zip", cwd=place) as seen:
        assert seen.end() == 0
    assert "all sizes and CRC-32s are right" in seen.said
    with terminal(*MODULE, "test", "-o", "other.zip", cwd=place) as seen:
        assert seen.end() == 0
    assert members((place / "other.zip").read_bytes()) == {"test/": b""}


def test_completion_scripts_are_ones(tmp_path: Path) -> None:
    module("shtab")
    for shell in "bash", "zsh", "fish":
        done = subprocess.run([*MODULE, "--print-completion", shell], capture_output=True, check=True, timeout=200)
        script = tmp_path / shell
        script.write_bytes(done.stdout)
        for option in b"on-conflict", b"extract", b"password-file":
            assert option in done.stdout
    line = (
        f"source {tmp_path / 'bash'}; COMP_WORDS=(zipstream-adapter ext); COMP_CWORD=1; "
        "_shtab_zipstream_adapter 2>/dev/null; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run([need("bash"), "-c", line], capture_output=True, check=False, timeout=200)
    assert done.stdout.split() == [b"extract"]
