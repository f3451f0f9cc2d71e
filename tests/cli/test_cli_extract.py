"""The commands `extract` and `test`: what is written, never outside of the target; what is broken is named."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.oracles import need
from tests.support.remote_servers import serving
from zipstream_adapter import Entry, save, walk
from zipstream_adapter._entries.coercion import EntryLike
from zipstream_adapter._writer import whole_file
from zipstream_adapter.cli import main

MODULE = (sys.executable, "-m", "zipstream_adapter")
LINK = (stat.S_IFLNK | 0o777) << 16
FILES = {
    "a.txt": b"some text\n" * 100,
    "sub/b.bin": bytes(range(256)) * 4000,
    "sub/deep/c.txt": b"c",
    "Grüße 世界": b"",
}


def run(place: Path, *arguments: str) -> tuple[int, bytes, str]:
    done = subprocess.run(
        [*MODULE, *arguments], cwd=place, stdin=subprocess.DEVNULL, capture_output=True, timeout=200, check=False
    )
    return done.returncode, done.stdout, done.stderr.decode()


def tree(root: Path) -> dict[str, bytes]:
    """All files below `root`."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def outside(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def archive(place: Path, members: Iterable[EntryLike], **options: object) -> str:
    save(place / "a.zip", members, names="allow", duplicates="allow", **options)  # type: ignore[arg-type]
    return "a.zip"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save(tmp_path / "a.zip", [*FILES.items(), ("empty/", None)], compression="deflate")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), tuple(FILES)),
        (("a.txt",), ("a.txt",)),
        (("sub",), ("sub/b.bin", "sub/deep/c.txt")),
        (("sub/deep/", "Grüße 世界"), ("sub/deep/c.txt", "Grüße 世界")),
        (("-i", "*.txt"), ("a.txt", "sub/deep/c.txt")),
        (("-i", "*.txt", "-x", "sub/*"), ("a.txt",)),
    ],
)
def test_members_become_files(place: Path, arguments: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert run(place, "extract", "a.zip", *arguments, "-d", "new/there") == (0, b"", "")
    assert tree(place / "new/there") == {name: FILES[name] for name in names}
    assert (place / "new/there/empty").is_dir() == (not arguments)


def test_it_is_what_unzip_makes_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number, mode in enumerate((0o644, 0o755, 0o600, 0o444)):
        path = source / f"{number}/file"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"data" * number)
        path.chmod(mode)
        os.utime(path, (10**9 + number * 1000, 10**9 + number * 1000))
        path.parent.chmod((0o755, 0o700, 0o750, 0o555)[number])
        os.utime(path.parent, (10**9 + number, 10**9 + number))
    (source / "link").symlink_to("1/file")
    (source / "2/up").symlink_to("../1")
    save(tmp_path / "a.zip", walk(source, symlinks="store", directories="all"))
    assert run(tmp_path, "extract", "a.zip", "-d", "ours") == (0, b"", "")
    subprocess.run([need("unzip"), "-q", "a.zip", "-d", "theirs"], cwd=tmp_path, check=True, timeout=200)

    def facts(root: Path) -> dict[str, tuple[int, int, str]]:
        found = {}
        for path in root.rglob("*"):
            info = path.lstat()
            link = os.readlink(path) if path.is_symlink() else ""
            found[str(path.relative_to(root))] = (info.st_mode, 0 if link else int(info.st_mtime), link)
        return found

    assert facts(tmp_path / "ours") == facts(tmp_path / "theirs")
    assert len(facts(tmp_path / "ours")) == 10


