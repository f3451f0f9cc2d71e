"""Names: what can be stored, what is safe, and what is taken."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter import DuplicateNameError, EntryError, OptionError, UnsafeNameError
from zipstream_adapter._format.name_parts import fold_key, percent_encoded
from zipstream_adapter._format.names import (
    MAX_NAME,
    NameRegistry,
    check_portable,
    check_safe,
    check_storable,
    made_portable,
    repaired,
)

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


# Names of which NFKC, or leaving out what is not shown, makes unsafe ones; and what repair makes of them.
LOOKALIKES: list[tuple[str, str, str | None]] = [
    ("\u2025/x", "look-alike of '.' or '..'", "x"),
    ("\uff0e\uff0e/x", "look-alike of '.' or '..'", "x"),
    ("\u2024\u2024/x", "look-alike of '.' or '..'", "x"),
    ("a/\ufe52./x", "look-alike of '.' or '..'", "a/x"),
    ("a/\u2026", "look-alike of '.' or '..'", "a"),
    ("\ufe30/", "look-alike of '.' or '..'", None),
    ("..\u200b/x", "look-alike of '.' or '..'", "x"),
    (".\u200c./x", "look-alike of '.' or '..'", "x"),
    ("\ufeff../x", "look-alike of '.' or '..'", "x"),
    ("a/.\u202e./x", "look-alike of '.' or '..'", "a/x"),
    ("..\u00ad/x", "look-alike of '.' or '..'", "x"),
    ("..\ufe0f/x", "look-alike of '.' or '..'", "x"),
    ("..\U000e0061/x", "look-alike of '.' or '..'", "x"),
    ("..\u00a0/x", "look-alike of '.' or '..'", "x"),
    ("..\x01/x", "look-alike of '.' or '..'", "x"),
    ("..\t/x", "look-alike of '.' or '..'", "x"),
    ("\u3002\uff61/x", "look-alike of '.' or '..'", "x"),
    ("..\uff0fx", "look-alike of '.' or '..'", "x"),
    ("a\uff0f..\u2215x", "look-alike of '.' or '..'", "a/x"),
    ("a/..\uff3c..\ufe68x", "look-alike of '.' or '..'", "a/x"),
    ("\u2025\u2044x", "look-alike of '.' or '..'", "x"),
    ("..\u29f8..\u29f5x", "look-alike of '.' or '..'", "x"),
    ("..\u00a5x", "look-alike of '.' or '..'", "x"),
    ("\uff0fetc/passwd", "look-alike of an absolute name", "etc/passwd"),
    ("\uff3cetc", "look-alike of an absolute name", "etc"),
    ("\uff23\uff1a/x", "look-alike of a drive letter", "x"),
    ("C\ufe55\uff0fx", "look-alike of a drive letter", "x"),
    ("\uff23:/\uff0f../C:\uff0e\uff0e/x", "look-alike of a drive letter", "x"),
    ("\u200b/x", "invisible characters", "x"),
    ("a/\u3164/x", "invisible characters", "a/x"),
    ("a/\x01/x", "invisible characters", "a/x"),
]

# What people call their files.
ORDINARY = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
    "\u2764\ufe0f/\u2764\ufe0f.txt",
    "Wait\u2026 what.txt",
    "\u2026and so on/a",
    "\uff21\uff22\uff23.txt",
    "AC\u29f8DC \u2013 What\uff1f.mp3",
    "\u29f8r\u29f8all.html",
    "a\uff0fb",
    "Q\uff1a What.mp4",
    "\u00bd cup, \u2105 me.txt",
    "\u00a5100.txt",
    "v1\uff0e2/x",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.txt",
    "\u05d0\u200f.txt",
    "\ufeffbom.txt",
    "\u0660/\u06f0",
    "cafe\u0301/caf\u00e9",
    "\u3000",
    "\x01a",
]


@pytest.mark.parametrize(("name", "fault", "mended"), [*UNSAFE, *LOOKALIKES], ids=ascii)
def test_unsafe_names_are_refused_repaired_or_allowed(name: str, fault: str, mended: str | None) -> None:
    for policy in ("strict", "portable"):
        with pytest.raises(UnsafeNameError) as caught:
            NameRegistry(policy).resolve(name)
        for word in (f"entry {name!r}: ", fault, "names='repair'", "names='allow'"):
            assert word in str(caught.value)
    assert NameRegistry("allow").resolve(name) == name
    if mended is not None:
        assert NameRegistry("repair").resolve(name) == mended
    else:
        with pytest.raises(UnsafeNameError, match="nothing is left"):
            NameRegistry("repair").resolve(name)


@pytest.mark.parametrize("name", [*SAFE, *ORDINARY], ids=ascii)
def test_safe_names_pass_and_repair_leaves_them_alone(name: str) -> None:
    assert NameRegistry("strict").resolve(name) == name
    assert NameRegistry("repair").resolve(name) == name


def test_of_each_character_that_normalization_makes_a_separator_of_a_climbing_name_is_refused() -> None:
    # Of all of Unicode, as this Python knows it.
    for code in (*range(128, 0xD800), *range(0xE000, sys.maxunicode + 1)):
        made = unicodedata.normalize("NFKC", chr(code))
        if made in ("/", "\\"):
            assert repaired(f"..{chr(code)}x") == "x"
        elif made and not made.strip("."):
            for hidden in ("", "\u200d", "\ufe01"):
                assert repaired(f"{chr(code)}{hidden}{'.' * (2 - len(made))}/x") == "x"


@pytest.mark.parametrize(
    ("name", "mended"),
    [
        ("caf\udce9.txt", "caf%E9.txt"),
        ("\udcff\udcfe/\udc80", "%FF%FE/%80"),
        ("a\ud800b", "a%ED%A0%80b"),
        ("\udce9/../caf\u00e9", "%E9/caf\u00e9"),
    ],
)
def test_bytes_that_are_no_utf_8_are_percent_encoded_by_repair(name: str, mended: str) -> None:
    for policy in ("repair", "repair-portable"):
        assert NameRegistry(policy).resolve(name) == mended
    with pytest.raises(UnsafeNameError, match=r"lone surrogate.*names='repair'"):
        NameRegistry("strict").resolve(name)


# name, what the refusal says, what repair makes of it
NOT_PORTABLE: list[tuple[str, str, str]] = [
    ("CON", "device name on Windows", "CON_"),
    ("a/aux.txt", "device name on Windows", "a/aux_.txt"),
    ("nul .tar.gz", "device name on Windows", "nul_.tar.gz"),
    ("Prn/x", "device name on Windows", "Prn_/x"),
    ("com1", "device name on Windows", "com1_"),
    ("lpt9.x", "device name on Windows", "lpt9_.x"),
    ("COM\u00b9", "device name on Windows", "COM\u00b9_"),
    ("lpt\u00b3.log", "device name on Windows", "lpt\u00b3_.log"),
    ("CONIN$", "device name on Windows", "CONIN$_"),
    ("conout$.txt", "device name on Windows", "conout$_.txt"),
    ("NUL/", "device name on Windows", "NUL_/"),
    ("report.", "dot or space", "report"),
    ("folder /a.txt", "dot or space", "folder/a.txt"),
    ("notes .../b.txt", "dot or space", "notes/b.txt"),
    ("con .", "dot or space", "con_"),
    (" ", "dot or space", "_"),
    ("what?.txt", "'?'", "what_.txt"),
    ("a<b>|.txt", "'<'", "a_b__.txt"),
    ('say "hi".txt', "'\"'", "say _hi_.txt"),
    ("12:30.txt", "':'", "12_30.txt"),
    ("a*", "'*'", "a_"),
    ("a\nb", r"'\n'", "a_b"),
    ("a\x7f", r"'\x7f'", "a_"),
    ("invoice\u202efdp.exe", r"'\u202e'", "invoicefdp.exe"),
    ("a\u2066b\u2069", r"'\u2066'", "ab"),
    ("\u200ea", r"'\u200e'", "a"),
    ("x" * 252 + ".txt", "256 bytes", "x" * 251 + ".txt"),
    ("\u00e9" * 128, "256 bytes", "\u00e9" * 127),
    ("a/" + "\U0001f600" * 64 + ".jpeg/b", "261 bytes", "a/" + "\U0001f600" * 62 + ".jpeg/b"),
    ("x." + "y" * 300, "302 bytes", "x." + "y" * 253),
    ("x" * 254 + ". y", "257 bytes", "x" * 252 + ". y"),
]
PORTABLE = [
    "a",
    "a/b.txt",
    "console",
    "com10.txt",
    "COM0",
    "a.con",
    "lpt",
    "nul_",
    "x" * 255,
    "\u00e9" * 127,
    ".a",
    "d/",
]
PORTABLE += ["a;b=c@[d]{e}~f.g", "\u0430", "ac con"]


@pytest.mark.parametrize(
    ("name", "fault", "mended"), NOT_PORTABLE, ids=[ascii(name[:20]) for name, _, _ in NOT_PORTABLE]
)
def test_what_some_system_cannot_extract_is_refused_or_repaired(name: str, fault: str, mended: str) -> None:
    with pytest.raises(UnsafeNameError) as caught:
        NameRegistry("portable").resolve(name)
    assert fault in str(caught.value)
    assert "names='repair-portable'" in str(caught.value)
    assert NameRegistry("strict").resolve(name) == name
    assert NameRegistry("repair-portable").resolve(name) == mended


@pytest.mark.parametrize("name", PORTABLE, ids=lambda name: ascii(name[:20]))
def test_portable_names_pass_and_repair_leaves_them_alone(name: str) -> None:
    assert NameRegistry("portable").resolve(name) == name
    assert NameRegistry("repair-portable").resolve(name) == name


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ntpath.isreserved came with Python 3.13")
@given(st.text(st.sampled_from("coCnNuUlLm1\u00b2 .:*$Iip\tx"), min_size=1, max_size=8) | st.text(min_size=1))
def test_portable_names_are_those_that_windows_takes(name: str) -> None:
    def is_refused(name: str) -> bool:
        try:
            NameRegistry("portable").resolve(name)
        except UnsafeNameError:
            return True
        return False

    import ntpath

    assert is_refused(name) or not ntpath.isreserved(name)  # type: ignore[attr-defined, unused-ignore]


@given(
    st.one_of(dirty_names, st.text(), st.lists(st.sampled_from(["con", "\udce9", "x" * 254, ":", ". "])).map("".join))
)
def test_a_name_made_portable_is_so_and_making_it_so_again_changes_nothing(name: str) -> None:
    try:
        mended = made_portable(name)
    except UnsafeNameError as exc:
        assert "nothing is left" in str(exc)
        return
    check_storable(mended)
    check_safe(mended)
    check_portable(mended)
    assert made_portable(mended) == mended


@pytest.mark.parametrize("policy", ["strict", "repair", "allow"])
@pytest.mark.parametrize(("name", "fault"), UNSTORABLE, ids=["empty", "NUL", "surrogate", "long", "long in UTF-8"])
def test_what_the_format_cannot_say_is_refused_under_every_policy(name: str, fault: str, policy: Any) -> None:
    if policy == "repair" and "surrogate" in fault:
        return  # which is repaired
    with pytest.raises(UnsafeNameError) as caught:
        NameRegistry(policy, "allow").resolve(name)
    entry, _, rest = fault.partition(".*")
    assert entry in str(caught.value)
    assert rest in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("policy", ["strict", "repair", "portable", "allow"])
def test_a_nul_is_refused_with_the_policy_that_repairs_it(policy: Any) -> None:
    said = r"^entry 'a\\x00b': .* remove it, or choose names='repair-portable' \(stores '_' in its place\)$"
    with pytest.raises(UnsafeNameError, match=said):
        NameRegistry(policy).resolve("a\0b")
    assert NameRegistry("repair-portable").resolve("a\0b") == "a_b"


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
    rest = percent_encoded(name).replace("\\", "/")
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


def takes(registry: NameRegistry, name: str, *, is_link: bool = False) -> bool:
    """Take the name if `registry` accepts it unchanged; returns whether it does."""
    try:
        is_free = registry.resolve(name, is_link=is_link) == name
    except EntryError:
        return False
    if is_free:
        registry.take(name, is_link=is_link)
    return is_free


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


@pytest.mark.parametrize("takes", [False, True])
def test_a_name_in_a_known_directory_is_measured_in_bytes(takes: bool) -> None:
    directory = "é" * 32_000 + "/"
    longest = directory + "x" * (MAX_NAME - len(directory.encode()))
    registry = NameRegistry()
    registry.resolve(f"{directory}a", takes=True)
    with pytest.raises(UnsafeNameError, match=f"{MAX_NAME + 1} bytes long"):
        registry.resolve(longest + "x", takes=takes)
    assert registry.resolve(longest, takes=takes) == longest


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
        (["a"], "a/", "has a file 'a' where this directory would be"),
        (["a"], "a/b", "has a file 'a' where its directory would be"),
        (["a"], "a/b/c/d", "has a file 'a' where its directory would be"),
        (["a/b"], "a/b/c/", "has a file 'a/b' where its directory would be"),
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
    assert registry.resolve("d/") is None


def test_a_repeated_directory_is_left_out_and_under_allow_stored_again() -> None:
    for duplicates in ("error", "rename"):
        assert taken("d/", duplicates=duplicates).resolve("d/") is None
        assert taken("d/e/", duplicates=duplicates).resolve("d/e/") is None
    assert taken("d/", duplicates="allow").resolve("d/") == "d/"


# Names that are one elsewhere


@pytest.mark.parametrize(
    ("before", "name", "renamed"),
    [
        ("Report.pdf", "report.PDF", "report (2).PDF"),
        ("caf\u00e9.txt", "cafe\u0301.txt", "cafe\u0301 (2).txt"),
        ("CAFE\u0301/x", "caf\u00e9/X", "caf\u00e9/X (2)"),
        ("d/a", "D", "D (2)"),
        ("stra\u00dfe", "STRASSE", "STRASSE (2)"),
        ("x" * 255, "X" * 255, "X" * 251 + " (2)"),
        ("x" * 251 + ".txt", "X" * 251 + ".txt", "X" * 247 + " (2).txt"),
    ],
)
def test_portable_names_are_compared_as_systems_do_that_mind_no_case(before: str, name: str, renamed: str) -> None:
    for policy in ("portable", "repair-portable"):
        assert taken(before, duplicates="rename", policy=policy).resolve(name) == renamed
        assert taken(before, duplicates="allow", policy=policy).resolve(name) == name
        registry = taken(before, policy=policy)
        with pytest.raises(DuplicateNameError):
            registry.resolve(name)
        assert not takes(registry, name)
    assert taken(before).resolve(name) == name


def test_renaming_passes_over_numbers_that_are_taken_in_another_case() -> None:
    registry = taken("A", "a (2)", duplicates="rename", policy="portable")
    assert registry.resolve("a") == "a (3)"
    registry.take("a (3)")
    assert registry.resolve("A") == "A (4)"


def test_directories_that_differ_in_case_hold_the_same_files() -> None:
    registry = taken("Docs/a", "Docs/", policy="portable")
    assert takes(registry, "docs/b")
    assert registry.resolve("DOCS/c") == "DOCS/c"
    assert registry.resolve("docs/") is None
    with pytest.raises(DuplicateNameError, match="'docs/A/b': the archive has a file 'docs/A' where"):
        registry.resolve("docs/A/b")


@given(st.lists(st.text(st.sampled_from("aAbB/e\u00e9\u00c9\u0301 (2)."), max_size=6), max_size=20))
def test_names_made_portable_are_all_different_everywhere(names: list[str]) -> None:
    registry = NameRegistry("repair-portable", "rename")
    handed: list[str] = []
    for name in names:
        try:
            found = registry.resolve(name)
        except (DuplicateNameError, UnsafeNameError):
            continue
        if found is not None:
            check_portable(found)
            registry.take(found)
            handed.append(fold_key(found))
    assert len(set(handed)) == len(handed)


# Symbolic links


@pytest.mark.parametrize("policy", ["strict", "repair", "portable", "repair-portable"])
@pytest.mark.parametrize("duplicates", ["error", "rename", "allow"])
@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("l", "l/evil"),
        ("l", "l/"),
        ("l", "l/a/b/c"),
        ("d/l", "d/l/x"),
        ("l", "L/x"),
        ("\u00e9", "e\u0301/x"),
        ("l", "L/"),
    ],
)
def test_no_member_leads_through_a_link(policy: Any, duplicates: Any, link: str, name: str) -> None:
    for before in ((), ("a", "d/x", "e/")):
        registry = taken(*before, duplicates=duplicates, policy=policy)
        assert registry.resolve(link, is_link=True) == link
        registry.take(link, is_link=True)
        assert not takes(registry, name)
        with pytest.raises(UnsafeNameError, match=f"leads through {link!r}, a symbolic link"):
            registry.resolve(name)
        with pytest.raises(UnsafeNameError, match=f"leads through {link!r}, a symbolic link"):
            registry.resolve(name.removesuffix("/") + "/x", is_link=True)
        # The other way round: the link comes last.
        registry = taken(*before, duplicates=duplicates, policy=policy)
        if not takes(registry, name):
            registry.take(name)
        if duplicates == "rename" and registry._clash(link):
            assert registry.resolve(link, is_link=True) == f"{link} (2)"
        else:
            with pytest.raises((UnsafeNameError, DuplicateNameError)):
                registry.resolve(link, is_link=True)
            assert not takes(registry, link, is_link=True)


@pytest.mark.parametrize("name", ["l./x", "l /x", "l. ./x", "L\u200b/x", "\uff4c/x", "l\uff0fx", "l./"])
def test_no_member_leads_through_what_some_system_takes_for_a_link(name: str) -> None:
    for policy in ("strict", "repair"):
        for duplicates in ("error", "allow"):
            registry = NameRegistry(policy, duplicates)
            assert takes(registry, "l", is_link=True)
            assert not takes(registry, name)
            with pytest.raises(UnsafeNameError, match="leads through 'l', a symbolic link"):
                registry.resolve(name)
            registry = NameRegistry(policy, duplicates)
            if "\uff0f" not in name:
                registry.take(name)
                assert not takes(registry, "l", is_link=True)
                assert takes(registry, "x", is_link=True)


@pytest.mark.parametrize("name", ["l", "L"])
def test_nothing_is_written_through_a_link_of_the_same_name(name: str) -> None:
    registry = NameRegistry("strict", "allow")
    assert takes(registry, "l", is_link=True)
    assert not takes(registry, name)
    with pytest.raises(UnsafeNameError, match="has a symbolic link 'l', through which"):
        registry.resolve(name)
    assert takes(registry, "m")
    assert takes(registry, "l", is_link=True)  # which takes its place
    assert NameRegistry("strict", "rename").resolve("l") == "l"


def test_links_beside_other_members_are_no_harm() -> None:
    for duplicates in ("error", "rename", "allow"):
        registry = NameRegistry("strict", duplicates)
        assert takes(registry, "d/a")
        assert takes(registry, "d/l", is_link=True)
        for name in ("d/b", "d/ll", "e/l", "d/l2/x", "l/x"):
            assert takes(registry, name)
        assert not takes(registry, "l", is_link=True)
        assert not takes(registry, "d/l2", is_link=True)


def test_allow_stores_links_and_what_leads_through_them() -> None:
    registry = NameRegistry("allow", "allow")
    registry.take("l", is_link=True)
    assert registry.resolve("l/evil") == "l/evil"
    assert takes(registry, "l/evil")


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
            found = registry.resolve(name)
        except DuplicateNameError:
            assert clash
            assert name not in stated
            continue
        if name in stated and not parents & files:
            assert found is None
            continue
        assert found == name
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


def test_a_link_named_by_spaces_alone_is_not_every_directory() -> None:
    registry = NameRegistry("strict", "error")
    assert takes(registry, " ", is_link=True)
    assert registry.resolve("d/e") == "d/e"
    assert takes(registry, "2")
    with pytest.raises(UnsafeNameError, match="symbolic link"):
        registry.resolve(" /x")
