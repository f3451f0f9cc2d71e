"""The options of the command `create`: what goes in, under which name, and what is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.oracles import members

MODULE = (sys.executable, "-m", "zipstream_adapter")
FILES = {"a.txt": b"some text\n" * 100, "b.log": b"a log", "sub/c.txt": b"c", "sub/deep/d.jpg": bytes(range(256)) * 100}


def spelled(value: object) -> str | None:
    """The name of a parameter that is a command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else None


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def run(place: Path, *arguments: str, data: bytes = b"") -> tuple[int, bytes, str]:
    done = subprocess.run([*MODULE, *arguments], cwd=place, input=data, capture_output=True, timeout=200, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def made(place: Path, *arguments: str, data: bytes = b"") -> dict[str, bytes]:
    """What is in the archive, which is made without a word."""
    status, archive, said = run(place, *arguments, data=data)
    assert (status, said) == (0, "")
    return members(archive)


def tree(*names: str) -> dict[str, bytes]:
    return {f"tree/{name}": FILES[name] for name in names}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("create", "tree"), tuple(FILES)),
        (("tree", "-i", "*.txt"), ("a.txt", "sub/c.txt")),
        (("tree", "-i", "sub/*"), ("sub/c.txt", "sub/deep/d.jpg")),
        (("tree", "-i", "tree/sub/c.txt", "-i", "b.log"), ("b.log", "sub/c.txt")),
        (("tree", "-i", "*.txt", "-x", "sub"), ("a.txt",)),
        (("-x", "*.txt", "tree", "-x", "deep"), ("b.log",)),
    ],
    ids=spelled,
)
def test_patterns_choose_what_goes_in(place: Path, arguments: tuple[str, ...], names: tuple[str, ...]) -> None:
    emptied = {"tree/sub/": b""} if "deep" in arguments else {}
    assert made(place, *arguments) == tree(*names) | emptied


def test_patterns_that_matched_nothing_are_named(place: Path) -> None:
    status, _, said = run(place, "tree", "-x", "*.tmp", "-x", "*.log", "-i", "*.txt", "-i", "*.png", "-o", "out.zip")
    assert status == 0
    assert said.splitlines() == [
        "zipstream-adapter: warning: --exclude '*.tmp' matched nothing",
        "zipstream-adapter: warning: --include '*.png' matched nothing",
    ]
    status, _, said = run(place, "tree", "-i", "*.png", "-o", "out.zip")
    assert said.splitlines()[-1] == "zipstream-adapter: warning: the archive is empty: there was nothing to put into it"
    assert run(place, "tree", "-i", "*.png", "-q", "-o", "out.zip") == (0, b"", "")
    status, _, said = run(place, "*.png", "-o", "out.zip")
    assert status == 1
    assert said.startswith("zipstream-adapter: '*.png': No such file or directory (the pattern matched nothing)")


def test_a_list_may_have_a_named_pipe_that_is_skipped(place: Path) -> None:
    os.mkfifo(place / "pipe")
    assert made(place, "-@", "--skip-special", data=b"pipe\ntree/a.txt\n") == {"tree/a.txt": FILES["a.txt"]}


@pytest.mark.parametrize("options", [("-@",), ("-T", "-"), ("-@", "--null"), ("--files-from", "list")], ids=spelled)
def test_paths_come_from_lists(place: Path, options: tuple[str, ...]) -> None:
    end = "\0" if "--null" in options else "\n"
    paths = end.join(["tree/a.txt", "./tree/sub/", "tree//sub/deep/d.jpg", ""]).encode()
    (place / "list").write_bytes(paths)
    expected = tree("a.txt", "sub/deep/d.jpg") | {"tree/sub/": b""}
    assert made(place, *options, data=paths) == expected
    assert made(place, "tree/b.log", *options, data=paths) == expected | {"b.log": FILES["b.log"]}


def test_a_list_may_have_any_name_and_absolute_ones(place: Path) -> None:
    (place / "two\nlines").write_bytes(b"2")
    listed = os.fsencode(place / "tree/a.txt") + b"\0two\nlines\0"
    name = str(place / "tree/a.txt").lstrip("/")
    assert made(place, "-@", "--null", data=listed) == {name: FILES["a.txt"], "two\nlines": b"2"}
    status, _, said = run(place / "tree", "-@", data=b"../tree/a.txt\n")
    assert status == 1 and "'..' component" in said