def test_bits_that_give_rights_to_others_are_not_taken(tmp_path: Path) -> None:
    archive(tmp_path, [Entry("suid", b"#!", mode=0o6755), Entry("all", b"", mode=0o777)])
    done = subprocess.run(
        ["sh", "-c", 'umask 027; "$@"', "sh", *MODULE, "extract", "a.zip", "-d", "x"],
        cwd=tmp_path,
        check=True,
        timeout=200,
    )
    assert done.returncode == 0
    assert [stat.S_IMODE((tmp_path / "x" / name).stat().st_mode) for name in ("suid", "all")] == [0o750, 0o750]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_get_their_modes_and_those_that_exist_keep_theirs(tmp_path: Path) -> None:
    members: list[EntryLike] = [
        ("private/file", b"1"),  # before its directory
        Entry.directory("private/", mode=0o700),
        Entry.directory("closed/", mode=0o555),
        Entry.directory("closed/sub/", mode=0o500),
        ("closed/sub/file", b"2"),
        Entry.directory("write only/", mode=0o300),
        Entry.directory("write only/sub/", mode=0o6755),  # a set bit is not taken
        Entry.directory("all/", mode=0o1777),
        Entry.directory("none/", mode=0),  # as with files: no mode is stated
        ("none/file", b"3"),
        ("implied/file", b"4"),
        Entry.directory("existing/", mode=0o755),
        ("existing/file", b"5"),
    ]
    archive(tmp_path, members)
    existing = tmp_path / "x/existing"
    existing.mkdir(parents=True, mode=0o700)
    command = ["sh", "-c", 'umask 022; "$@"', "sh", *MODULE, "extract", "a.zip", "-d", "x"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=200)
    modes = {
        "private": 0o700,
        "closed": 0o555,
        "closed/sub": 0o500,
        "write only": 0o300,
        "write only/sub": 0o755,
        "all": 0o755,
        "none": 0o755,
        "implied": 0o755,
        "existing": 0o700,
    }
    assert {name: mode_of(tmp_path / "x" / name) for name in modes} == modes
    files = ["private/file", "closed/sub/file", "none/file", "implied/file", "existing/file"]
    assert [(tmp_path / "x" / name).read_bytes() for name in files] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_directory_is_private_until_it_gets_its_mode_also_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(tmp_path, [Entry.directory("d/", mode=0o555), ("d/a", b"1"), ("d/b", b"2")])
    modes = []
    replace = os.replace

    def failing(source: Any, target: Any) -> None:
        modes.append(mode_of(tmp_path / "x/d"))
        if str(target).endswith("b"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "a.zip", "-d", "x"]) == 1
    assert modes == [0o700, 0o700]
    # The next extraction finds the directory, keeps its mode, and must be able to write in it.
    assert mode_of(tmp_path / "x/d") == 0o755 & ~whole_file.umask()
    monkeypatch.setattr(os, "replace", replace)
    assert main(["extract", "a.zip", "-d", "x", "--on-conflict", "skip"]) == 0
    assert main(["extract", "a.zip", "-d", "y"]) == 0
    assert mode_of(tmp_path / "y/d") == 0o555 & ~whole_file.umask()


@pytest.mark.parametrize(
    "name",
    ["../out", "/tmp/out", "a/../../out", "C:\\out", "C:/out", "..\\out", "a/./b", "a//b", "\u2025/out", ".. /out"],
)
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    archive(tmp_path, [("first.txt", b""), (name, b"out")])
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "x")
    assert status == 1
    assert said.startswith("zipstream-adapter: member ") and said.endswith("it is not extracted; -x leaves it out\n")
    assert outside(tmp_path) == {"a.zip"}  # nothing was begun
    assert run(tmp_path, "extract", "a.zip", "-i", "first.txt", "-d", "x")[0] == 0


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ({"link": "../out"}, "outside of the directory"),
        ({"link": "/etc"}, "an absolute path"),
        ({"a/link": "../../out"}, "outside of the directory"),
        ({"self": ".", "link": "self/../out"}, "goes up after it went down"),
        ({"self": "."}, ""),
        ({"a/link": "../b/c"}, ""),
        ({"one": "two", "two": "one"}, ""),
    ],
    ids=str,
)
def test_no_link_leads_out(tmp_path: Path, links: dict[str, str], words: str) -> None:
    archive(tmp_path, [Entry.symlink(name, target) for name, target in links.items()])
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "x")
    assert (status, words in said) == (int(bool(words)), True)
    made = [path for path in (tmp_path / "x").rglob("*") if path.is_symlink()]
    assert len(made) == (len(links) if not words else len(links) - 1)
    for path in made:
        if "one" not in links:
            assert path.resolve().is_relative_to(tmp_path / "x")


