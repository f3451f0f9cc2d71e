"""Words to make data of: what this Python's own documentation says, and how its words follow one another."""

from __future__ import annotations

import ast
import random
import sysconfig
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path


def library() -> list[Path]:
    """The standard library's own sources, most of its tests and all that was installed later left out."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "idle_test", "test", "__pycache__"}
    return sorted(path for path in root.rglob("*.py") if not left_out.intersection(path.relative_to(root).parts))


@cache
def docstrings() -> list[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = []
    for path in library():
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # lib2to3 keeps sources that no parser of today takes
            continue
        docs = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented))
        found += [text for text in docs if text]
    return found


@cache
def followers() -> dict[str, list[str]]:
    """For each word of the docstrings, the words that came after it there."""
    words = " ".join(docstrings()).split()
    words = [word for word in words if word.strip("(),.;:'\"").isalpha()]
    table: dict[str, list[str]] = {}
    for word, after in zip(words, words[1:] + words[:1], strict=True):
        table.setdefault(word, []).append(after)
    return table


def sentences(seed: int) -> Iterator[str]:
    """Sentences without end, each word drawn from those that follow the one before it in real ones."""
    rng = random.Random(seed)
    table = followers()
    word = next(iter(table))
    while True:
        words = []
        for _ in range(rng.randint(5, 30)):
            word = rng.choice(table[word])
            words.append(word.strip("(),.;:'\""))
        yield " ".join(words).capitalize() + "."


def paragraphs(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    endless = sentences(seed)
    while True:
        yield " ".join(islice(endless, rng.randint(2, 9)))


def word_list() -> list[str]:
    """The words themselves, in lower case and sorted."""
    return sorted({word.lower() for word in followers() if word.isalpha() and len(word) > 3})
