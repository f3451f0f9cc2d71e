"""The command line, in processes of its own: what it makes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.oracles import members, need, seven_zip, unzip
from tests.support.servers import wait_for
from zipstream_adapter import cli
from zipstream_adapter.cli import run as run_module

MODULE = (sys.executable, "-m", "zipstream_adapter")
SCRIPT = (os.path.join(sysconfig.get_path("scripts"), "zipstream-adapter"),)
NOISE = bytes(range(256)) * 1024
FILES = {
    "a.txt": b"some text\n" * 100,
    "b.log": b"",
    "sub/Grüße, 世界.txt": b"unicode",
    "sub/c.log": b"c",
    "sub/deeper/large.bin": NOISE,
    "two\nlines": b"a newline in its name",
}
WHOLE = FILES | {"nothing/": b""}
SUB = {name: data for name, data in FILES.items() if name.startswith("sub/")}
KEPT = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LC_"))}
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
OLDER = b"PK\x05\x06" + bytes(18)  # an empty archive
# What the command is started by where the test has to set the scene in its process first.
WITH_SIGINT = (
    "import os, signal, sys; [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP)]; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
WITH_LIMIT = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
AS_NOBODY = (
    # All of it is imported while the interpreter's own files can still be read.
    "import concurrent.futures.thread, gettext, locale, os, shutil, sys; from zipstream_adapter.cli import main; "
    "import zipfile, zipstream_adapter.cli.create, zipstream_adapter.cli.run; "
    "os.getuid() or (os.setgid(65534), os.setuid(65534)); sys.exit(main())"
)


def run(
    *arguments: str | bytes | Path,
    cwd: Path,
    command: tuple[str, ...] = MODULE,
    environment: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env={**KEPT, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=200,
        check=False,
    )


def run_as_nobody(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Without root's rights: what may not be read or replaced, such as a device of this machine, is safe from it."""
    cwd.chmod(0o755)
    return run(*arguments, cwd=cwd, command=(sys.executable, "-c", AS_NOBODY), environment=environment)