def test_no_member_is_written_through_a_link(tmp_path: Path) -> None:
    """Not through one of the archive, which is made last, and not through one that is there."""
    (tmp_path / "out").mkdir()
    archive(tmp_path, [Entry.symlink("link", "sub"), ("link/file", b"data")])
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "x")
    assert status == 1
    assert not (tmp_path / "x/link").is_symlink()
    (tmp_path / "y").mkdir()
    (tmp_path / "y/there").symlink_to("../out")
    archive(tmp_path, [("there/file", b"data")])
    for options in (), ("--force",), ("--on-conflict", "skip"):
        status, _, said = run(tmp_path, "extract", "a.zip", "-d", "y", *options)
        assert status == 1 and "is a symbolic link, which is not followed" in said
    archive(tmp_path, [("there", b"data")])
    assert run(tmp_path, "extract", "a.zip", "-d", "y", "--force")[0] == 0
    assert (tmp_path / "y/there").read_bytes() == b"data" and not (tmp_path / "y/there").is_symlink()
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_exist_are_kept_skipped_or_replaced(place: Path) -> None:
    (place / "x/sub").mkdir(parents=True)
    (place / "x/sub/b.bin").write_bytes(b"mine")
    status, _, said = run(place, "extract", "a.zip", "-d", "x")
    assert (status, tree(place / "x")) == (1, {"sub/b.bin": b"mine"})
    assert "'x/sub/b.bin' exists: nothing was extracted; --force replaces files" in said
    assert run(place, "extract", "a.zip", "-d", "x", "--on-conflict", "skip")[0] == 0
    assert tree(place / "x") == FILES | {"sub/b.bin": b"mine"}
    assert run(place, "extract", "a.zip", "-d", "x", "--force")[0] == 0
    assert tree(place / "x") == FILES
    (place / "x/a.txt").unlink()
    (place / "x/a.txt").mkdir()
    status, _, said = run(place, "extract", "a.zip", "-d", "x", "--force")
    assert status == 1 and "is a directory" in said


def test_a_broken_member_leaves_no_file(place: Path) -> None:
    data = bytearray((place / "a.zip").read_bytes())
    at = data.index(b"sub/b.bin") + 40
    data[at : at + 4] = b"\xff\0\xff\0"
    (place / "a.zip").write_bytes(data)
    status, _, said = run(place, "extract", "a.zip", "-d", "x")
    assert status == 1 and "member 'sub/b.bin' cannot be read" in said
    assert tree(place / "x") == {"a.txt": FILES["a.txt"]}
    status, out, said = run(place, "test", "a.zip")
    assert (status, out) == (1, b"")
    assert said.splitlines()[-1] == "zipstream-adapter: a.zip: 1 of 5 members cannot be read"


def test_only_what_is_asked_for_is_fetched(place: Path) -> None:
    module("obstore")
    with serving(archive=(place / "a.zip").read_bytes()) as server:
        url = server.url + "archive"
        assert run(place, "extract", url, "a.txt", "-d", "x") == (0, b"", "")
        assert tree(place / "x") == {"a.txt": FILES["a.txt"]}
        assert len(server.asked) == 2
        status, out, _ = run(place, "test", url)
        assert status == 0 and b"5 members" in out


@pytest.mark.parametrize("compression", ["stored", "deflate", "bzip2"])
@pytest.mark.parametrize(("lookahead", "zip64"), [(100, None), (1 << 16, None), (1 << 16, True)])
def test_a_cut_archive_says_where(place: Path, lookahead: int, zip64: bool | None, compression: Any) -> None:
    entries = [Entry(name, data, zip64=zip64) for name, data in FILES.items()]
    save(place / "a.zip", entries, compression=compression, lookahead=lookahead)
    data = (place / "a.zip").read_bytes()
    with zipfile.ZipFile(place / "a.zip") as opened:
        infos = opened.infolist()
        directory = opened.start_dir
    for number, info in enumerate(infos):
        whole = f"{number} whole member{'' if number == 1 else 's'}"
        for at in (info.header_offset + 31 + len(info.filename.encode()), info.header_offset + 10):
            (place / "cut.zip").write_bytes(data[:at])
            status, out, said = run(place, "test", "cut.zip")
            assert (status, out) == (1, b"")
            assert f"after {whole}" in said and f"it has {at:,} bytes" in said
    (place / "cut.zip").write_bytes(data[: directory + 60])
    assert "cut in its central directory, after 4 whole members" in run(place, "test", "cut.zip")[2]
    (place / "cut.zip").write_bytes(b"")
    assert "the file is empty" in run(place, "test", "cut.zip")[2]
    (place / "cut.zip").write_bytes(b"no archive")
    assert "File is not a zip file" in run(place, "test", "cut.zip")[2]


