"""Random edits of a tree, made on a plain model beside it, and what must be true of the text afterwards."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from modelplug.documents import Document, TreeError

Path = tuple["str | int", ...]


@attrs.define
class Sample:
    """A generated document.

    Attributes:
        text: What stands in the file.
        value: What it says.
        comments: Every comment, a unique text, with the original paths of the containers it stands inside.
    """

    text: str
    value: Any
    comments: dict[str, list[Path]] = attrs.field(factory=dict)


@attrs.define
class Play:
    """A run of random edits on a document and on plain data.

    Attributes:
        document: The document.
        model: What its value must be.
        replaced: Original paths of containers whose value was replaced as a whole.
        lost: Original paths of entries that went, with everything in them.
    """

    document: Document
    model: Any
    replaced: set[Path] = attrs.field(factory=set)
    lost: set[Path] = attrs.field(factory=set)

    def mappings(self) -> list[Path]:
        """Paths of all mappings, the root first."""
        return [path for path, value in walk(self.model) if isinstance(value, dict)]

    def entries(self) -> list[Path]:
        """Paths of all entries of mappings, and of items of lists."""
        return [path for path, _ in walk(self.model) if path]

    def origin(self, path: Path) -> Path | None:
        """Where an entry stood originally; None if it is new."""
        node = self.document.tree.root
        found = None
        for step in path:
            found = node.find(step)
            assert found is not None
            node = found.value
        return found.origin if found else None


def walk(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Every value with its path, the value itself first."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(found for step, item in pairs for found in walk(item, (*path, step)))]


def at(value: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        value = value[step]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, whatever the order of names."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


NEW_NAMES = ["new", "a b", "x.y", "n1", "yes", "1", "é", "it's", '"', "#", "model", "0x1F", "k1"]
TEXTS = [
    "",
    "yes",
    "1e3",
    "a # b",
    "x: y",
    "- a",
    "it's",
    '"q"',
    "two\nlines\n",
    "é",
    "~",
    " a ",
    "1_000",
    "0o17",
]
SCALARS = [True, False, 0, -7, 10**12, 1.0, -0.5, 1e-8, 1e22, 12345.678, *TEXTS]


def new_value(random: Random, scalars: list[Any], depth: int = 0) -> Any:
    """A value for an edit to write."""
    kind = random.randrange(8) if depth < 2 else 0
    if kind < 6:
        return random.choice(scalars)
    items = [new_value(random, scalars, depth + 1) for _ in range(random.randrange(3))]
    return items if kind == 6 else dict(zip(random.sample(["p", "q", "r s"], len(items)), items, strict=True))


def play(
    random: Random,
    document: Document,
    value: Any,
    scalars: list[Any],
    normal: Callable[[Any], Any] = copy.deepcopy,
) -> Play:
    """Make up to six random edits; each happens in the document as in the model, or is refused by both.

    Args:
        random: Where chance comes from.
        document: The document.
        value: What it says.
        scalars: The scalars to write.
        normal: Makes the value of the document comparable.
    """
    run = Play(document, copy.deepcopy(value))
    for _ in range(random.randint(1, 6)):
        edit = random.choice([rename, move, put, add, insert, remove])
        edit(random, run, scalars)
        assert same(normal(document.value), run.model), (document.value, run.model)
    return run


def _chosen(random: Random, paths: list[Path]) -> Path | None:
    return random.choice(paths) if paths else None


def rename(random: Random, run: Play, scalars: list[Any]) -> None:
    """Rename an entry to a name that may be taken."""
    path = _chosen(random, [path for path in run.entries() if isinstance(path[-1], str)])
    if path is None:
        return
    parent, name = at(run.model, path[:-1]), random.choice(NEW_NAMES)
    if _refused(lambda: run.document.tree.rename(path, name)):
        assert name in parent
        assert name != path[-1]
        return
    renamed = [(name if key == path[-1] else key, item) for key, item in parent.items()]
    parent.clear()
    parent.update(renamed)


def move(random: Random, run: Play, scalars: list[Any]) -> None:
    """Move an entry to a mapping that may be missing, under a name that may be taken."""
    path = _chosen(random, [path for path in run.entries() if isinstance(path[-1], str)])
    if path is None:
        return
    to = random.choice(run.mappings())
    if random.randrange(2):
        to = (*to, random.choice(["made", "new", "k2"]))
    to = (*to, random.choice([path[-1], random.choice(NEW_NAMES)]))
    model = copy.deepcopy(run.model)
    possible = to == path or (to[: len(path)] != path and _move_in(model, path, to))
    refused = _refused(lambda: run.document.tree.move(path, to))
    assert refused is not possible, (path, to)
    if not refused and to != path:
        run.model = model


def _move_in(model: Any, path: Path, to: Path) -> bool:
    source = at(model, path[:-1])
    target = model
    for step in to[:-1]:
        if not isinstance(target, dict) or step not in target:
            if not isinstance(target, dict) and not isinstance(target, list):
                return False
            if isinstance(target, dict):
                target[step] = {}
        target = target[step]
    if not isinstance(target, dict) or (to[-1] in target):
        return False
    if target is source:
        renamed = [(to[-1] if key == path[-1] else key, item) for key, item in source.items()]
        source.clear()
        source.update(renamed)
    else:
        target[to[-1]] = source.pop(path[-1])
    return True


def put(random: Random, run: Play, scalars: list[Any]) -> None:
    """Set a value that is there."""
    path = _chosen(random, run.entries())
    if path is None:
        return
    value = new_value(random, scalars)
    old = at(run.model, path)
    origin = run.origin(path)
    if type(old) is not type(value) and isinstance(old, (dict, list)):
        run.replaced.update([origin] if origin else [])
        run.lost.update(found for below, _ in walk(old, path) if below and (found := run.origin(below)))
    if isinstance(old, (dict, list)):
        run.lost.update(found for below, _ in walk(old, path) if below and (found := run.origin(below)))
        run.replaced.update(found for below, _ in walk(old, path) if below and (found := run.origin(below)))
    run.document.tree.set(path, value)
    at(run.model, path[:-1])[path[-1]] = copy.deepcopy(value)


def add(random: Random, run: Play, scalars: list[Any]) -> None:
    """Add an entry, perhaps in a mapping that is missing, or an item at the end of a list."""
    value = new_value(random, scalars)
    holders = [path for path, found in walk(run.model) if isinstance(found, (dict, list))]
    path = random.choice(holders)
    holder = at(run.model, path)
    if isinstance(holder, list):
        run.document.tree.set((*path, len(holder)), value)
        holder.append(copy.deepcopy(value))
        return
    name = random.choice(NEW_NAMES)
    if name in holder:
        return
    if random.randrange(2):
        run.document.tree.set((*path, name, "inner"), value)
        holder[name] = {"inner": copy.deepcopy(value)}
    else:
        run.document.tree.set((*path, name), value)
        holder[name] = copy.deepcopy(value)


def insert(random: Random, run: Play, scalars: list[Any]) -> None:
    """Put an entry at the front of a mapping."""
    path = random.choice(run.mappings())
    name, value = random.choice(NEW_NAMES), new_value(random, scalars)
    holder = at(run.model, path)
    if _refused(lambda: run.document.tree.insert((*path, name), value, first=True)):
        assert name in holder
        return
    others = dict(holder)
    holder.clear()
    holder.update({name: copy.deepcopy(value), **others})


def remove(random: Random, run: Play, scalars: list[Any]) -> None:
    """Remove an entry of a mapping or an item of a list."""
    path = _chosen(random, run.entries())
    if path is None:
        return
    run.lost.update(found for below, _ in walk(at(run.model, path), path) if (found := run.origin(below)))
    run.document.tree.remove(path)
    del at(run.model, path[:-1])[path[-1]]


def _refused(edit: Callable[[], None]) -> bool:
    try:
        edit()
    except TreeError:
        return True
    return False


# What must be true afterwards -------------------------------------------------------------------------------


def squeezed(text: str) -> str:
    """A text with every run of white space as one blank, since comments may be indented anew."""
    return re.sub(r"\s+", " ", text)


def missing_comments(run: Play, sample: Sample, text: str) -> list[str]:
    """Comments of the original that are gone, though no value that held them was replaced."""
    squeezed_text = squeezed(text)
    return [
        comment
        for comment, holders in sample.comments.items()
        if squeezed_text.count(squeezed(comment)) != 1 and not run.replaced.intersection(holders)
    ]


def untouched_lines(run: Play, sample: Sample, begins: str, *, whole: bool = True) -> list[str]:
    """The lines of the original that hold one entry alone, which no edit touched, nor any entry it is in.

    Args:
        run: The edits.
        sample: The document.
        begins: A pattern for how such a line begins; others may hold the end of another entry too.
        whole: Whether the mappings and lists that hold an entry count as entries on its line.
    """
    document = run.document
    leaves = [path for path, _ in document.tree.source_leaves()]
    paths = [path for path, _ in walk(sample.value)] if whole else leaves
    by_line: dict[int, list[Path]] = {}
    for path in paths:
        by_line.setdefault(document.line_of(path) or 0, []).append(path)
    kept = {leaf.origin for leaf in document.tree.leaves() if leaf.path == leaf.origin and not leaf.changed}
    lines = re.split(r"\r\n|\n|\r", sample.text.removeprefix("\ufeff"))
    return [
        lines[line - 1]
        for line, (path, *others) in sorted(by_line.items())
        if not others
        and path in kept
        and re.match(begins, lines[line - 1])
        and not any(path[:depth] in run.lost for depth in range(len(path) + 1))
    ]


def are_in_order(wanted: list[str], text: str) -> bool:
    """Whether all lines wanted are in a text, in their order."""
    lines = iter(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")))
    return all(any(line == candidate for candidate in lines) for line in wanted)


def there_and_back(
    random: Random, document: Document, value: Any, normal: Callable[[Any], Any] = copy.deepcopy
) -> None:
    """Move and rename entries, then undo every step, the last one first."""
    run = Play(document, copy.deepcopy(value))
    undo: list[Callable[[], None]] = []
    for _ in range(random.randint(1, 6)):
        path = _chosen(random, [path for path in run.entries() if isinstance(path[-1], str)])
        if path is None:
            return
        to = (*random.choice(run.mappings()), *random.choice([(), ("made",), ("made", "deep")]), "moved")
        made = [to[:depth] for depth in range(1, len(to)) if not document.tree.has(to[:depth])]
        if not _refused(lambda path=path, to=to: document.tree.move(path, to)):  # type: ignore[misc]
            undo += [lambda holder=holder: document.tree.remove(holder) for holder in made]  # type: ignore[misc]
            undo.append(lambda path=path, to=to: document.tree.move(to, path))  # type: ignore[misc]
            run.model = normal(document.value)
    for step in reversed(undo):
        step()
