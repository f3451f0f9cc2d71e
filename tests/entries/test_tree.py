"""walk: a directory tree as entries, in order, never leaving its root, and saying what is in the way."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.oracles import members
from zipstream_adapter import Entry, EntryTypeError, NotAFileError, OptionError, UnsafeLinkError, stream_zip, walk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and names as Unix has them")


def grow(root: Path, *paths: str) -> Path:
    """Make each of `paths` under `root`: "d/" a directory, "l -> target" a link, "p|" a pipe, else a file."""
    for path in paths:
        name, arrow, target = path.partition(" -> ")
        place = root / name.rstrip("/|")
        place.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            place.symlink_to(target)
        elif name.endswith("/"):
            place.mkdir(exist_ok=True)
        elif name.endswith("|"):
            os.mkfifo(place)
        else:
            place.write_bytes(name.encode())
    return root


def names(root: Path, **options: Any) -> list[str]:
    return [entry.name for entry in walk(root, **options)]


class Faults(dict[str, type[OSError]]):
    """An on_error that keeps what it was told of: path -> class of the error."""

    def __call__(self, path: Path, error: OSError) -> None:
        assert path.name not in self
        self[path.name] = type(error)


# What is in it, and in which order


def test_a_tree_becomes_its_files_and_empty_directories_in_order(tmp_path: Path) -> None:
    # "a!" and "a-b" sort before "a/…", "a0" after it: a plain sort by component would get them wrong.
    grow(tmp_path, "a/x", "a/y/z", "a!", "a-b/c", "a0", "B", "é", "empty/", "nest/empty/", ".hidden")
    found = list(walk(tmp_path))
    assert [entry.name for entry in found] == [
        ".hidden", "B", "a!", "a-b/c", "a/x", "a/y/z", "a0", "empty/", "nest/empty/", "é",
    ]  # fmt: skip
    expected = {entry.name: b"" if entry.is_dir else entry.name.encode() for entry in found}
    assert members(b"".join(stream_zip(found))) == expected


component = st.sampled_from(["a", "a!", "a-", "a0", "aa", "b", "é", "a b", "\U0001f600"])


@settings(max_examples=25)
@given(st.lists(st.lists(component, min_size=1, max_size=4).map(tuple), max_size=12))
def test_the_order_is_that_of_the_whole_names(paths: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, above = Path(place), {parts[:at] for parts in paths for at in range(1, len(parts))}
        grow(root, *("/".join(parts) + ("/" if parts in above else "") for parts in paths))
        files = {"/".join(parts) for parts in paths if parts not in above}
        assert names(root) == sorted(files)
        assert names(root, directories="all") == sorted(files | {"/".join(parts) + "/" for parts in above})


@pytest.mark.parametrize(
    ("directories", "expected"),
    [
        ("empty", ["p/d/empty/", "p/d/f"]),
        ("all", ["p/", "p/d/", "p/d/empty/", "p/d/f"]),
        ("none", ["p/d/f"]),
    ],
)
@pytest.mark.parametrize("prefix", ["p", "p/"])
def test_directories_get_entries_as_chosen_and_a_prefix_is_one(
    tmp_path: Path, directories: str, expected: list[str], prefix: str
) -> None:
    grow(tmp_path, "d/empty/", "d/f")
    assert names(tmp_path, directories=directories, prefix=prefix) == expected


def test_an_empty_root_is_nothing_or_its_prefix(tmp_path: Path) -> None:
    assert names(tmp_path) == []
    assert names(tmp_path, directories="all") == []
    assert names(tmp_path, prefix="backup") == ["backup/"]


def test_options_go_to_every_file_and_dates_and_comments_to_directories_and_links(tmp_path: Path) -> None:
    grow(tmp_path, "empty/", "f", "l -> f")
    found = {
        entry.name: entry
        for entry in walk(tmp_path, symlinks="store", compression="deflate", mode=0o600, modified=1e9, comment=b"c")
    }
    assert {(entry.modified.timestamp(), entry.comment) for entry in found.values() if entry.modified} == {(1e9, b"c")}
    assert {name: (entry.mode, entry.compression) for name, entry in found.items()} == {
        "f": (0o600, 8),
        "empty/": (None, None),
        "l": (stat.S_IFLNK | 0o777, 0),
    }


def test_the_tree_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    entries = iter(walk(tmp_path / "later"))
    grow(tmp_path / "later", "a/1", "b/2")
    assert next(entries).name == "a/1"
    grow(tmp_path / "later", "b/3")
    assert [entry.name for entry in entries] == ["b/2", "b/3"]


@pytest.mark.parametrize("depth", [500, 1500])
def test_a_deep_tree_is_walked_to_its_end(tmp_path: Path, depth: int) -> None:
    levels = [tmp_path]
    try:
        for _ in range(depth):
            place = levels[-1] / "d"
            try:
                place.mkdir()
            except OSError as exc:
                assert exc.errno == errno.ENAMETOOLONG
                pytest.skip("paths of this system end before this depth")
            levels.append(place)
        levels[-1].joinpath("f").write_bytes(b"")
        # Outside of the assertion: a report on a thousand levels helps nobody.
        lengths = [len(name) for name in names(tmp_path)]
        assert lengths == [2 * depth + 1]
    finally:
        # Neither pytest nor shutil could clear so deep a tree away.
        levels[-1].joinpath("f").unlink(missing_ok=True)
        for level in reversed(levels[1:]):
            level.rmdir()


def test_a_name_that_is_not_utf8_is_found_and_refused_by_the_archive(tmp_path: Path) -> None:
    raw = b"caf\xe9"
    try:
        with open(os.path.join(os.fsencode(tmp_path), raw), "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes no such name")
    assert names(tmp_path) == [os.fsdecode(raw)]
    left_out: list[Entry] = []
    stream = stream_zip(walk(tmp_path), on_error=lambda entry, exc: left_out.append(entry))
    assert members(b"".join(stream)) == {}
    assert [entry.name for entry in left_out] == [os.fsdecode(raw)]


# The root


def test_a_root_that_is_a_link_is_entered(tmp_path: Path) -> None:
    grow(tmp_path, "real/d/f", "real/l -> d/f", "root -> real")
    for symlinks in ("follow", "store"):
        assert names(tmp_path / "root", symlinks=symlinks) == ["d/f", "l"]


@pytest.mark.parametrize("as_type", [str, Path])
def test_the_root_may_be_relative_and_a_str(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_type: type[str] | type[Path]
) -> None:
    grow(tmp_path, "d/e/f", "d/l -> e/f")
    monkeypatch.chdir(tmp_path / "d" / "e")
    assert names(as_type("..")) == ["e/f", "l"]  # type: ignore[arg-type]


def test_a_root_that_is_missing_or_no_directory_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, "f")
    with pytest.raises(FileNotFoundError):
        names(tmp_path / "missing")
    with pytest.raises(NotADirectoryError, match=r"'.*f' is not a directory"):
        names(tmp_path / "f")
    with pytest.raises(EntryTypeError, match=r"path b'\.'"):
        walk(b".")  # type: ignore[arg-type]


# What is left out


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["*.pyc"], ["b/c/z", "b/x", "cache/y", "x"]),
        (["b"], ["cache/y", "x", "x.pyc"]),
        (["b/"], ["cache/y", "x", "x.pyc"]),
        (["b/*"], ["b/", "cache/y", "x", "x.pyc"]),
        (["x"], ["b/c/z", "b/x.pyc", "cache/y", "x.pyc"]),
        (["b/c/z", "[cx]*"], ["b/"]),
        (["c"], ["b/x", "b/x.pyc", "cache/y", "x", "x.pyc"]),
        (["?.py[co]", "X"], ["b/c/z", "b/x", "cache/y", "x"]),
        ([], ["b/c/z", "b/x", "b/x.pyc", "cache/y", "x", "x.pyc"]),
        (["*"], []),
    ],
    ids=str,
)
def test_patterns_match_the_whole_name_or_its_last_part(
    tmp_path: Path, exclude: list[str], expected: list[str]
) -> None:
    grow(tmp_path, "b/c/z", "b/x", "b/x.pyc", "cache/y", "x", "x.pyc")
    assert names(tmp_path, exclude=exclude) == expected
    # Patterns are of names in the tree: the prefix has no part in them.
    assert names(tmp_path, exclude=exclude, prefix="x") == (["x/" + name for name in expected] or ["x/"])


def test_what_a_function_excludes_is_not_entered(tmp_path: Path) -> None:
    grow(tmp_path, "good/f", "bad/pipe|", "bad/out -> /", "bad/loop -> .")
    asked: list[tuple[Path, str]] = []

    def is_bad(path: Path, name: str) -> bool:
        asked.append((path, name))
        return name == "bad"

    assert names(tmp_path, exclude=is_bad, prefix="p") == ["p/good/f"]
    assert sorted(asked) == [(tmp_path / name, name) for name in ("bad", "good", "good/f")]


# Links


def test_followed_links_stand_for_what_they_point_to(tmp_path: Path) -> None:
    grow(
        tmp_path,
        "d/f",
        "d/up -> ../g",
        "g",
        "file -> d/f",
        "directory -> d",
        "chain -> directory",
        "empty/",
        "e -> empty",
    )
    found = members(b"".join(stream_zip(walk(tmp_path))))
    assert found == {
        "d/f": b"d/f", "d/up": b"g", "g": b"g", "file": b"d/f", "directory/f": b"d/f", "directory/up": b"g",
        "chain/f": b"d/f", "chain/up": b"g", "empty/": b"", "e/": b"",
    }  # fmt: skip
    assert names(tmp_path, symlinks="skip") == ["d/f", "empty/", "g"]


def test_stored_links_keep_their_target_wherever_it_leads(tmp_path: Path) -> None:
    links = {"file": "d/f", "directory": "d", "dangling": "no/where", "out": "/etc", "self": "self", "d/up": ".."}
    grow(tmp_path, "d/f", *(f"{name} -> {target}" for name, target in links.items()))
    os.utime(tmp_path / "file", (1e9, 1e9), follow_symlinks=False)
    found = {entry.name: entry for entry in walk(tmp_path, symlinks="store")}
    assert list(found) == sorted([*links, "d/f"])
    for name, target in links.items():
        assert found[name].source == target.encode()
        assert stat.S_ISLNK(found[name].mode or 0)
    assert found["file"].modified is not None
    assert found["file"].modified.timestamp() == 1e9


def place_of(link: str) -> str:
    return Path(link.partition(" -> ")[0]).name


@pytest.mark.parametrize(
    "links",
    [
        ["file -> ../outside/secret"],
        ["directory -> ../outside"],
        ["absolute -> {}/outside/secret"],
        ["parent -> .."],
        ["top -> /"],
        # It begins like the root's own name: a comparison of strings alone would let it pass.
        ["sibling -> ../root2"],
        ["d/out -> ../../outside", "d/via -> out", "round -> d/via/secret"],
    ],
    ids=str,
)
def test_a_followed_link_may_not_leave_the_root(tmp_path: Path, links: list[str]) -> None:
    root = grow(tmp_path, "outside/secret", "root2/secret", "root/d/f", "root/z") / "root"
    grow(root, *(link.format(tmp_path) for link in links))
    with pytest.raises(UnsafeLinkError) as caught:
        names(root)
    assert f"is a link that leaves {str(root)!r}, to " in str(caught.value)
    assert "symlinks='store' or 'skip'" in str(caught.value)
    faults = Faults()
    assert names(root, on_error=faults) == ["d/f", "z"]
    assert faults == dict.fromkeys(map(place_of, links), UnsafeLinkError)


@pytest.mark.parametrize(
    "links",
    [["self -> self"], ["here -> ."], ["d/up -> .."], ["d/again -> ../d"], ["one -> two", "two -> one"]],
    ids=str,
)
def test_a_followed_link_may_not_loop(tmp_path: Path, links: list[str]) -> None:
    grow(tmp_path, "d/f", "z", *links)
    with pytest.raises(UnsafeLinkError, match=r"is a link that forms a loop: choose symlinks='store'"):
        names(tmp_path)
    faults = Faults()
    assert names(tmp_path, on_error=faults) == ["d/f", "z"]
    assert faults == dict.fromkeys(map(place_of, links), UnsafeLinkError)


def test_directories_that_link_to_each_other_are_a_loop_that_ends(tmp_path: Path) -> None:
    grow(tmp_path, "a/f", "b/f", "a/b -> ../b", "b/a -> ../a")
    faults: list[str] = []
    found = names(tmp_path, on_error=lambda path, error: faults.append(str(path.relative_to(tmp_path))))
    assert found == ["a/b/f", "a/f", "b/a/f", "b/f"]
    assert faults == ["a/b/a", "b/a/b"]


def test_a_link_to_nowhere_fails_when_its_turn_comes(tmp_path: Path) -> None:
    grow(tmp_path, "a", "gone -> no/where", "z")
    assert names(tmp_path) == ["a", "gone", "z"]
    with pytest.raises(FileNotFoundError) as caught:
        b"".join(stream_zip(walk(tmp_path)))
    assert caught.value.filename == str(tmp_path / "gone")


# What is in the way


def test_special_files_are_refused_or_skipped(tmp_path: Path) -> None:
    grow(tmp_path, "a", "pipe|", "z")
    with pytest.raises(NotAFileError, match=r"pipe' is a socket, a named pipe or a device: choose special='skip'"):
        names(tmp_path)
    assert names(tmp_path, special="skip") == ["a", "z"]


@pytest.mark.timeout(60)
def test_links_to_special_files_are_special_files(tmp_path: Path) -> None:
    grow(tmp_path, "a", "d/pipe|", "link -> d/pipe", "z")
    with pytest.raises(NotAFileError):
        b"".join(stream_zip(walk(tmp_path, exclude=["d"])))
    assert names(tmp_path, special="skip", directories="none") == ["a", "z"]


def test_a_directory_that_vanishes_is_told_and_the_rest_is_walked(tmp_path: Path) -> None:
    grow(tmp_path, "a", "gone/f", "z")
    for on_error, expected in ((None, ["a"]), (Faults(), ["a", "z"])):
        grow(tmp_path, "gone/f")
        entries, found = iter(walk(tmp_path, on_error=on_error)), []
        found.append(next(entries).name)
        shutil.rmtree(tmp_path / "gone")
        try:
            found += [entry.name for entry in entries]
        except FileNotFoundError as exc:
            assert exc.filename == str(tmp_path / "gone")
        assert found == expected
        assert on_error is None or on_error == {"gone": FileNotFoundError}


def test_what_on_error_raises_passes_through(tmp_path: Path) -> None:
    def refuse(path: Path, error: OSError) -> None:
        raise RuntimeError(path.name) from error

    grow(tmp_path, "d/pipe|")
    with pytest.raises(RuntimeError, match="pipe"):
        names(tmp_path, on_error=refuse)


_UNREADABLE = """
import os
from zipstream_adapter import walk
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
print([entry.name for entry in walk(".", on_error=lambda path, error: print(path, type(error).__name__))])
list(walk("."))
"""


def test_an_unreadable_directory_is_told_or_raises(tmp_path: Path) -> None:
    # In a process of its own, since root may read everything. It starts where it stands: the way there may be closed.
    grow(tmp_path, "a", "closed/f", "z")
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _UNREADABLE]
    try:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert done.stdout == "closed PermissionError\n['a', 'z']\n"
    assert "PermissionError: [Errno 13] Permission denied: 'closed'" in done.stderr


# Options


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("symlinks", "copy", r"symlinks='copy': choose one of 'follow', 'store', 'skip'"),
        ("directories", True, r"directories=True: choose one of 'empty', 'all', 'none'"),
        ("special", "store", r"special='store': choose one of 'error', 'skip'"),
        ("exclude", "*.pyc", r"exclude='\*\.pyc': give a list of patterns, as in \['\*\.pyc'\]"),
        ("exclude", [b"*.pyc"], r"exclude=: the pattern b'\*\.pyc' \(bytes\) is not a str"),
        ("exclude", [Path("a"), "b"], r"exclude=: the pattern PosixPath\('a'\) \(PosixPath\) is not a str"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(tmp_path: Path, option: str, value: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        walk(tmp_path / "missing", **{option: value})


def test_patterns_may_come_from_a_generator(tmp_path: Path) -> None:
    grow(tmp_path, "a/x", "b/x", "y")
    assert names(tmp_path, exclude=iter(["x"]), directories="none") == ["y"]


@pytest.mark.parametrize(
    ("root", "options", "said"),
    [
        ("", {}, r"^root='': give the path of a directory, or '\.'"),
        (".", {"prefix": None}, r"^prefix=None \(NoneType\): give the name of a directory"),
        (".", {"prefix": 5}, r"^prefix=5 \(int\): "),
        (".", {"exclude": None}, r"^exclude=None \(NoneType\): give a list of patterns"),
        (".", {"exclude": 5}, r"^exclude=5 \(int\): "),
        (".", {"on_error": "skip"}, r"^on_error='skip' \(str\): give a function"),
    ],
)
def test_wrong_arguments_are_named_at_once(root: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        walk(root, **options)


def test_an_empty_path_is_not_the_current_directory() -> None:
    with pytest.raises(EntryTypeError, match=r"^entry '': the path is empty: give the path of a file"):
        b"".join(stream_zip([""]))