def test_standard_input_and_pipes_are_members(place: Path) -> None:
    assert made(place, "-", data=b"data") == {"-": b"data"}
    assert made(place, "-", "--name", "dir/data.txt", "tree/a.txt", data=b"data") == {
        "dir/data.txt": b"data",
        "a.txt": FILES["a.txt"],
    }
    assert made(place, "-", "--name", "data.txt", "--prefix", "top", data=b"") == {"top/data.txt": b""}
    assert made(place, "tree/a.txt", "--name", "b.txt") == {"b.txt": FILES["a.txt"]}
    for line in (
        "cat tree/a.txt | {} /dev/stdin --name x",
        "{} <(cat tree/a.txt) --name x",
        "{} - --name x < tree/a.txt",
    ):
        done = subprocess.run(
            ["bash", "-c", line.format(" ".join(MODULE))], cwd=place, capture_output=True, timeout=200, check=True
        )
        assert members(done.stdout) == {"x": FILES["a.txt"]}


@pytest.mark.parametrize(
    ("options", "method", "smaller"),
    [
        (("-0",), zipfile.ZIP_STORED, False),
        (("-1",), zipfile.ZIP_DEFLATED, True),
        (("-9",), zipfile.ZIP_DEFLATED, True),
        (("-0", "--compression=deflate"), zipfile.ZIP_DEFLATED, False),
        (("-9", "--compression=bzip2"), zipfile.ZIP_BZIP2, True),
        (("-0", "--compression=none"), zipfile.ZIP_STORED, False),
    ],
    ids=spelled,
)
def test_digits_are_levels(place: Path, options: tuple[str, ...], method: int, smaller: bool) -> None:
    status, data, said = run(place, "tree/a.txt", *options)
    assert (status, said) == (0, "")
    (info,) = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert info.compress_type == method
    assert (info.compress_size < info.file_size) == smaller


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a PATH to archive"),
        (("tree", ""), "PATH '': give a path, or '.'"),
        (("--comp", "none", "tree"), "unrecognized arguments: --comp"),
        (("tree", "-1", "--level", "2"), "-1 and --level: give one of them"),
        (("tree", "-q", "-v"), "--quiet and --verbose: give one of them"),
        (("tree", "--force", "--on-conflict", "error"), "--force and --on-conflict error: give one of them"),
        (("tree", "--null"), "--null is about the lists"),
        (("tree", "a", "--name", "b"), "--name names one member"),
        (("tree", "--name", "b"), "'tree' is a directory: see --prefix"),
        (("-", "-@"), "standard input can be one thing"),
        (("-", "--password-file", "-"), "standard input can be one thing"),
        (("extract", "a.zip", "--dir", "x"), "unrecognized arguments"),
        (("cat", "a.zip"), "required: ARCHIVE, MEMBER"),
        (("extract",), "required: ARCHIVE (see zipstream-adapter extract --help)"),
    ],
    ids=spelled,
)
def test_a_wrong_command_line_is_status_2(place: Path, arguments: tuple[str, ...], words: str) -> None:
    status, out, said = run(place, *arguments)
    *usage, line = said.splitlines()
    assert (status, out) == (2, b"")
    assert usage[0].startswith("usage: zipstream-adapter")
    assert line.startswith("zipstream-adapter: ") and words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tree", "--level", "99"), "--level 99 is out of range for deflate: use 0 to 9"),
        (("tree", "--compression", "zstd", "--level", "99"), "--level 99 is out of range for zstd: use -131072 to 22"),
        (("tree/a.txt", "tree/a.txt"), "choose --duplicates rename or allow"),
        (("tree/sub/.", "--prefix", "a//b"), "choose --names repair (make it safe) or --names allow"),
        (("tree", "--workers", "-1"), "--workers -1: give a whole number, 0 for none\n"),
        (("tree", "--level", "-2"), "--level -2 is out of range for deflate"),
        (("tree", "level=9"), "'level=9': No such file or directory"),
        (("tree", "-o", "missing/out.zip"), "'missing/out.zip': No such file or directory"),
        (("pipe",), "pipe' is a socket, a named pipe or a device: choose --skip-special, or exclude it"),
    ],
    ids=spelled,
)
def test_errors_speak_of_options(place: Path, arguments: tuple[str, ...], words: str) -> None:
    if "zstd" in arguments:
        pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    (place / "pipe").mkdir()
    os.mkfifo(place / "pipe/pipe")
    status, _, said = run(place, *arguments, *(() if "-o" in arguments else ("-o", "out.zip")))
    assert status == 1
    assert words in said
    assert ".part" not in said and said.count("\n") == 1


