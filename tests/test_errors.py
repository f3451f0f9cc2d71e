"""The error tree: as it is drawn, and as people catch it."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
import zipfile

import pytest

import zipstream_adapter
from zipstream_adapter import errors

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__]
LEAVES = [cls for cls in CLASSES if not cls.__subclasses__()]
# ├── Name (BuiltIn)   what it means
_LINE = re.compile(r"^ {4}(?P<rail>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<also>[\w.]+)\))?(?P<meaning> {2,}\S.*)?$")


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Class -> its bases, as the docstring draws them."""
    above: list[str] = []
    tree: dict[str, tuple[str, ...]] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        depth = len(found["rail"]) // 4
        del above[depth:]
        assert len(above) == depth, f"{line!r} hangs on nothing"
        parent = above[-1] if above else "Exception"
        above.append(found["name"])
        also = (found["also"] or "").rpartition(".")[2]
        tree[found["name"]] = (parent, also) if also else (parent,)
    return tree


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert drawn_tree() == {cls.__name__: tuple(base.__name__ for base in cls.__bases__) for cls in CLASSES}


def test_every_branch_of_the_drawing_says_what_it_means() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    assert len(lines) == len(CLASSES) - 1
    for line in lines:
        found = _LINE.match(line)
        assert found, line
        assert found["meaning"], line


@pytest.mark.parametrize("cls", CLASSES)
def test_the_root_catches_every_error(cls: type[Exception]) -> None:
    with pytest.raises(errors.ZipStreamError, match="what happened"):
        raise cls("what happened")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_made_anew_by_what_carries_it_elsewhere(cls: type[Exception]) -> None:
    """tblib, by which Dask brings exceptions from its workers, does it so."""
    assert type(cls.__new__(cls, "what happened")) is cls


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_is_a_built_in_that_people_catch_already(leaf: type[Exception]) -> None:
    caught = [base for base in leaf.__mro__ if base.__module__ == builtins.__name__]
    assert set(caught) & {ValueError, TypeError, OSError, OverflowError, RuntimeError}, leaf


def test_code_written_for_zipfile_catches_a_refused_zip64() -> None:
    with pytest.raises(zipfile.LargeZipFile):
        raise errors.Zip64RequiredError("too large")


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_pickling_and_copying(cls: type[Exception]) -> None:
    # A worker process hands its failure over this way.
    error = cls("entry 'a': what happened")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is cls
        assert str(twin) == "entry 'a': what happened"


def test_which_field_needed_zip64_survives_as_well() -> None:
    error = errors.Zip64RequiredError("too large", "offset")
    for twin in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.field) == ("too large", "offset")


def test_all_is_sorted_complete_and_exported_by_the_package() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    assert set(errors.__all__) == {cls.__name__ for cls in CLASSES}
    for name in errors.__all__:
        assert getattr(zipstream_adapter, name) is getattr(errors, name)
        assert name in zipstream_adapter.__all__
