"""What a pickle would build, found by following its instructions symbolically: nothing in it is ever run.

Only the instructions that PyTorch's checkpoints use are understood. Objects are represented by inert
records, so a hostile pickle can at worst be reported as not understood.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import attrs

__all__ = ["PickleReport", "PickledTensor", "scan_pickle"]

_MAX_STEPS: Final = 400_000
_MAX_STACK: Final = 100_000
_MAX_GLOBALS: Final = 256
_MAX_NAMES: Final = 1 << 22
_MAX_NAME: Final = 1 << 12


@attrs.frozen
class PickledTensor:
    """A tensor as the pickle describes it: its storage type (such as `HalfStorage`) and its dimensions."""

    storage_type: str
    shape: tuple[int, ...]
    storage_key: str


@attrs.frozen(kw_only=True)
class PickleReport:
    """What scanning a pickle found.

    Attributes:
        understood: Whether it was followed to its end.
        tensors: Name (keys joined by dots) -> tensor.
        globals: Every class or function it names, `module.name`; loading it would import and maybe call them.
        end: Where the pickle ends.
        value: The number or text it consists of, if it is just one.
    """

    understood: bool
    tensors: dict[str, PickledTensor]
    globals: tuple[str, ...]
    end: int
    value: int | str | None = None


class _NotUnderstoodError(Exception):
    """The pickle does something that is not followed here."""


@attrs.frozen
class _Global:
    name: str


class _Object:
    """Anything that is not looked into."""


_OPAQUE: Final = _Object()
_MARK: Final = _Object()


def scan_pickle(data: bytes, start: int = 0) -> PickleReport:
    """Follow a pickle without running it.

    Args:
        data: The pickle, and possibly more after it.
        start: Where it begins.

    Returns:
        The tensors and globals found, up to the first instruction that is not understood.
    """
    scanner = _Scanner(data, start)
    try:
        value = scanner.run()
        understood = True
    except (_NotUnderstoodError, struct.error, IndexError, UnicodeDecodeError):
        value, understood = None, False
    tensors: dict[str, PickledTensor] = {}
    if understood:
        understood = _collect(value, tensors)
    return PickleReport(
        understood=understood,
        tensors=tensors,
        globals=tuple(sorted(scanner.globals)),
        end=scanner.at,
        value=value if isinstance(value, (int, str)) else None,
    )


def _collect(root: Any, tensors: dict[str, PickledTensor]) -> bool:
    """Name every tensor by the keys that lead to it; without recursion, for nesting may be hostile."""
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    visited: set[int] = set()
    characters = 0
    while pending:
        prefix, value, depth = pending.pop()
        if isinstance(value, PickledTensor):
            tensors[prefix] = value
        elif isinstance(value, dict) and id(value) not in visited and depth < 16:
            visited.add(id(value))
            children = []
            for key, item in value.items():
                if not isinstance(item, (dict, PickledTensor)):
                    continue
                name = f"{prefix}.{key}" if prefix else str(key)
                characters += len(name)
                if characters > _MAX_NAMES or len(name) > _MAX_NAME:
                    return False
                children.append((name, item, depth + 1))
            pending += reversed(children)
    return True


class _Scanner:
    """A pickle machine whose objects are records."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.at = start
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.globals: set[str] = set()

    def run(self) -> Any:
        """Follow the instructions up to STOP and return what is then on top of the stack."""
        for _ in range(_MAX_STEPS):
            opcode = self.data[self.at]
            self.at += 1
            if opcode == 0x2E:  # STOP
                return self.stack.pop()
            action = _ACTIONS.get(opcode)
            if action is None or len(self.stack) > _MAX_STACK:
                raise _NotUnderstoodError
            action(self)
        raise _NotUnderstoodError

    # reading arguments

    def number(self, layout: str, size: int) -> Any:
        value = struct.unpack_from(layout, self.data, self.at)[0]
        self.at += size
        return value

    def bytes_(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise _NotUnderstoodError
        value = self.data[self.at : self.at + length]
        self.at += length
        return value

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise _NotUnderstoodError
        value = self.data[self.at : end].decode("utf-8")
        self.at = end + 1
        return value

    # stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                items = self.stack[position + 1 :]
                del self.stack[position:]
                return items
        raise _NotUnderstoodError

    def fill(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=False):
                if isinstance(key, (str, int)):
                    target[key] = value

    def name_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(self.globals) >= _MAX_GLOBALS:
            raise _NotUnderstoodError
        full = f"{module}.{name}"[:256]
        self.globals.add(full)
        self.push(_Global(full))

    def memoize(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise _NotUnderstoodError
        self.push(self.memo[key])

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def pop_tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise _NotUnderstoodError
        del self.stack[-count:]
        self.push(items)

    def set_items(self) -> None:
        items = self.to_mark()
        self.fill(self.stack[-1], items)

    def drop_to_mark(self) -> None:
        self.to_mark()

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        name = function.name if isinstance(function, _Global) else ""
        if name.startswith("torch._utils._rebuild_tensor") and isinstance(arguments, tuple):
            self.push(_tensor(arguments))
        elif name == "torch._utils._rebuild_parameter" and isinstance(arguments, tuple) and arguments:
            self.push(arguments[0])
        elif name == "collections.OrderedDict":
            self.push({})
        else:
            self.push(_OPAQUE)

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, dict) and not isinstance(target, (dict, PickledTensor)):
            self.stack[-1] = state  # an object's attributes stand for the object

    def new_object(self) -> None:
        self.stack.pop()
        self.stack[-1] = _OPAQUE

    def persistent(self) -> None:
        identity = self.stack.pop()
        self.push(identity if isinstance(identity, tuple) and identity[:1] == ("storage",) else _OPAQUE)


def _tensor(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) < 3:
        return _OPAQUE
    storage, _, shape = arguments[:3]
    if not isinstance(storage, tuple) or len(storage) < 3 or not isinstance(storage[1], _Global):
        return _OPAQUE
    if not isinstance(shape, tuple) or len(shape) > 16:
        return _OPAQUE
    if not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        return _OPAQUE
    key = storage[2] if isinstance(storage[2], str) else ""
    return PickledTensor(storage[1].name.rpartition(".")[2], shape, key[:64])


def _long(scanner: _Scanner, length: int) -> int:
    return int.from_bytes(scanner.bytes_(min(length, 256)), "little", signed=True)


def _stack_global(scanner: _Scanner) -> None:
    name, module = scanner.stack.pop(), scanner.stack.pop()
    scanner.name_global(module, name)


def _append(scanner: _Scanner) -> None:
    scanner.stack.pop()
    if not scanner.stack:
        raise _NotUnderstoodError


_ACTIONS: Final[dict[int, Any]] = {
    ord("("): lambda s: s.push(_MARK),
    ord("0"): lambda s: s.stack.pop(),
    ord("1"): lambda s: s.drop_to_mark(),
    ord("2"): lambda s: s.push(s.stack[-1]),
    ord("}"): lambda s: s.push({}),
    ord("]"): lambda s: s.push(_OPAQUE),
    ord(")"): lambda s: s.push(()),
    0x8F: lambda s: s.push(_OPAQUE),  # EMPTY_SET
    ord("t"): lambda s: s.push(tuple(s.to_mark())),
    ord("l"): lambda s: (s.to_mark(), s.push(_OPAQUE)),
    ord("d"): lambda s: _dict_from_mark(s),
    0x85: lambda s: s.pop_tuple(1),
    0x86: lambda s: s.pop_tuple(2),
    0x87: lambda s: s.pop_tuple(3),
    ord("a"): _append,
    ord("e"): lambda s: s.drop_to_mark(),
    0x90: lambda s: s.drop_to_mark(),  # ADDITEMS
    0x91: lambda s: (s.to_mark(), s.push(_OPAQUE)),  # FROZENSET
    ord("s"): lambda s: s.set_item(),
    ord("u"): lambda s: s.set_items(),
    ord("N"): lambda s: s.push(None),
    0x88: lambda s: s.push(True),
    0x89: lambda s: s.push(False),
    ord("K"): lambda s: s.push(s.number("<B", 1)),
    ord("M"): lambda s: s.push(s.number("<H", 2)),
    ord("J"): lambda s: s.push(s.number("<i", 4)),
    ord("G"): lambda s: s.push(s.number(">d", 8)),
    0x8A: lambda s: s.push(_long(s, s.number("<B", 1))),
    ord("X"): lambda s: s.push(s.bytes_(s.number("<I", 4)).decode("utf-8", "replace")),
    0x8C: lambda s: s.push(s.bytes_(s.number("<B", 1)).decode("utf-8", "replace")),
    0x8D: lambda s: s.push(s.bytes_(s.number("<Q", 8)).decode("utf-8", "replace")),
    ord("U"): lambda s: s.push(s.bytes_(s.number("<B", 1)).decode("latin-1")),
    ord("T"): lambda s: s.push(s.bytes_(s.number("<I", 4)).decode("latin-1")),
    ord("C"): lambda s: (s.bytes_(s.number("<B", 1)), s.push(_OPAQUE)),
    ord("B"): lambda s: (s.bytes_(s.number("<I", 4)), s.push(_OPAQUE)),
    0x8E: lambda s: (s.bytes_(s.number("<Q", 8)), s.push(_OPAQUE)),
    ord("q"): lambda s: s.memoize(s.number("<B", 1)),
    ord("r"): lambda s: s.memoize(s.number("<I", 4)),
    0x94: lambda s: s.memoize(len(s.memo)),
    ord("h"): lambda s: s.recall(s.number("<B", 1)),
    ord("j"): lambda s: s.recall(s.number("<I", 4)),
    ord("c"): lambda s: s.name_global(s.line(), s.line()),
    0x93: _stack_global,
    ord("R"): lambda s: s.reduce(),
    ord("b"): lambda s: s.build(),
    0x81: lambda s: s.new_object(),
    ord("Q"): lambda s: s.persistent(),
    0x80: lambda s: s.number("<B", 1),
    0x95: lambda s: s.number("<Q", 8),
}


def _dict_from_mark(scanner: _Scanner) -> None:
    items = scanner.to_mark()
    fresh: dict[Any, Any] = {}
    scanner.fill(fresh, items)
    scanner.push(fresh)