def test_what_is_no_archive_is_not_overwritten(place: Path) -> None:
    status, _, said = run(place, "tree/b.log", "-o", "tree/a.txt")
    assert (status, said) == (
        1,
        "zipstream-adapter: 'tree/a.txt' exists and is not a zip archive: give another name, or --force to replace "
        "it\n",
    )
    assert (place / "tree/a.txt").read_bytes() == FILES["a.txt"]
    assert run(place, "tree/b.log", "-o", "out.zip")[0] == 0
    for _ in range(2):
        assert run(place, "tree/b.log", "-o", "out.zip")[0] == 0
    status, _, said = run(place, "tree/b.log", "-o", "out.zip", "--on-conflict", "error")
    assert (status, said) == (1, "zipstream-adapter: 'out.zip' exists: give another name, or --force to replace it\n")
    (place / "empty").touch()
    (place / "cut.zip").write_bytes((place / "out.zip").read_bytes()[:50])
    (place / "sfx.exe").write_bytes(b"MZ" * 100 + (place / "out.zip").read_bytes())
    for name in "empty", "cut.zip", "sfx.exe":
        assert run(place, "tree/b.log", "-o", name)[0] == 0
    for option in ("--force",), ("-f",), ("--on-conflict", "replace"):
        (place / "text").write_text("text")
        assert run(place, "tree/b.log", "-o", "text", *option)[0] == 0
        assert members((place / "text").read_bytes()) == {"b.log": FILES["b.log"]}


def test_a_dry_run_lists_and_writes_nothing(place: Path) -> None:
    os.utime(place / "tree/b.log", (10**9, 10**9))
    status, out, said = run(place, "tree", "-x", "*.txt", "--dry-run", "-o", "out.zip")
    assert status == 0
    assert out.decode().splitlines()[0] == "             5  2001-09-09 01:46:40  tree/b.log"
    assert len(out.splitlines()) == 2
    assert said == "zipstream-adapter: 2 members, 25.0 KiB of data, would be written to 'out.zip'\n"
    assert {path.name for path in place.iterdir()} == {"tree"}
    assert run(place, "tree/a.txt", "tree/a.txt", "--dry-run")[0] == 1
    assert run(place, "missing", "--dry-run")[0] == 1


def test_ignored_errors_are_named_and_fail(place: Path) -> None:
    (place / "tree/link").symlink_to("nowhere")
    (place / "tree/out").symlink_to("/")
    status, _, said = run(place, "tree", "missing", "--ignore-errors", "-o", "out.zip")
    assert status == 1
    *named, last = said.splitlines()
    assert [word for word in ("tree/link", "'tree/out' is a link that leaves", "'missing'") if word not in said] == []
    assert len(named) == 3
    assert last == "zipstream-adapter: 3 errors: the archive lacks the paths named above"
    assert members((place / "out.zip").read_bytes()) == tree(*FILES)
    assert run(place, "tree", "--ignore-errors", "-x", "link", "-x", "out", "-o", "out.zip") == (0, b"", "")


