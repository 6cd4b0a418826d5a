"""Follows a pickle without running it: every instruction builds data, or an inert record."""

from __future__ import annotations

import pickletools
from typing import TYPE_CHECKING, Any, Final

from modelplug_migrators.resnet_bk.checkpoints.reading.harmless import BUILDERS, CALLED_ON_STATE, is_project
from modelplug_migrators.resnet_bk.checkpoints.reading.records import (
    Array,
    Call,
    ForeignObject,
    Global,
    NumpyType,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

__all__ = ["PickleError", "PickleMachine"]

_MAX_STEPS: Final = 50_000_000
_MAX_DEPTH: Final = 1_000_000


class PickleError(Exception):
    """A pickle is damaged, or does what no checkpoint does."""


class _Mark:
    pass


_MARK: Final = _Mark()


class PickleMachine:
    """Builds what a pickle describes.

    Args:
        persistent: Gives the record for a persistent identity, which is how tensors name their memory.

    Attributes:
        calls: The functions that loading the pickle would call, and that are not known to be harmless.
        classes: The classes that loading the pickle would import, and that are not known here.
    """

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.calls: dict[str, None] = {}
        self.classes: dict[str, None] = {}

    def load(self, stream: IO[bytes] | bytes) -> Any:
        """What one pickle describes; a stream is left behind its end.

        Raises:
            PickleError: It can't be followed.
        """
        self._stack, self._memo = [], {}
        try:
            for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
                if operation.name == "STOP":
                    return self._pop()
                if count > _MAX_STEPS or len(self._stack) > _MAX_DEPTH:
                    raise PickleError("it is longer than that of any checkpoint")
                self._do(operation.name, argument)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError) as error:
            raise PickleError(f"it is damaged ({error})") from error
        raise PickleError("it ends early")

    def _do(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _PLAIN:
            _PLAIN[name](self)
        elif name in _WITH_ARGUMENT:
            _WITH_ARGUMENT[name](self, argument)
        elif name not in _IGNORED:
            raise PickleError(f"it has the instruction {name}, which no checkpoint needs")

    # The stack ----------------------------------------------------------------------------------------

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("it is damaged (a mark where a value should be)")
        return value

    def _to_mark(self) -> list[Any]:
        for position in range(len(self._stack) - 1, -1, -1):
            if self._stack[position] is _MARK:
                items = self._stack[position + 1 :]
                del self._stack[position:]
                return items
        raise PickleError("it is damaged (a mark is missing)")

    def _tuple(self, count: int) -> None:
        items = tuple(self._pop() for _ in range(count))
        self._stack.append(items[::-1])

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("it is damaged (a value is missing)")
        return self._stack[-1]

    # Containers ---------------------------------------------------------------------------------------

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, ForeignObject):
            target.items = [] if target.items is None else target.items
            target = target.items
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(items)
        else:
            raise PickleError(f"it adds to a {type(target).__name__}")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, ForeignObject):
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict):
            raise PickleError(f"it sets an entry of a {type(target).__name__}")
        target.update(zip(items[::2], items[1::2], strict=True))

    # Objects ------------------------------------------------------------------------------------------

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("it is damaged (a name is no text)")
        self._stack.append(Global(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no function")
        self._stack.append(self._called(function.name, arguments))

    def _called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        builder = BUILDERS.get(name)
        if builder is not None:
            return builder(arguments)
        first = arguments[0] if arguments else None
        if name in ("copyreg._reconstructor", "copyreg.__newobj__", "copy_reg._reconstructor"):
            if isinstance(first, Global):
                return self._foreign(first.name, ())
        elif is_project(name):
            return self._foreign(name, arguments)
        self.calls[name] = None
        return Call(name)

    def _foreign(self, name: str, arguments: tuple[Any, ...]) -> Any:
        builder = BUILDERS.get(name)
        if builder is not None:
            return builder(arguments)
        self.classes[name] = None
        return ForeignObject(name, arguments)

    def _new(self, *, keywords: bool = False) -> None:
        if keywords:
            self._pop()
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, Global) or not isinstance(arguments, tuple):
            raise PickleError("it makes an object of what is no class")
        self._stack.append(self._foreign(kind.name, arguments))

    def _instance(self, kind: Any, arguments: list[Any]) -> None:
        if not isinstance(kind, Global):
            raise PickleError("it makes an object of what is no class")
        self._stack.append(self._called(kind.name, tuple(arguments)))

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, ForeignObject):
            target.state = state
        elif isinstance(target, (Array, NumpyType)):
            CALLED_ON_STATE[type(target)](target, state)
        # What else has attributes besides its value, such as the versions in a state dict, needs none.

    def _persistent_id(self, identity: Any) -> None:
        self._stack.append(self._persistent(identity))

    def _recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    def _keep(self, key: int) -> None:
        self._memo[key] = self._top()


_LITERALS: Final = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }
)  # fmt: skip
_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_IGNORED: Final = frozenset({"PROTO", "FRAME"})
_PLAIN: Final[dict[str, Callable[[PickleMachine], object]]] = {
    "POP": lambda m: m._stack.pop(),
    "POP_MARK": lambda m: m._to_mark(),
    "DUP": lambda m: m._stack.append(m._top()),
    "TUPLE": lambda m: m._stack.append(tuple(m._to_mark())),
    "TUPLE1": lambda m: m._tuple(1),
    "TUPLE2": lambda m: m._tuple(2),
    "TUPLE3": lambda m: m._tuple(3),
    "LIST": lambda m: m._stack.append(m._to_mark()),
    "DICT": lambda m: m._stack.append(_dict(m._to_mark())),
    "FROZENSET": lambda m: m._stack.append(frozenset(m._to_mark())),
    "APPEND": lambda m: m._append([m._pop()]),
    "APPENDS": lambda m: m._append(m._to_mark()),
    "ADDITEMS": lambda m: m._append(m._to_mark()),
    "SETITEM": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    "SETITEMS": lambda m: m._set_items(m._to_mark()),
    "MEMOIZE": lambda m: m._keep(len(m._memo)),
    "STACK_GLOBAL": lambda m: m._stack_global(),
    "REDUCE": lambda m: m._reduce(),
    "BUILD": lambda m: m._build(),
    "NEWOBJ": lambda m: m._new(),
    "NEWOBJ_EX": lambda m: m._new(keywords=True),
    "OBJ": lambda m: m._instance(*_class_and_arguments(m._to_mark())),
    "BINPERSID": lambda m: m._persistent_id(m._pop()),
}
_WITH_ARGUMENT: Final[dict[str, Callable[[PickleMachine, Any], object]]] = {
    "PUT": lambda m, argument: m._keep(argument),
    "BINPUT": lambda m, argument: m._keep(argument),
    "LONG_BINPUT": lambda m, argument: m._keep(argument),
    "GET": lambda m, argument: m._recall(argument),
    "BINGET": lambda m, argument: m._recall(argument),
    "LONG_BINGET": lambda m, argument: m._recall(argument),
    "GLOBAL": lambda m, argument: m._global(*argument.split(" ", 1)),
    "INST": lambda m, argument: m._instance(Global(argument.replace(" ", ".", 1)), m._to_mark()),
    "PERSID": lambda m, argument: m._persistent_id(argument),
}


def _class_and_arguments(items: list[Any]) -> tuple[Any, list[Any]]:
    return items[0], items[1:]


def _dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