def test_test_says_that_all_is_right(place: Path) -> None:
    status, out, said = run(place, "test", "a.zip")
    assert (status, said) == (0, "")
    assert out.decode().startswith("a.zip: 5 members, 1.0 MiB, all sizes and CRC-32s are right (")
    assert run(place, "test", "a.zip", "sub", "-q") == (0, b"", "")
    status, _, said = run(place, "test", "a.zip", "missing")
    assert status == 1 and "there is no member 'missing'" in said
    status, _, said = run(place, "test", "a.zip", "sub", "-v")
    assert said.splitlines() == ["sub/b.bin", "sub/deep/c.txt"]


def test_encrypted_members_need_their_password(place: Path) -> None:
    (place / "a.txt").write_bytes(FILES["a.txt"])
    subprocess.run([need("zip"), "-q", "-P", "secret", "e.zip", "a.txt"], cwd=place, check=True, timeout=200)
    (place / "right").write_text("secret\n")
    (place / "wrong").write_text("other\n")
    status, _, said = run(place, "test", "e.zip")
    assert status == 1 and "is encrypted: give its password (--password)" in said
    assert run(place, "cat", "e.zip", "a.txt", "--password-file", "right")[1] == FILES["a.txt"]
    assert run(place, "extract", "e.zip", "-d", "x", "--password-file", "right")[0] == 0
    assert tree(place / "x") == {"a.txt": FILES["a.txt"]}
    assert run(place, "test", "e.zip", "--password-file", "wrong")[0] == 1


@pytest.mark.parametrize("way", ["zip", "aes"])
def test_many_members_without_their_password_are_one_line(place: Path, way: str) -> None:
    names = [f"{number}.txt" for number in range(300)]
    if way == "aes":
        module("Crypto")
        plain = Entry("plain", b"not encrypted", password=False)
        save(place / "e.zip", [plain, *((name, b"data") for name in names)], password="secret")
    else:
        for name in names:
            (place / name).write_bytes(b"data")
        command = [need("zip"), "-q", "-P", "secret", "e.zip", *names]
        subprocess.run(command, cwd=place, check=True, timeout=200)
        with zipfile.ZipFile(place / "e.zip", "a") as appended:
            appended.writestr("plain", b"not encrypted")
    status, out, said = run(place, "test", "e.zip")
    first, total = said.splitlines()
    assert status == 1 and out == b""
    needed = "member '0.txt' is encrypted: give its password (--password). The same is true of 299 other members"
    assert first.endswith(f"e.zip: {needed}")
    assert total.endswith("e.zip: 300 of 301 members cannot be read")
    status, _, said = run(place, "test", "e.zip", "plain", "1.txt")
    assert status == 1 and "'1.txt' is encrypted" in said and "1 of 2 members" in said and "The same" not in said
    if way == "aes":
        (place / "wrong").write_text("other\n")
        status, _, said = run(place, "test", "e.zip", "--password-file", "wrong")
        first, total = said.splitlines()
        assert first.endswith("member '0.txt': the password is wrong. The same is true of 299 other members")
        assert total.endswith("300 of 301 members cannot be read")