def test_the_version_is_said_at_once(place: Path) -> None:
    """Without the modules that make or read archives."""
    status, out, said = run(place, "--version")
    assert (status, said) == (0, "")
    assert out.startswith(b"zipstream-adapter 0.")
    code = (
        "import sys; from zipstream_adapter.cli import main; main(['-V'])\n"
        "print(*(set(sys.modules) & {'argparse', 'zipfile', 'zlib', 'asyncio', 'pathlib', 'tqdm'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=200)
    assert done.stdout == out + b"\n"


@pytest.mark.parametrize("command", ["", "create", "list", "cat", "extract", "test", "serve"])
def test_help_fits_a_terminal_and_has_examples(place: Path, command: str) -> None:
    done = subprocess.run(
        [*MODULE, *command.split(), "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        check=True,
        timeout=200,
    )
    lines = done.stdout.decode().splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert "examples:" in lines
    assert any(line.startswith(f"  zipstream-adapter {command or 'photos'}") for line in lines) or command == "create"


def test_seekable_members_have_an_index_that_only_readers_of_a_pipe_see(place: Path) -> None:
    (place / "long.txt").write_bytes(b"0123456789abcde\n" * (1 << 16))
    _, archive, said = run(place, "--seekable", "long.txt", "tree/a.txt")
    assert said == ""
    assert set(members(archive)) == {"long.txt", "a.txt"}
    assert archive.count(b".sozip.idx") == archive.count(b".long.txt.sozip.idx") == 1


@pytest.mark.parametrize("option", ["--compression=bzip2", "-0", "--level=0"])
def test_only_deflated_members_are_seekable(place: Path, option: str) -> None:
    status, archive, said = run(place, "--seekable", option, "tree")
    assert status == 1
    assert archive == b""
    assert "--seekable: " in said


def test_a_list_whose_paths_end_otherwise_is_refused(place: Path) -> None:
    for option in "-@", "--files-from=list":
        (place / "list").write_bytes(b"tree/a.txt\0tree/b.log\0")
        status, _, said = run(place, option, "-o", "out.zip", data=(place / "list").read_bytes())
        assert status == 1
        assert said.endswith(" has NUL bytes: give --null if its paths end in them (find -print0)\n")
    status, _, said = run(place, "-@", "-o", "out.zip", data=b"tree/a.txt\r\n")
    assert status == 1
    assert "'tree/a.txt\\r': No such file or directory (the lines of the list end in CR LF" in said
    assert not (place / "out.zip").exists()


def test_long_lists_are_read_in_parts(place: Path) -> None:
    lines = b"tree/a.txt\n" + b"\n" * (1 << 20) + b"tree/b.log"
    assert made(place, "-@", data=lines) == tree("a.txt", "b.log")
    assert made(place, "-@", "--null", data=lines.replace(b"\n", b"\0")) == tree("a.txt", "b.log")


@pytest.mark.parametrize("arguments", ["--version", "-V", "--help", "list --help", "--print-completion bash"])
def test_a_text_that_cannot_be_written_is_a_failure(place: Path, arguments: str) -> None:
    if "completion" in arguments:
        pytest.importorskip("shtab")
    command = [*MODULE, *arguments.split()]
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=place, timeout=200, check=False)
        assert (done.returncode, done.stderr) == (1, b"zipstream-adapter: standard output: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=place, timeout=200, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    if "help" not in arguments:
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        done = subprocess.run(closed, stderr=subprocess.PIPE, cwd=place, timeout=200, check=False)
        assert done.returncode == 1
        assert done.stderr == b"zipstream-adapter: standard output is closed: redirect it to a file or a pipe\n"


def test_a_password_is_not_read_from_a_closed_standard_input(place: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *MODULE, "tree", "--password-file", "-", "-o", "out.zip"]
    done = subprocess.run(command, capture_output=True, cwd=place, timeout=200, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"zipstream-adapter: --password-file -: standard input is closed")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("gone", [False, True], ids=["full", "gone"])
def test_messages_that_nobody_gets_do_not_stop_the_work(place: Path, gone: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        for options, status in {("-v",): 0, ("-x", "nothing"): 0, ("missing", "--ignore-errors"): 1}.items():
            command = [*MODULE, "tree", *options, "-o", "out.zip"]
            done = subprocess.run(command, stderr=writer if gone else full, cwd=place, timeout=200, check=False)
            assert done.returncode == status
            assert members((place / "out.zip").read_bytes()) == tree(*FILES)
            (place / "out.zip").unlink()
    os.close(writer)
