"""Programs written for SpiderOak's ZipStream: a file or a tree, iterated over, and what is better than it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.compat.test_zipstream import infos, judged
from tests.support import oracles
from zipstream_adapter import NotAFileError, UnsafeLinkError
from zipstream_adapter.compat.spideroak import ZIP_DEFLATED, ZIP_STORED, ZipStream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and modes as Unix has them")


def grow(place: Path) -> Path:
    tree = place / "tree"
    for name in ("b.txt", "a.txt", "sub/deep/c", "sub/é"):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    (tree / "bare").mkdir()
    (tree / "void").write_bytes(b"")
    return tree


TREE = {name: name.encode() * 1000 for name in ("a.txt", "b.txt", "sub/deep/c", "sub/é")} | {"void": b""}


def test_a_tree(tmp_path: Path) -> None:
    archive = ZipStream(str(grow(tmp_path)))
    data = b"".join(archive)
    assert judged(data, tmp_path) == {f"tree/{name}": text for name, text in TREE.items()}
    assert {info.flag_bits for info in infos(data).values()} == {8, 0x808, 0}
    assert {info.compress_type for info in infos(data).values()} == {ZIP_DEFLATED}
    assert b"".join(archive) == data


def test_a_file(tmp_path: Path) -> None:
    assert judged(b"".join(ZipStream(grow(tmp_path) / "a.txt")), tmp_path) == {"a.txt": TREE["a.txt"]}


@pytest.mark.parametrize("arc_path", ["top", "top/", "/top", "../top", "x/../top"])
def test_a_directory_to_stand_in(arc_path: str, tmp_path: Path) -> None:
    tree = grow(tmp_path)
    expected = {f"top/tree/{name}": text for name, text in TREE.items()}
    assert judged(b"".join(ZipStream(str(tree), arc_path, ZIP_STORED)), tmp_path) == expected
    assert oracles.members(b"".join(ZipStream(str(tree), arcname=arc_path))) == expected


def test_of_a_path_with_a_slash_the_files_stand_at_the_top(tmp_path: Path) -> None:
    assert judged(b"".join(ZipStream(f"{grow(tmp_path)}/")), tmp_path) == TREE


def test_nothing_is_looked_at_before_iteration(tmp_path: Path) -> None:
    chunks = iter(ZipStream(tmp_path / "tree"))
    grow(tmp_path)
    assert len(oracles.members(b"".join(chunks))) == len(TREE)


def test_another_compression_is_refused() -> None:
    with pytest.raises(RuntimeError, match="not supported"):
        ZipStream(".", "", 12)


def test_what_is_missing_leaves_no_archive(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(ZipStream(tmp_path / "gone"))
    tree = grow(tmp_path)
    (tree / "broken").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        list(ZipStream(tree))


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    tree = grow(tmp_path)
    (tmp_path / "outside").write_bytes(b"outside")
    (tree / "out").symlink_to(tmp_path / "outside")
    (tree / "twice").symlink_to(tree / "sub")
    found = oracles.members(b"".join(ZipStream(tree)))
    assert found["tree/out"] == b"outside" and found["tree/twice/é"] == TREE["sub/é"]
    (tree / "sub" / "loop").symlink_to(tree)
    with pytest.raises(UnsafeLinkError, match="loop"):
        list(ZipStream(tree))


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAFileError):
        list(ZipStream(tmp_path))