def test_dates_are_those_of_the_members(place: Path) -> None:
    archive(place, [Entry("utc", b"", modified=10**9)])
    assert run(place, "extract", "a.zip", "-d", "x")[0] == 0
    assert (place / "x/utc").stat().st_mtime == 10**9
    archive(place, [Entry("local", b"", modified=(2001, 2, 3, 4, 5, 6))], extended_timestamps=False)
    assert run(place, "extract", "a.zip", "-d", "x")[0] == 0
    assert time.localtime((place / "x/local").stat().st_mtime)[:6] == (2001, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("compression", ["none", "stored", "deflate", "bzip2", "lzma"])
def test_members_encrypted_by_aes_are_read(place: Path, compression: str) -> None:
    module("Crypto")
    options = {"password": "geheim: süß", "compression": compression}
    archive(place, [*FILES.items(), Entry.symlink("link", "a.txt"), ("dir/", None)], **options)
    (place / "right").write_text("geheim: süß\n")
    (place / "wrong").write_text("other\n")
    status, out, said = run(place, "test", "a.zip", "--password-file", "right")
    assert (status, said) == (0, "") and b"6 members" in out
    assert run(place, "cat", "a.zip", "sub/b.bin", "--password-file", "right")[1] == FILES["sub/b.bin"]
    assert run(place, "extract", "a.zip", "-d", "x", "--password-file", "right") == (0, b"", "")
    assert tree(place / "x") == FILES | {"link": FILES["a.txt"]} and (place / "x/link").is_symlink()
    status, _, said = run(place, "test", "a.zip", "--password-file", "wrong")
    assert status == 1 and "member 'a.txt': the password is wrong" in said
    status, _, said = run(place, "extract", "a.zip", "-d", "y")
    assert status == 1 and "is encrypted: give its password (--password)" in said and not (place / "y").exists()
    data = bytearray((place / "a.zip").read_bytes())
    data[data.index(b"sub/b.bin") + 200] ^= 1
    (place / "a.zip").write_bytes(data)
    status, _, said = run(place, "extract", "a.zip", "-d", "z", "--password-file", "right")
    assert status == 1 and "member 'sub/b.bin'" in said
    assert tree(place / "z") == {"a.txt": FILES["a.txt"]}


@pytest.mark.parametrize("strength", ["AES128", "AES192", "AES256"])
def test_members_that_7_zip_encrypted_are_read(place: Path, strength: str) -> None:
    module("Crypto")
    (place / "a.txt").write_bytes(FILES["a.txt"])
    program = need("7zz", "7z", "7za")
    command = [program, "a", "-bso0", "-bsp0", "-tzip", "-psecret", f"-mem={strength}", "e.zip", "a.txt"]
    subprocess.run(command, cwd=place, check=True, timeout=200)
    (place / "right").write_text("secret\n")
    assert run(place, "cat", "e.zip", "a.txt", "--password-file", "right") == (0, FILES["a.txt"], "")


def test_members_encrypted_by_aes_are_read_by_ranges(place: Path) -> None:
    module("obstore")
    module("Crypto")
    archive(place, FILES.items(), password="secret")
    (place / "right").write_text("secret\n")
    with serving(archive=(place / "a.zip").read_bytes()) as server:
        done = run(place, "extract", server.url + "archive", "-d", "x", "--password-file", "right")
        assert done == (0, b"", "")
    assert tree(place / "x") == FILES


def changed(path: Path, offset: int, value: int, *, width: int = 4) -> None:
    """Change a field of the only central directory header of an archive."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2") + offset
    data[at : at + width] = value.to_bytes(width, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("method", ["stored", "deflate", "bzip2", "lzma"])
@pytest.mark.parametrize("size", [0, 10, 4_000, 4_011, 1 << 31])
def test_a_size_that_lies_is_an_error(tmp_path: Path, method: str, size: int) -> None:
    data = b"0123456789" + b"rest" * 1_000
    archive(tmp_path, [("liar", data)], compression=method)
    changed(tmp_path / "a.zip", 24, size)
    changed(tmp_path / "a.zip", 16, zlib.crc32(data[:size]))  # right for what zipfile would give
    for command in (("test", "a.zip"), ("extract", "a.zip", "-d", "out"), ("cat", "a.zip", "liar")):
        status, _, said = run(tmp_path, *command)
        assert (status, "Traceback" in said, "'liar'" in said) == (1, False, True), (command, said)
    assert not tree(tmp_path / "out")


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    archive(tmp_path, [Entry.symlink("link", "somewhere")], compression="stored")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"somewhere", b"elsewhere"))
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "out")
    assert (status, said) == (1, "zipstream-adapter: a.zip: member 'link' cannot be read: Bad CRC-32 for file 'link'\n")


@pytest.mark.parametrize(
    "members",
    [
        [("x", b"file"), ("x/below", b"")],
        [("x/below", b""), ("x-y", b""), ("x", b"file")],
        [("x/", None), ("x", b"file")],
        [Entry.symlink("x", "target"), ("x/below", b""), ("target", b"")],
    ],
)
def test_a_file_that_is_a_directory_too_is_refused_before_anything_is_written(
    tmp_path: Path, members: list[EntryLike]
) -> None:
    archive(tmp_path, members)
    for more in ((), ("--force",), ("--on-conflict", "skip")):
        status, _, said = run(tmp_path, "extract", "a.zip", "-d", "out", *more)
        assert (status, "'x' is a file, and a directory" in said) == (1, True), said
        assert outside(tmp_path) == {"a.zip"}


def test_a_name_with_nul_is_not_cut(tmp_path: Path) -> None:
    archive(tmp_path, [("report.txt?.exe", b"data")])
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"txt?", b"txt\0"))
    status, _, said = run(tmp_path, "extract", "a.zip")
    assert (status, "'report.txt\\x00.exe'" in said) == (1, True), said
    assert outside(tmp_path) == {"a.zip"}


def test_an_empty_directory_name_is_refused(place: Path) -> None:
    status, _, said = run(place, "extract", "a.zip", "-d", "")
    assert (status, "--directory ''" in said) == (1, True), said
    assert outside(place) == {"a.zip"}


def test_an_archive_s_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2J.zip").write_bytes((tmp_path / archive(tmp_path, [("liar", b"data")])).read_bytes())
    changed(tmp_path / "\x1b[2J.zip", 24, 3)
    for command in (("test",), ("cat", "liar"), ("extract", "-d", "out")):
        status, _, said = run(tmp_path, command[0], "\x1b[2J.zip", *command[1:])
        assert (status, "\x1b" in said, "\\x1b[2J.zip" in said) == (1, False, True), said


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, file names are Unicode")
def test_a_name_that_the_locale_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(tmp_path, [("a.txt", b""), ("世界.txt", b"")])
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "out")
    assert (status, outside(tmp_path)) == (1, {"a.zip"})
    assert "file names here are ascii" in said and "set PYTHONUTF8=1" in said and "Traceback" not in said
    monkeypatch.setenv("PYTHONUTF8", "1")
    assert run(tmp_path, "extract", "a.zip", "-d", "out")[0] == 0
    assert tree(tmp_path / "out") == {"a.txt": b"", "世界.txt": b""}


def test_each_directory_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand in one another took minutes when each was looked at together with all above it."""
    looked: list[str] = []
    real = os.lstat

    def look(path: str) -> os.stat_result:
        looked.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "lstat", look)
    monkeypatch.chdir(tmp_path)
    archive(tmp_path, [("d/" * 30 + "a", b"data")])
    assert main(["extract", "a.zip", "-d", "x"]) == 0
    assert (tmp_path / "x" / ("d/" * 30) / "a").read_bytes() == b"data"
    made = [path for path in looked if path.endswith("/d")]
    assert len(made) <= 2 * 30


