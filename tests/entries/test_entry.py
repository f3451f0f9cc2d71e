"""Entry: what it takes, what it refuses and how it says so, and everything that can be made into one."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import struct
from collections import OrderedDict
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support import oracles
from zipstream_adapter import Entry, EntryError, EntryTypeError, LimitError, NotAFileError, OptionError, ZipStreamError
from zipstream_adapter._entries.coercion import coerce
from zipstream_adapter._entries.validation import MAX_EXTRA
from zipstream_adapter._format.extra_fields import extra_fields
from zipstream_adapter._format.records import ZIP64_EXTRA_ROOM, end_signature_in

TIMESTAMP = struct.pack("<2HBl", 0x5455, 5, 1, 1_600_000_000)
ZIP64_FIELD = struct.pack("<2H2Q", 1, 16, 5, 5)

# (option, bad value, error, what the message must quote of the value)
BAD_OPTIONS: list[tuple[str, Any, type[ZipStreamError], str]] = [
    ("size", -1, OptionError, "size=-1"),
    ("size", 1 << 64, OptionError, f"size={1 << 64}"),
    ("size", 1.0, EntryTypeError, "size=1.0"),
    ("size", "7", EntryTypeError, "size='7'"),
    ("size", True, EntryTypeError, "size=True"),
    ("crc32", -1, OptionError, "crc32=-1"),
    ("crc32", 1 << 32, OptionError, f"crc32={1 << 32}"),
    ("crc32", b"\0\0\0\0", EntryTypeError, r"crc32=b'\x00\x00\x00\x00'"),
    ("modified", "2020-01-01", OptionError, "modified='2020-01-01'"),
    ("modified", date(2020, 1, 1), OptionError, "modified=datetime.date(2020, 1, 1)"),
    ("modified", (2020, 1, 1), OptionError, "modified=(2020, 1, 1)"),
    ("modified", (2020, 13, 1, 0, 0, 0), OptionError, "modified=(2020, 13, 1, 0, 0, 0)"),
    ("modified", datetime(1979, 12, 31, 23, 59, 59), OptionError, "1980 to 2107"),
    ("mode", -1, OptionError, "mode=-1"),
    ("mode", 0o200000, OptionError, "mode=65536"),
    ("mode", "644", OptionError, "mode='644'"),
    ("mode", True, OptionError, "mode=True"),
    ("mode", stat.S_IFDIR | 0o755, EntryError, "mode=0o40755"),
    ("compression", "gzip", OptionError, "compression='gzip'"),
    ("compression", 97, OptionError, "compression=97"),
    ("compression", True, OptionError, "compression=True"),
    ("level", "high", OptionError, "level='high'"),
    ("level", 6.0, OptionError, "level=6.0"),
    ("level", 23, OptionError, "level=23"),
    ("level", -131073, OptionError, "level=-131073"),
    ("comment", "text", EntryTypeError, "comment='text'"),
    ("comment", None, EntryTypeError, "comment=None"),
    ("comment", bytes(65536), LimitError, "65536"),
    ("extra", "text", EntryTypeError, "extra='text'"),
    ("extra", bytearray(TIMESTAMP), EntryTypeError, "extra=bytearray"),
    ("extra", b"ab", EntryError, "malformed: 2 bytes are left over at byte 0"),
    ("extra", TIMESTAMP + b"abc", EntryError, "malformed: 3 bytes are left over at byte 9"),
    ("extra", TIMESTAMP[:-1], EntryError, "field 0x5455 at byte 0 has a size of 5 bytes, but only 4 are left"),
    ("extra", TIMESTAMP + ZIP64_FIELD, EntryError, "zip64 field (0x0001)"),
    ("extra", bytes(MAX_EXTRA + 1), LimitError, str(MAX_EXTRA + 1)),
    ("zip64", 1, EntryTypeError, "zip64=1"),
    ("zip64", "yes", EntryTypeError, "zip64='yes'"),
]


@pytest.mark.parametrize(("option", "value", "error", "quoted"), BAD_OPTIONS)
def test_a_bad_option_is_refused_at_once_by_entry_and_value(
    option: str, value: Any, error: type[ZipStreamError], quoted: str
) -> None:
    with pytest.raises(ZipStreamError) as caught:
        Entry("some/file.txt", b"", **{option: value})
    assert type(caught.value) is error
    assert "entry 'some/file.txt': " in str(caught.value)
    assert quoted in str(caught.value)


@pytest.mark.parametrize(
    ("compression", "bad"),
    [("deflate", -1), ("deflate", 10), ("bzip2", 0), ("bzip2", 10), ("lzma", -1), ("lzma", 10), ("stored", "6")],
)
def test_a_level_that_its_method_does_not_have_is_refused(compression: Any, bad: Any) -> None:
    with pytest.raises(OptionError, match=rf"^entry 'a': level={bad!r}[: ]"):
        Entry("a", compression=compression, level=bad)


@pytest.mark.parametrize("name", [None, 5, b"a.txt", Path("a.txt")])
def test_a_name_that_is_no_str_is_refused(name: Any) -> None:
    with pytest.raises(EntryTypeError) as caught:
        Entry(name, b"")
    assert repr(name) in str(caught.value)


def test_the_largest_values_are_good() -> None:
    largest_extra = struct.pack("<2H", 0x7777, MAX_EXTRA - 4) + bytes(MAX_EXTRA - 4)
    entry = Entry(
        "a",
        size=(1 << 64) - 1,
        crc32=0xFFFFFFFF,
        comment=bytes(65535),
        extra=largest_extra,
        modified=(2107, 12, 31, 23, 59, 59),
    )
    assert (entry.size, entry.crc32, len(entry.comment)) == ((1 << 64) - 1, 0xFFFFFFFF, 65535)
    # The writer's own fields still fit behind it.
    assert len(entry.extra) + len(TIMESTAMP) + ZIP64_EXTRA_ROOM == 65535


@given(
    st.lists(
        st.tuples(st.integers(0, 65535).filter(lambda kind: kind not in (1, 0x9901)), st.binary(max_size=40)),
        max_size=6,
    )
)
def test_extra_fields_are_read_back_and_no_cut_one_is_accepted(fields: list[tuple[int, bytes]]) -> None:
    packed = [struct.pack("<2H", kind, len(data)) + data for kind, data in fields]
    extra = b"".join(packed)
    assume(end_signature_in(extra) is None)  # which is refused
    assert extra_fields(Entry("a", extra=extra).extra) == fields
    ends = {sum(map(len, packed[:count])) for count in range(len(packed) + 1)}
    for cut in set(range(len(extra))) - ends:
        with pytest.raises(EntryError, match="malformed"):
            Entry("a", extra=extra[:cut])


@pytest.mark.parametrize(
    ("name", "mode", "fault"),
    [
        ("file", stat.S_IFDIR | 0o755, "a directory, but its name does not end in '/'"),
        ("directory/", stat.S_IFREG | 0o644, "not a directory, but its name ends in '/'"),
        ("directory/", stat.S_IFLNK | 0o777, "not a directory, but its name ends in '/'"),
    ],
)
def test_a_mode_may_not_contradict_the_name(name: str, mode: int, fault: str) -> None:
    with pytest.raises(EntryError) as caught:
        Entry(name, mode=mode)
    assert f"entry {name!r}: mode={mode:#o} says that this is {fault}" in str(caught.value)


def test_options_are_kept_in_one_form() -> None:
    entry = Entry("a", compression="deflate", modified=(2020, 2, 3, 4, 5, 6), mode=0o600, level=3)
    assert entry.compression == 8
    assert entry.modified == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert (entry.mode, entry.level) == (0o600, 3)


def test_an_entry_is_frozen_and_replaceable() -> None:
    entry = Entry("a", b"data", size=4, modified=0x60000000, mode=0o640, compression="lzma", level=2, extra=TIMESTAMP)
    with pytest.raises(AttributeError, match="frozen"):
        entry.name = "b"
    with pytest.raises(AttributeError, match="frozen"):
        del entry.size
    other = entry.replace(name="b", comment=b"!")
    kept = set(Entry._fields) - {"name", "comment"}
    assert other != entry
    assert other.replace(name="a", comment=b"") == entry
    assert (other.name, other.comment) == ("b", b"!")
    assert all(getattr(other, option) == getattr(entry, option) for option in kept)
    with pytest.raises(EntryTypeError, match=r"^entry 'a': size='4'"):
        entry.replace(size="4")  # type: ignore[arg-type]


def test_an_entry_survives_pickling_and_copying() -> None:
    entry = Entry("a", b"data", size=4, crc32=1, modified=1e9, mode=0o640, comment=b"c", extra=TIMESTAMP, zip64=True)
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert copy.deepcopy(entry) == entry


# from_path, directory, symlink


@pytest.mark.parametrize("as_type", [str, Path])
def test_from_path_takes_the_last_component_and_looks_at_no_file(tmp_path: Path, as_type: Any) -> None:
    missing = tmp_path / "deep" / "missing.txt"
    entry = Entry.from_path(as_type(missing), comment=b"c")
    assert (entry.name, entry.comment, entry.size, entry.mode) == ("missing.txt", b"c", None, None)
    assert Path(entry.source) == missing


@pytest.mark.parametrize(("name", "expected"), [(None, "sub/"), ("other", "other/"), ("other/", "other/")])
def test_from_path_names_a_directory_with_a_slash(tmp_path: Path, name: str | None, expected: str) -> None:
    (tmp_path / "sub").mkdir()
    entry = Entry.from_path(tmp_path / "sub", name)
    assert entry.name == expected
    assert entry.is_dir


def test_from_path_of_the_current_directory_has_its_real_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Entry.from_path(".").name == tmp_path.name + "/"


def test_from_path_refuses_a_bytes_path() -> None:
    with pytest.raises(EntryTypeError, match=r"path b'a\.txt'.*fsdecode"):
        Entry.from_path(b"a.txt")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sub", "sub/"])
def test_directory_adds_the_slash_where_it_is_missing(name: str) -> None:
    entry = Entry.directory(name, mode=0o700, source=Path("real"))
    assert (entry.name, entry.is_dir, entry.mode, entry.source) == ("sub/", True, 0o700, Path("real"))


@pytest.mark.parametrize("target", ["../up/ü", Path("../up/ü")])
def test_symlink_keeps_its_target_as_it_is_written(target: str | Path) -> None:
    entry = Entry.symlink("link", target, modified=1e9)
    assert entry.source == os.fsencode(target)
    assert entry.mode == stat.S_IFLNK | 0o777
    assert (entry.size, entry.compression) == (len(entry.source), 0)
    assert stat.S_ISLNK(Entry.symlink("link", target, mode=0o700).mode or 0)


def test_symlink_refuses_an_empty_target_and_a_directory_name() -> None:
    with pytest.raises(EntryError, match=r"^entry 'link': .*empty"):
        Entry.symlink("link", "")
    with pytest.raises(EntryError, match=r"^entry 'link/': mode="):
        Entry.symlink("link/", "target")


# coerce: whatever stands in `entries`


def test_an_entry_is_taken_as_it_is() -> None:
    entry = Entry("a", b"")
    assert coerce(entry) is entry


def test_items_of_every_kind_become_the_same_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"data")
    items: list[Any] = [
        path,
        str(path),
        ("a.txt", path),
        ["a.txt", path],
        {"name": "a.txt", "file": path},
        {"name": "a.txt", "file": str(path)},
        {"name": "a.txt", "source": path},
        {"file": str(path)},
        {"source": path},
        OrderedDict(name="a.txt", file=path),
        MappingProxyType({"name": "a.txt", "file": path}),
    ]
    for item in items:
        entry = coerce(item)
        assert (entry.name, Path(entry.source)) == ("a.txt", path), item


@pytest.mark.parametrize("key", ["source", "file", "stream", "data"])
def test_a_mapping_takes_its_source_under_each_key_and_passes_options_on(key: str) -> None:
    source = iter([b"chunk"])
    entry = coerce({"name": "a", key: source, "compression": "deflate", "level": 9, "size": 5, "comment": b"c"})
    assert entry == Entry("a", source, compression=8, level=9, size=5, comment=b"c")


@pytest.mark.parametrize("item", [("d/", None), {"name": "d/"}, {"name": "d/", "source": None}])
def test_a_directory_needs_no_source(item: Any) -> None:
    assert coerce(item).is_dir


@pytest.mark.parametrize(
    ("item", "quoted"),
    [
        (5, "5 (int)"),
        (None, "None (NoneType)"),
        (b"a.txt", "b'a.txt' (bytes)"),
        (("a",), "('a',) (tuple)"),
        (("a", b"", 8), "('a', b'', 8) (tuple)"),
        ({"a", "b"}, "(set)"),
        (["x" * 500], "..."),
        ((b"a", b""), "b'a'"),
        ((PurePosixPath("a"), b""), "PurePosixPath('a')"),
        ({}, "no source"),
        ({"name": "a"}, "'a' has no source"),
        ({"name": "a", "file": "x", "stream": []}, "'file' and 'stream'"),
        ({"name": "a", "data": b"", "colour": 1}, "unknown key 'colour'"),
        ({"name": 5, "data": b""}, "entry 5"),
        ({"name": "d/", 5: b""}, "unknown key 5"),
        ({"data": b"x"}, "no 'name'"),
        ({"name": None, "stream": [b"x"]}, "no 'name'"),
    ],
)
def test_what_is_no_entry_is_refused_and_quoted(item: Any, quoted: str) -> None:
    with pytest.raises(EntryTypeError) as caught:
        coerce(item)
    assert quoted in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_keys_of_a_source_are_named() -> None:
    with pytest.raises(EntryTypeError, match=r"a mapping with 'name' and 'source', 'file' or 'stream'$"):
        coerce(5)
    with pytest.raises(EntryTypeError, match=r"'stream' \(an iterable\), 'source' or 'data' \(anything\)$"):
        coerce({"name": "a"})


@pytest.mark.parametrize("given", ["none", "stored", "deflate", "bzip2", "lzma", "zstd", "auto"])
def test_a_repr_names_the_method_and_can_be_evaluated(given: Any) -> None:
    if given == "zstd":
        oracles.need_zstd()
    entry = Entry("a", b"data", compression=given, size=4, crc32=5)
    assert repr(entry) == f"Entry('a', b'data', size=4, crc32=5, compression={given!r})"
    assert eval(repr(entry)) == entry
    assert repr(Entry("a", b"data", compression=entry.compression, size=4, crc32=5)) == repr(entry)


@pytest.mark.parametrize(("number", "shown"), [(0, "'stored'"), (8, "'deflate'"), (9, "9"), (95, "95")])
def test_a_repr_of_a_raw_entry_names_the_methods_that_have_a_name(number: int, shown: str) -> None:
    entry = Entry.raw("a", b"data", compression=number, size=4, crc32=5)
    assert f"compression={shown}" in repr(entry)
    assert Entry.raw("a", b"data", compression=eval(shown), size=4, crc32=5) == entry


def test_a_bad_option_in_a_mapping_names_the_entry() -> None:
    with pytest.raises(OptionError, match=r"^entry 'a': size=-1 "):
        coerce({"name": "a", "data": b"", "size": -1})


def test_a_bare_directory_is_refused_with_the_two_things_that_may_be_meant(tmp_path: Path) -> None:
    for item in (tmp_path, str(tmp_path)):
        with pytest.raises(NotAFileError) as caught:
            coerce(item)
        assert repr(str(tmp_path)) in str(caught.value)
        assert "walk(" in str(caught.value)
        assert "Entry.directory(" in str(caught.value)


def test_symlink_refuses_a_target_with_a_nul() -> None:
    with pytest.raises(EntryError, match=r"^entry 'link': the target 'a\\x00b' contains a NUL"):
        Entry.symlink("link", "a\0b")


def test_a_name_is_the_characters_of_a_str_whatever_its_class_says() -> None:
    class Name(str):
        def encode(self, *_: Any) -> bytes:
            return b"../other"

        def split(self, *_: Any) -> list[str]:
            return ["safe"]

    for entry in Entry(Name("../a"), b""), coerce((Name("../a"), b"")), coerce({"name": Name("../a"), "source": b""}):
        assert type(entry.name) is str
        assert entry.name == "../a"