def shell(line: str, cwd: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """A line for the shell, in which "$@" is the command."""
    return run(cwd=cwd, command=("sh", "-c", line, "sh", *MODULE), environment=environment)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    # A test run in the background may have been told to ignore SIGINT, and children inherit that.
    command = [sys.executable, "-c", WITH_SIGINT, *MODULE, *arguments]
    return subprocess.Popen(command, cwd=cwd, env=KEPT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def contents(archive: Path) -> dict[str, bytes]:
    """What is in it, once unzip has accepted it."""
    verdict = unzip(archive)
    assert verdict, verdict.said
    with zipfile.ZipFile(archive) as opened:
        assert len(opened.namelist()) == len(set(opened.namelist()))
    return members(archive.read_bytes())


def succeeded(done: subprocess.CompletedProcess[bytes]) -> bool:
    assert (done.returncode, done.stderr) == (0, b"")
    return True


def failed(status: int, stderr: bytes, expected: int, *words: str) -> bool:
    """With one line that says what the matter is; argparse, whose status is 2, puts its usage before it."""
    text = stderr.decode()
    assert status == expected, text
    *usage, line = text.splitlines()
    assert line.startswith("zipstream-adapter: ")
    assert not usage or (status == 2 and usage[0].startswith("usage: "))
    assert [word for word in words if word not in line] == []
    return True


def left(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def under(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {prefix + name: data for name, data in files.items()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that holds `tree`, and nothing else."""
    for name, data in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "tree/nothing").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize("output", [("-o", "out.zip"), ("-o", "-"), ()], ids=" ".join)
def test_a_directory_becomes_an_archive(place: Path, command: tuple[str, ...], output: tuple[str, ...]) -> None:
    done = run("tree", *output, cwd=place, command=command)
    assert succeeded(done)
    if "out.zip" not in output:
        (place / "out.zip").write_bytes(done.stdout)
    assert contents(place / "out.zip") == under("tree/", WHOLE)
    assert left(place) == {"tree", "out.zip"}


@pytest.mark.parametrize(
    ("cwd", "arguments", "expected"),
    [
        (".", ["tree/"], under("tree/", WHOLE)),
        (".", ["./tree//"], under("tree/", WHOLE)),
        (".", ["tree/sub/.."], under("tree/", WHOLE)),
        (".", ["tree/a.txt"], {"a.txt": FILES["a.txt"]}),
        (".", ["tree/nothing"], {"nothing/": b""}),
        (".", ["tree/sub", "tree/a.txt", "tree/nothing/"], SUB | {"a.txt": FILES["a.txt"], "nothing/": b""}),
        ("tree", ["."], WHOLE),
        ("tree", ["./"], WHOLE),
        ("tree/sub", [".."], under("tree/", WHOLE)),
        ("tree/sub", ["../nothing", "c.log"], {"nothing/": b"", "c.log": b"c"}),
        (".", ["tree", "--prefix", "top"], under("top/tree/", WHOLE)),
        (".", ["tree", "--prefix=top/next/"], under("top/next/tree/", WHOLE)),
        ("tree", [".", "--prefix", "top"], under("top/", WHOLE)),
        (".", ["tree/a.txt", "--prefix", "top"], {"top/a.txt": FILES["a.txt"]}),
        ("tree", [".", "--exclude=*.log"], {name: data for name, data in WHOLE.items() if name[-4:] != ".log"}),
        ("tree", [".", "--exclude=sub"], {name: data for name, data in WHOLE.items() if name not in SUB}),
        ("tree/sub", [".", "--exclude=deeper/", "--exclude", "Gr*"], {"c.log": b"c"}),
        ("tree/sub", [".", "--exclude=deeper/*", "--exclude=G*"], {"c.log": b"c", "deeper/": b""}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_members_are_named_after_the_last_part_of_a_path(
    place: Path, cwd: str, arguments: list[str], expected: dict[str, bytes]
) -> None:
    assert succeeded(run(*arguments, "-o", place / "out.zip", cwd=place / cwd))
    assert contents(place / "out.zip") == expected


def test_links_are_followed_stored_or_skipped(place: Path) -> None:
    (place / "tree/link").symlink_to("a.txt")
    (place / "tree/linked").symlink_to("sub/deeper")
    for policy in "follow", "store", "skip":
        assert succeeded(run("tree", "-o", f"{policy}.zip", "--symlinks", policy, cwd=place))
        subprocess.run([need("unzip"), "-q", f"{policy}.zip", "-d", policy], cwd=place, timeout=200, check=True)
    followed = {"link": FILES["a.txt"], "linked/large.bin": NOISE}
    assert contents(place / "follow.zip") == under("tree/", WHOLE | followed)
    assert contents(place / "store.zip") == under("tree/", WHOLE | {"link": b"a.txt", "linked": b"sub/deeper"})
    assert [(place / "store/tree" / name).readlink() for name in ("link", "linked")] == [
        Path("a.txt"),
        Path("sub/deeper"),
    ]
    assert contents(place / "skip.zip") == under("tree/", WHOLE)


def test_a_link_given_as_a_path_is_stored_with_its_own_date(place: Path) -> None:
    (place / "link").symlink_to("tree")
    os.utime(place / "link", (10**9, 10**9), follow_symlinks=False)
    assert succeeded(run("link", "-o", "out.zip", "--symlinks=store", cwd=place))
    assert contents(place / "out.zip") == {"link": b"tree"}
    with zipfile.ZipFile(place / "out.zip") as archive:
        assert archive.getinfo("link").date_time == (2001, 9, 9, 1, 46, 40)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../outside.txt", ["leaves 'tree'"]),
        ("../elsewhere", ["leaves 'tree'"]),
        ("sub/../..", ["leaves 'tree'"]),
        (".", ["loop"]),
        ("link", ["loop"]),
        ("nowhere", ["No such file"]),
    ],
)
def test_links_that_cannot_be_followed_are_refused(place: Path, target: str, words: list[str]) -> None:
    (place / "outside.txt").write_bytes(b"not to be told")
    (place / "elsewhere").mkdir()
    (place / "tree/link").symlink_to(target)
    done = run("tree", "-o", "out.zip", cwd=place)
    assert failed(done.returncode, done.stderr, 1, "'tree/link'", *words)
    assert left(place) == {"tree", "outside.txt", "elsewhere"}
    assert succeeded(run("tree", "-o", "out.zip", "--symlinks=store", cwd=place))
    assert contents(place / "out.zip") == under("tree/", WHOLE | {"link": target.encode()})


@pytest.mark.parametrize(
    ("options", "method"),
    [
        (["--compression", "stored"], zipfile.ZIP_STORED),
        ([], zipfile.ZIP_DEFLATED),
        (["--level", "0"], zipfile.ZIP_DEFLATED),
        (["--compression=deflate", "--level=9"], zipfile.ZIP_DEFLATED),
        (["--compression=bzip2", "--level", "1"], zipfile.ZIP_BZIP2),
        (["--compression", "lzma"], zipfile.ZIP_LZMA),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_compression_and_level_are_applied(place: Path, options: list[str], method: int) -> None:
    assert succeeded(run("tree/sub", *options, "-o", "out.zip", cwd=place))
    verdict = seven_zip(place / "out.zip")
    assert verdict, verdict.said
    assert members((place / "out.zip").read_bytes()) == SUB
    with zipfile.ZipFile(place / "out.zip") as archive:
        large = archive.getinfo("sub/deeper/large.bin")
    assert large.compress_type == method
    assert (large.compress_size < len(NOISE)) == (options not in (["--compression", "stored"], ["--level", "0"]))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["tree", "--level", "10"], 1, ["--level 10", "0 to 9"]),
        (["tree", "--level=-2"], 1, ["--level -2"]),
        (["tree", "--compression", "bzip2", "--level", "0"], 1, ["--level 0", "1 to 9"]),
        (["tree", "--level", "much"], 2, ["--level", "'much'"]),
        (["tree", "--compression", "xz"], 2, ["--compression", "'xz'"]),
        (["tree", "--symlinks", "maybe"], 2, ["--symlinks"]),
        ([], 2, ["PATH"]),
        (["missing"], 1, ["No such file", "'missing'"]),
        (["tree", "missing/file"], 1, ["No such file", "'missing/file'"]),
        (["tree", "tree/missing\nfile"], 1, ["No such file", r"'tree/missing\nfile'"]),
        (["tree/a.txt", "tree/sub/../a.txt"], 1, ["'a.txt'", "already"]),
        (["tree", "tree/sub/../../tree/"], 1, ["already"]),
        (["tree", "--prefix", "../up"], 1, ["'../up/tree/a.txt'", "'..'"]),
        (["tree", "--prefix", "/top"], 1, ["'/top/tree/a.txt'", "absolute"]),
        (["/dev/null"], 1, ["'null'", "character device"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_in_a_line(
    place: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    (place / "out.zip").write_bytes(OLDER)
    done = run(*arguments, "-o", "out.zip", cwd=place)
    assert failed(done.returncode, done.stderr, status, *words)
    assert (place / "out.zip").read_bytes() == OLDER
    assert left(place) == {"tree", "out.zip"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"$@" tree -o tree/out.zip', under("tree/", WHOLE)),
        ('"$@" tree > tree/out.zip', under("tree/", WHOLE)),
        ('cd tree; "$@" . -o out.zip', WHOLE),
        ('cd tree/sub; "$@" .. -o ../out.zip', under("tree/", WHOLE)),
        ('cd tree; ln -sf out.zip link; "$@" . -o link --symlinks=skip', WHOLE),
        # From the second run on the shell finds the archive, too.
        ('"$@" tree/* -o tree/out.zip', WHOLE),
        ('"$@" tree/* > tree/out.zip', WHOLE),
    ],
)
def test_an_archive_never_contains_itself(place: Path, line: str, expected: dict[str, bytes]) -> None:
    for _ in range(2):
        assert succeeded(shell(line, place))
        assert contents(place / "tree/out.zip") == expected
    assert left(place / "tree") - {"link"} == {"a.txt", "b.log", "nothing", "out.zip", "sub", "two\nlines"}


def test_a_terminal_gets_no_archive(place: Path) -> None:
    ours, terminal = pty.openpty()
    try:
        done = run("tree", cwd=place, stdout=terminal)
        assert failed(done.returncode, done.stderr, 1, "terminal", "-o FILE")
        assert succeeded(run("tree", "-o", "out.zip", cwd=place, stdout=terminal))
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):  # nothing was written to it
            os.read(ours, 1)
    finally:
        os.close(terminal)
        os.close(ours)


SIGNALS = [(signal.SIGINT, 130, b"zipstream-adapter: interrupted\n"), (signal.SIGTERM, 143, b"")]


def is_half(place: Path) -> bool:
    """Whether a part of an archive is written."""
    with suppress(FileNotFoundError):  # it has got its name meanwhile
        return any(part.stat().st_size for part in place.glob(".out.zip.*.part"))
    return False


def is_half_or_ended(place: Path, process: subprocess.Popen[bytes]) -> bool:
    return is_half(place) or process.poll() is not None


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
@pytest.mark.parametrize("older", [False, True], ids=["new", "over an older archive"])
def test_a_signal_midway_leaves_no_half_archive(
    place: Path, number: int, status: int, said: bytes, older: bool
) -> None:
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    if older:
        (place / "out.zip").write_bytes(OLDER)
    process = start("tree", "-o", "out.zip", cwd=place)
    wait_for(lambda: is_half(place), "a half archive")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (status, said)
    assert left(place) == ({"tree", "out.zip"} if older else {"tree"})
    assert not older or (place / "out.zip").read_bytes() == OLDER


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_come_while_it_ends_leave_no_half_archive_either(place: Path, first: int, second: int) -> None:
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    process = start("tree", "-o", "out.zip", cwd=place)
    wait_for(lambda: is_half(place), "a half archive")
    process.send_signal(first)
    until = time.monotonic() + 1
    while left(place) != {"tree"} and time.monotonic() < until:
        process.send_signal(second)
    process.communicate(timeout=200)
    assert left(place) == {"tree"}
    assert process.returncode != 0


def test_a_hangup_is_ignored_by_what_nohup_started(place: Path) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", ignoring, *MODULE, "tree", "-o", "out.zip"]
    for size in (1 << 28, 1 << 30, 1 << 32):
        with (place / "tree/large.bin").open("wb") as sparse:
            sparse.truncate(size)
        with subprocess.Popen(command, cwd=place, env=KEPT, stderr=subprocess.PIPE) as process:
            wait_for(partial(is_half_or_ended, place, process), "a half archive")
            is_under_way = process.poll() is None
            process.send_signal(signal.SIGHUP)
            _, stderr = process.communicate(timeout=200)
        assert (process.returncode, stderr) == (0, b"")
        assert left(place) == {"tree", "out.zip"}
        if is_under_way:
            break
        (place / "out.zip").unlink()
    assert is_under_way


def begin_to_stdout(place: Path) -> subprocess.Popen[bytes]:
    """A command that has begun to write, and waits for its pipe to be read on."""
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 23)
    (place / "tree/last.txt").write_bytes(b"the last one")
    process = start("--compression=stored", "tree", cwd=place)
    assert process.stdout is not None and process.stdout.read(1) == b"P"
    return process


@pytest.mark.parametrize(("number", "status", "said"), SIGNALS)
def test_a_signal_cuts_what_goes_to_a_pipe(place: Path, number: int, status: int, said: bytes) -> None:
    process = begin_to_stdout(place)
    process.send_signal(number)
    rest, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (status, said)
    (place / "cut.zip").write_bytes(b"P" + rest)
    assert not unzip(place / "cut.zip")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: os.truncate(tree / "large.bin", (1 << 23) + 1), ["'tree/large.bin'", "grew"]),
        (lambda tree: os.truncate(tree / "large.bin", 1 << 22), ["'tree/large.bin'", "shrank"]),
        (lambda tree: (tree / "last.txt").unlink(), ["'tree/last.txt'", "No such file"]),
    ],
    ids=["grows", "shrinks", "vanishes"],
)
def test_a_file_that_changes_meanwhile_fails_the_archive(
    place: Path, change: Callable[[Path], object], words: list[str]
) -> None:
    process = begin_to_stdout(place)
    change(place / "tree")
    rest, stderr = process.communicate(timeout=200)
    assert failed(process.returncode, stderr, 1, *words)
    (place / "cut.zip").write_bytes(b"P" + rest)
    assert not unzip(place / "cut.zip")


def limited(size: int) -> tuple[str, ...]:
    """The command on a disk that takes `size` bytes of a file."""
    return (sys.executable, "-c", WITH_LIMIT, str(size), *MODULE)


@pytest.mark.parametrize("missing", [1, 262_000], ids="{} bytes short".format)
def test_a_full_disk_leaves_no_half_archive(place: Path, missing: int) -> None:
    size = len(run("tree", "--compression=stored", cwd=place).stdout)
    (place / "old.zip").write_bytes(OLDER)
    for name in "new.zip", "old.zip":
        done = run("tree", "--compression=stored", "-o", name, cwd=place, command=limited(size - missing))
        assert failed(done.returncode, done.stderr, 1, "File too large")
    assert left(place) == {"tree", "old.zip"}
    assert (place / "old.zip").read_bytes() == OLDER


@pytest.mark.parametrize("missing", [1, 200_000, 262_000], ids="{} bytes short".format)
@pytest.mark.parametrize("environment", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_full_disk_under_standard_output_is_said(place: Path, missing: int, environment: dict[str, str]) -> None:
    arguments = ("tree", "--compression=stored")
    command = limited(len(run(*arguments, cwd=place).stdout) - missing)
    with (place / "out.zip").open("wb") as output:
        done = run(*arguments, cwd=place, command=command, environment=environment, stdout=output.fileno())
    assert not unzip(place / "out.zip")
    assert failed(done.returncode, done.stderr, 1, "File too large")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("path", ["tree", "tree/a.txt"], ids=["more than a buffer", "less than a buffer"])
@pytest.mark.parametrize("environment", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_full_device_is_said(place: Path, path: str, environment: dict[str, str]) -> None:
    arguments = ("--compression=stored", path)
    with open("/dev/full", "wb") as full:
        done = run(*arguments, cwd=place, environment=environment, stdout=full.fileno())
    assert failed(done.returncode, done.stderr, 1, "No space left")
    done = run_as_nobody(*arguments, "-o", "/dev/full", cwd=place, environment=environment)
    assert failed(done.returncode, done.stderr, 1, "No space left")


def test_a_reader_that_has_gone_is_left_in_peace(place: Path) -> None:
    process = begin_to_stdout(place)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (141, b"")
    reader, writer = os.pipe()
    os.close(reader)
    done = run("tree/a.txt", cwd=place, stdout=writer)  # which all fits into a buffer
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_reader_that_has_gone_is_left_in_peace_without_standard_output(place: Path) -> None:
    line = 'mkfifo pipe; head -c 100 pipe > head & "$@" --compression=stored tree -o pipe >&-'
    done = shell(line, place)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("environment", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_pipe_that_does_not_block_is_never_written_by_halves(place: Path, environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    done = run("tree", "--compression=stored", cwd=place, stdout=writer, environment=environment)
    os.close(writer)
    os.close(reader)
    assert failed(done.returncode, done.stderr, 1)


def test_closed_standard_output_is_said(place: Path) -> None:
    done = shell('"$@" tree >&-', place)
    assert failed(done.returncode, done.stderr, 1, "standard output")


def test_an_existing_archive_keeps_its_permissions(place: Path) -> None:
    (place / "out.zip").write_bytes(OLDER)
    (place / "out.zip").chmod(0o640)
    assert succeeded(shell('umask 077; "$@" tree -o out.zip; "$@" tree -o new.zip', place))
    assert contents(place / "out.zip") == contents(place / "new.zip") == under("tree/", WHOLE)
    assert (place / "out.zip").stat().st_mode & 0o777 == 0o640
    assert (place / "new.zip").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [None, 0o600, 0o644, 0o4666, 0o400])
def test_an_archive_is_private_until_it_is_whole(
    place: Path, mode: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment on at which the file is there, and not only once its mode has been set."""
    made: list[int] = []
    real_open = os.open

    def spy(path: str, flags: int, mode: int = 0o777, **options: Any) -> int:
        descriptor = real_open(path, flags, mode, **options)
        if os.fspath(path).endswith(".part"):
            made.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    out = place / "out.zip"
    if mode is not None:
        out.write_bytes(OLDER)
        out.chmod(mode)
    monkeypatch.setattr(os, "open", spy)
    monkeypatch.setattr(run_module, "unwound_by_signals", nullcontext)
    mask = os.umask(0)
    try:
        assert cli.main([str(place / "tree"), "-o", str(out)]) == 0
    finally:
        assert os.umask(mask) == 0
    assert made == [0o600]
    assert out.stat().st_mode & 0o7777 == (0o666 if mode is None else mode & 0o777)


SIGNAL_IN_A_FINALIZER = """
import os, signal, sys
from zipstream_adapter import cli
from zipstream_adapter.cli import create

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # the handler runs between two steps
            pass

def named(entries, warn, names=create.with_utf8_names):
    Last()
    return names(entries, warn)

create.with_utf8_names = named
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_signal_is_obeyed_if_it_comes_in_a_finalizer_which_drops_its_exception(place: Path) -> None:
    command = [sys.executable, "-c", SIGNAL_IN_A_FINALIZER, "tree", "-o", "out.zip"]
    done = subprocess.run(command, cwd=place, env=KEPT, capture_output=True, timeout=200, check=False)
    assert b"Exception ignored" in done.stderr
    assert done.returncode == 128 + signal.SIGTERM
    assert not [*place.glob("*.zip"), *place.glob(".out.zip.*")]


def test_nobody_else_can_read_a_half_archive(place: Path) -> None:
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    (place / "out.zip").write_bytes(OLDER)
    (place / "out.zip").chmod(0o644)
    process = start("tree", "-o", "out.zip", cwd=place)
    wait_for(lambda: [*place.glob(".out.zip.*.part")], "a half archive")
    (part,) = place.glob(".out.zip.*.part")
    assert part.stat().st_mode & 0o777 == 0o600
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=200)
    assert left(place) == {"tree", "out.zip"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_an_archive_keeps_its_owner_and_group_or_loses_the_rights_of_the_group() -> None:
    with tempfile.TemporaryDirectory() as directory:  # not in a directory that is closed to others
        place = Path(directory)
        (place / "a.txt").write_bytes(b"some text")
        (place / "out.zip").write_bytes(OLDER)
        (place / "out.zip").chmod(0o664)
        os.chown(place / "out.zip", 1234, 4321)
        assert succeeded(run("a.txt", "-o", "out.zip", cwd=place))
        info = (place / "out.zip").stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (1234, 4321, 0o664)
        os.chown(place, 65534, 65534)
        assert succeeded(run_as_nobody("a.txt", "-o", "out.zip", cwd=place))
        info = (place / "out.zip").stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (65534, 65534, 0o604)


@pytest.mark.parametrize("exists", [True, False])
def test_an_archive_goes_where_a_link_points(place: Path, exists: bool) -> None:
    (place / "elsewhere").mkdir()
    (place / "out.zip").symlink_to("elsewhere/real.zip")
    if exists:
        (place / "elsewhere/real.zip").write_bytes(OLDER)
    assert succeeded(run("tree", "-o", "out.zip", cwd=place))
    assert (place / "out.zip").readlink() == Path("elsewhere/real.zip")
    assert contents(place / "elsewhere/real.zip") == under("tree/", WHOLE)
    assert left(place / "elsewhere") == {"real.zip"}


@pytest.mark.parametrize(
    ("output", "words"), [("tree", ["is a directory: give"]), ("missing/out.zip", ["No such file"])]
)
def test_an_output_that_cannot_be_is_refused(place: Path, output: str, words: list[str]) -> None:
    done = run("tree", "-o", output, cwd=place)
    assert failed(done.returncode, done.stderr, 1, output.partition("/")[0], *words)
    assert left(place) == {"tree"}
    assert left(place / "tree") == {"a.txt", "b.log", "nothing", "sub", "two\nlines"}


@pytest.mark.parametrize(
    "line",
    [
        'mkfifo pipe; cat pipe > out.zip & "$@" tree -o pipe && wait',
        # What /dev/stdout is, but in a place of our own.
        'ln -s /proc/self/fd/1 stdout; "$@" tree -o stdout > out.zip',
        'ln -s /proc/self/fd/1 stdout; "$@" tree -o stdout | cat > out.zip',
    ],
)
def test_pipes_and_descriptors_get_the_archive_itself(place: Path, line: str) -> None:
    if "/proc/" in line and not os.path.exists("/proc/self/fd/1"):
        pytest.skip("there is no /proc here")
    assert succeeded(shell(line, place))
    assert contents(place / "out.zip") == under("tree/", WHOLE)


def test_a_device_is_written_to_and_not_replaced(place: Path) -> None:
    assert succeeded(run_as_nobody("tree", "-o", "/dev/null", cwd=place))
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", ["n" * 255, "é" * 125 + ".zip", "two\nlines.zip", "-", b"\xff.zip"], ids=ascii)
def test_the_archive_has_whatever_name_the_file_system_takes(place: Path, name: str | bytes) -> None:
    target = place / os.fsdecode(name)
    assert succeeded(run("tree/a.txt", "-o", target, cwd=place))
    assert contents(target) == {"a.txt": FILES["a.txt"]}
    assert left(place) == {"tree", target.name}


@pytest.mark.parametrize("name", ["a.txt", "sub"])
def test_what_may_not_be_read_fails_the_archive(place: Path, name: str) -> None:
    (place / "tree" / name).chmod(0)
    try:
        done = run_as_nobody(".", cwd=place / "tree")
    finally:
        (place / "tree" / name).chmod(0o700)
    assert failed(done.returncode, done.stderr, 1, "Permission denied", name)
    (place / "cut.zip").write_bytes(done.stdout)
    assert not unzip(place / "cut.zip")


@pytest.mark.parametrize("environment", [{}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}], ids=["utf-8", "ascii"])
def test_a_name_that_is_no_text_is_said_in_any_locale(place: Path, environment: dict[str, str]) -> None:
    name = os.fsencode(place / "tree") + "/Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n ".encode() + b"\xff"
    try:
        Path(os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system takes only text for names")
    for path in "tree", name:
        done = run(path, "-o", "out.zip", cwd=place, environment=environment)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert b"warning" in line
        assert b"is not UTF-8" in line
        assert b"\\udcff" in line
        assert done.stderr.isascii() or not environment
    assert left(place) == {"tree", "out.zip"}
