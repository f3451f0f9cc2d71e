"""Names: what can be stored, what is safe, and what is taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter import DuplicateNameError, OptionError, UnsafeNameError
from zipstream_adapter.names import MAX_NAME, NameRegistry, check_safe, check_storable, repaired

SAFE = ["a", "a/b.txt", "d/", "a b/c", "ü/日本", "..a", "a..", ".hidden", "ab:c", "a/C:b", "x" * MAX_NAME]

# name, what the refusal says, what repair makes of it (None: nothing is left)
UNSAFE: list[tuple[str, str, str | None]] = [
    ("/etc/passwd", "absolute", "etc/passwd"),
    ("//host/share/x", "absolute", "host/share/x"),
    ("/", "absolute", None),
    ("C:/x", "drive letter, 'C:'", "x"),
    ("c:x", "drive letter, 'c:'", "x"),
    ("C:", "drive letter", None),
    ("C:/D:/x", "drive letter", "x"),
    ("./C:/x", "'.' component", "x"),
    ("..", "'..'", None),
    ("../x", "'..'", "x"),
    ("a/../../x", "'..'", "a/x"),
    ("a/..", "'..'", "a"),
    ("a/../", "'..'", "a/"),
    ("a\\b", "backslash", "a/b"),
    ("..\\x", "backslash", "x"),
    ("d\\", "backslash", "d"),
    ("...", "dots and spaces", None),
    ("a/.. /x", "dots and spaces", "a/x"),
    ("\\\\host\\share\\x", "backslash", "host/share/x"),
    (".", "'.' component", None),
    ("./x", "'.' component", "x"),
    ("a/./x", "'.' component", "a/x"),
    ("a//x", "empty", "a/x"),
    ("d//", "empty", "d/"),
]

UNSTORABLE: list[tuple[str, str]] = [
    ("", "empty name"),
    ("a\0b", r"entry 'a\x00b': .*NUL"),
    ("caf\udce9", r"entry 'caf\udce9': .*lone surrogate (position 3)"),
    ("x" * (MAX_NAME + 1), "65536 bytes long"),
    ("ü" * (MAX_NAME // 2 + 1), "65536 bytes long"),
]

# Short names of parts that clash, climb and hide: most examples have several of each.
parts = st.sampled_from(["a", "b", "a (2)", "a (3)", "a.b", ".a", "..", ".", "", "C:", "c:a", "a\\b", "\\", "é"])
dirty_names = st.builds(
    lambda middle, end: "/".join(middle) + end, st.lists(parts, min_size=1, max_size=5), st.sampled_from(["", "/"])
)
plain = st.sampled_from(["a", "b", "a (2)", "a (3)", "a.b", ".a"])
plain_names = st.builds(
    lambda middle, end: "/".join(middle) + end, st.lists(plain, min_size=1, max_size=3), st.sampled_from(["", "/"])
)


@pytest.mark.parametrize("name", SAFE)
def test_safe_names_pass_and_repair_leaves_them_alone(name: str) -> None:
    assert NameRegistry("strict").resolve(name) == name
    assert NameRegistry("repair").resolve(name) == name


@pytest.mark.parametrize(("name", "fault", "mended"), UNSAFE)
def test_unsafe_names_are_refused_repaired_or_allowed(name: str, fault: str, mended: str | None) -> None:
    with pytest.raises(UnsafeNameError) as caught:
        NameRegistry("strict").resolve(name)
    for word in (f"entry {name!r}: ", fault, "names='repair'", "names='allow'"):
        assert word in str(caught.value)
    assert NameRegistry("allow").resolve(name) == name
    if mended is not None:
        assert NameRegistry("repair").resolve(name) == mended
    else:
        with pytest.raises(UnsafeNameError, match="nothing is left"):
            NameRegistry("repair").resolve(name)


@pytest.mark.parametrize("policy", ["strict", "repair", "allow"])
@pytest.mark.parametrize(("name", "fault"), UNSTORABLE, ids=["empty", "NUL", "surrogate", "long", "long in UTF-8"])
def test_what_the_format_cannot_say_is_refused_under_every_policy(name: str, fault: str, policy: Any) -> None:
    with pytest.raises(UnsafeNameError) as caught:
        NameRegistry(policy, "allow").resolve(name)
    entry, _, rest = fault.partition(".*")
    assert entry in str(caught.value)
    assert rest in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.one_of(dirty_names, st.text()))
def test_a_repaired_name_is_safe_and_repairing_it_again_changes_nothing(name: str) -> None:
    try:
        mended = repaired(name)
    except UnsafeNameError as exc:
        assert "nothing is left" in str(exc)
        return
    check_safe(mended)
    assert repaired(mended) == mended
    # Each part that is kept stands in the original, in order.
    rest = name.replace("\\", "/")
    for part in mended.split("/"):
        at = rest.find(part)
        assert at >= 0
        rest = rest[at + len(part) :]


@pytest.mark.parametrize(("name", "mended"), [("C:" * 30000 + "x", "x"), ("C:/" * 20000 + "x/", "x/")])
def test_repair_takes_away_any_number_of_drive_letters(name: str, mended: str) -> None:
    # Compared outside of the assertion: a report of 60,000 characters helps nobody.
    as_expected = NameRegistry("repair").resolve(name) == mended
    assert as_expected


# Duplicates


def taken(*names: str, duplicates: Any = "error", policy: Any = "strict") -> NameRegistry:
    registry = NameRegistry(policy, duplicates)
    for name in names:
        registry.take(name)
    return registry


@pytest.mark.parametrize("name", ["a", "a/b.txt"])
def test_a_name_taken_twice_is_refused_numbered_or_allowed(name: str) -> None:
    with pytest.raises(DuplicateNameError, match=f"^entry '{name}': a member of that name.*duplicates='rename'"):
        taken(name).resolve(name)
    assert taken(name, duplicates="allow").resolve(name) == name
    assert taken(name, duplicates="rename").resolve(name) not in (None, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ["a (2)", "a (3)"]),
        ("a.txt", ["a (2).txt", "a (3).txt"]),
        ("a.tar.gz", ["a.tar (2).gz", "a.tar (3).gz"]),
        (".hidden", [".hidden (2)", ".hidden (3)"]),
        ("v1.0/data", ["v1.0/data (2)", "v1.0/data (3)"]),
    ],
)
def test_renaming_numbers_the_last_component_before_its_suffix(name: str, expected: list[str]) -> None:
    registry = taken(name, duplicates="rename")
    for new in expected:
        assert registry.resolve(name) == new
        registry.take(new)


def test_renaming_passes_over_numbers_that_are_taken() -> None:
    assert taken("a", "a (2)", "a (3)/x", duplicates="rename").resolve("a") == "a (4)"


def test_a_renamed_name_that_grew_too_long_is_refused() -> None:
    longest = "x" * MAX_NAME
    with pytest.raises(UnsafeNameError, match=f"{MAX_NAME + 4} bytes long"):
        taken(longest, duplicates="rename").resolve(longest)


def test_names_are_compared_as_they_are_stored() -> None:
    with pytest.raises(DuplicateNameError, match=r"^entry 'a/b'"):
        taken("a/b", policy="repair").resolve("\\a\\.\\b")


def test_nothing_is_taken_by_asking() -> None:
    # The entry may still fail and be left out.
    registry = taken()
    assert [registry.resolve("a"), registry.resolve("a")] == ["a", "a"]


@pytest.mark.parametrize(
    ("before", "name", "fault"),
    [
        (["a"], "a/", "has a file 'a' where this directory would stand"),
        (["a"], "a/b", "has a file 'a' where its directory would stand"),
        (["a"], "a/b/c/d", "has a file 'a' where its directory would stand"),
        (["a/b"], "a/b/c/", "has a file 'a/b' where its directory would stand"),
    ],
)
def test_a_directory_cannot_stand_where_a_file_does_and_renaming_does_not_mend_it(
    before: list[str], name: str, fault: str
) -> None:
    for duplicates in ("error", "rename"):
        with pytest.raises(DuplicateNameError) as caught:
            taken(*before, duplicates=duplicates).resolve(name)
        assert f"entry {name!r}: " in str(caught.value)
        assert fault in str(caught.value)
    assert taken(*before, duplicates="allow").resolve(name) == name


@pytest.mark.parametrize(
    ("before", "name", "renamed"),
    [
        (["a/"], "a", "a (2)"),
        (["a/b"], "a", "a (2)"),
        (["a/b/c/d"], "a/b", "a/b (2)"),
    ],
)
def test_a_file_cannot_stand_where_a_directory_does_but_may_be_renamed(
    before: list[str], name: str, renamed: str
) -> None:
    with pytest.raises(DuplicateNameError, match=f"^entry '{name}': the archive has a directory '{name}/'"):
        taken(*before).resolve(name)
    assert taken(*before, duplicates="rename").resolve(name) == renamed
    assert taken(*before, duplicates="allow").resolve(name) == name


def test_a_directory_that_others_implied_may_be_stated_once() -> None:
    registry = taken("d/a")
    assert registry.resolve("d/") == "d/"
    registry.take("d/")
    assert registry.resolve("d/b") == "d/b"
    with pytest.raises(DuplicateNameError, match=r"^entry 'd/'"):
        registry.resolve("d/")


def test_a_repeated_directory_is_left_out_under_rename_and_stored_under_allow() -> None:
    assert taken("d/", duplicates="rename").resolve("d/") is None
    assert taken("d/", duplicates="allow").resolve("d/") == "d/"


@given(st.lists(st.one_of(plain_names, dirty_names), max_size=25))
def test_renaming_never_hands_out_a_name_twice_nor_a_file_where_a_directory_stands(names: list[str]) -> None:
    registry = NameRegistry("repair", "rename")
    handed: list[str] = []
    for name in names:
        try:
            given_name = registry.resolve(name)
        except (DuplicateNameError, UnsafeNameError):
            continue
        if given_name is None:
            assert repaired(name) in handed
            continue
        check_safe(given_name)
        check_storable(given_name)
        registry.take(given_name)
        handed.append(given_name)
    assert len(set(handed)) == len(handed)
    files = {name for name in handed if not name.endswith("/")}
    above = {name[:at] for name in handed for at in range(len(name)) if name[at] == "/"}
    assert not files & above


@given(st.lists(plain_names, max_size=15))
def test_under_error_exactly_the_first_of_each_name_passes(names: list[str]) -> None:
    registry = NameRegistry()
    files: set[str] = set()
    directories: set[str] = set()
    stated: set[str] = set()
    for name in names:
        path = name.rstrip("/")
        parents = {path[:at] for at in range(len(path)) if path[at] == "/"}
        is_dir = name.endswith("/")
        clash = bool(parents & files) or path in files or (name in stated if is_dir else path in directories)
        try:
            assert registry.resolve(name) == name
        except DuplicateNameError:
            assert clash
            continue
        assert not clash
        registry.take(name)
        directories |= parents
        if is_dir:
            directories.add(path)
            stated.add(name)
        else:
            files.add(path)


@pytest.mark.parametrize(("option", "value"), [("names", "lax"), ("duplicates", "skip"), ("names", None)])
def test_an_unknown_policy_is_refused_with_the_known_ones(option: str, value: Any) -> None:
    policies: dict[str, Any] = {option: value}
    with pytest.raises(OptionError, match=f"^{option}={value!r}: choose one of '"):
        NameRegistry(**policies)