def test_a_directory_with_the_mode_of_a_link_is_a_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("d/")
        info.external_attr = LINK
        file.writestr(info, b"")
        file.writestr("d/a", b"data")
    assert run(tmp_path, "extract", "a.zip", "-d", "x") == (0, b"", "")
    assert tree(tmp_path / "x") == {"d/a": b"data"}


def test_broken_bzip2_data_is_named(tmp_path: Path) -> None:
    archive(tmp_path, [Entry.raw("a", b"no bzip2", compression="bzip2", size=9, crc32=0)])
    for arguments in ("test", "a.zip"), ("cat", "a.zip", "a"), ("extract", "a.zip", "-d", "x"):
        status, _, said = run(tmp_path, *arguments)
        assert status == 1
        assert said.startswith("zipstream-adapter: a.zip: member 'a' cannot be read: Invalid data stream")


@pytest.mark.parametrize("fault", ["version", "name", "offset"])
def test_an_archive_with_its_end_is_not_called_cut(tmp_path: Path, fault: str) -> None:
    archive(tmp_path, [("ä", b"data")])
    data = bytearray((tmp_path / "a.zip").read_bytes())
    directory, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    if fault == "version":
        data[directory + 6] = 255
    elif fault == "name":
        data[directory + 46] = 0xFF
    else:
        data[end + 12 : end + 16] = b"\xff\xff\xff\x7f"
    (tmp_path / "a.zip").write_bytes(data)
    status, _, said = run(tmp_path, "list", "a.zip")
    assert status == 1
    assert said.startswith("zipstream-adapter: 'a.zip' cannot be read as a zip archive: ")
    assert " cut " not in said
    (tmp_path / "a.zip").write_bytes(data[:-1])
    assert "it is cut in its central directory" in run(tmp_path, "list", "a.zip")[2] or fault != "offset"


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("x", b"data")
        file.infolist()[0].filename = ""
    status, _, said = run(tmp_path, "extract", "a.zip", "-d", "x")
    assert status == 1
    assert said.startswith("zipstream-adapter: a member has an empty name")
