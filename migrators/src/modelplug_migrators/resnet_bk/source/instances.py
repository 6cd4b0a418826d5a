"""Which call made the object that an expression stands for, as far as a program says so itself.

Names, attributes of `self`, results and parameters of functions of the same file are followed; loops,
containers and other files are not. What can't be followed is said to come from elsewhere.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import libcst as cst
from libcst import metadata

from modelplug_migrators.resnet_bk.source.shapes import is_own_attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["ELSEWHERE", "Instances", "Origins"]

ELSEWHERE = cst.Pass()
"""Stands for an origin that the program does not show."""

Origins = frozenset[cst.CSTNode]
"""The calls that may have made an object, and `ELSEWHERE`."""

# Methods of modules that give the module itself.
_FLUENT = frozenset(
    {
        "apply", "bfloat16", "cpu", "cuda", "double", "eval", "float", "half", "requires_grad_",
        "share_memory", "to", "train",
    }
)  # fmt: skip
# Functions that give what they are given, or something that is called in the same way.
_WRAPPERS = ("torch.compile", "torch.nn.DataParallel", "copy.deepcopy", "copy.copy")
_FUNCTIONS = (cst.FunctionDef, cst.Lambda)
_FIXTURES = frozenset({"pytest.fixture", "pytest_asyncio.fixture"})


class Instances:
    """Where the objects of one program come from.

    Args:
        program: The program.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[cst.CSTNode, Origins] = {}
        self._open: set[object] = set()

    def of(self, node: cst.BaseExpression) -> Origins:
        """The calls that may have made what an expression stands for."""
        known = self._known.get(node)
        if known is None:
            known = self._look(node)
            if not self._open:
                self._known[node] = known
        return known

    def _once(self, key: object, values: Iterable[Callable[[], Origins]]) -> Origins:
        """The origins of everything a name may stand for; a name that leads to itself adds nothing."""
        if key in self._open:
            return frozenset()
        self._open.add(key)
        try:
            return frozenset().union(*(value() for value in values))
        finally:
            self._open.discard(key)

    def surely(self, node: cst.BaseExpression, calls: Iterable[cst.CSTNode]) -> bool:
        """Whether an expression certainly stands for what one of these calls made."""
        found = self.of(node)
        return bool(found) and found <= set(calls)

    def perhaps(self, node: cst.BaseExpression, calls: Iterable[cst.CSTNode]) -> bool:
        """Whether it may stand for that, among other things."""
        return not self.of(node).isdisjoint(calls)

    def holders(self, calls: Iterable[cst.CSTNode]) -> Iterator[cst.BaseExpression]:
        """Every call, name and attribute that may stand for what one of these calls made."""
        wanted = set(calls)
        for node, origins in self._holders:
            if not origins.isdisjoint(wanted):
                yield node

    @cached_property
    def _holders(self) -> list[tuple[cst.BaseExpression, Origins]]:
        found: list[tuple[cst.BaseExpression, Origins]] = []
        for call in self.program.every(cst.Call):
            origins = self.of(call)
            if origins - {ELSEWHERE}:
                found.append((call, origins))
        own = (node for node in self.program.every(cst.Attribute) if is_own_attribute(node))
        found += [(node, self.of(node)) for node in own]
        for scope in self.program.scopes:
            for assignment in scope.assignments:
                origins = self._of_assignment(assignment)
                if origins - {ELSEWHERE}:
                    names = (access.node for access in assignment.references)
                    found += [(name, origins) for name in names if isinstance(name, cst.Name)]
        return found

    def passes_on(self, call: cst.Call, calls: Iterable[cst.CSTNode]) -> bool:
        """Whether a call is of a function of this file which gets nothing but what these calls made."""
        defined = self._definitions(call.func)
        wanted = set(calls)
        return bool(defined) and all(
            self._of_parameter(parameter) <= wanted
            for function in defined
            for parameter in self._parameters(function)
            if not self._of_parameter(parameter).isdisjoint(wanted)
        )

    def gives_back(self, call: cst.Call) -> bool:
        """Whether a call is of `optimize` of a `MemoryOptimizer`, which gives the model that it gets."""
        function = call.func
        if not isinstance(function, cst.Attribute) or function.attr.value != "optimize":
            return False
        makers = self.of(function.value)
        return bool(makers) and all(
            isinstance(maker, cst.Call) and self._is_optimizer(maker.func) for maker in makers
        )

    def _is_optimizer(self, function: cst.BaseExpression) -> bool:
        old = self.program.old(function)
        return (old.name if old else self.program.ours(function)) == "MemoryOptimizer"

    # Expressions --------------------------------------------------------------------------------------

    def _look(self, node: cst.BaseExpression) -> Origins:
        if isinstance(node, cst.Call):
            return self._of_call(node)
        if isinstance(node, cst.Name):
            return frozenset() if node.value == "None" else self._of_name(node)
        if isinstance(node, cst.Attribute) and is_own_attribute(node):
            return self._of_attribute(node)
        if isinstance(node, cst.IfExp):
            return self.of(node.body) | self.of(node.orelse)
        if isinstance(node, cst.NamedExpr):
            return self.of(node.value)
        return frozenset({ELSEWHERE})

    def _of_call(self, call: cst.Call) -> Origins:
        function = call.func
        if self.program.old(function) or self.program.ours(function):
            return frozenset({call})
        if isinstance(function, cst.Attribute) and function.attr.value in _FLUENT:
            return self.of(function.value)
        if call.args and (self.program.is_called(call, *_WRAPPERS) or self.gives_back(call)):
            return self.of(call.args[0].value)
        defined = self._definitions(function)
        if not defined:
            return frozenset({ELSEWHERE})
        return frozenset().union(*(self._of_results(each) for each in defined))

    def _of_name(self, name: cst.Name) -> Origins:
        assignments = self.program.assignments(name)
        if not assignments:
            return frozenset({ELSEWHERE})
        return self._once(
            frozenset(assignments), [partial(self._of_assignment, each) for each in assignments]
        )

    def _of_assignment(self, assignment: metadata.BaseAssignment) -> Origins:
        value = self.program.value_of(assignment)
        if value is not None:
            return self.of(value)
        node = getattr(assignment, "node", None)
        if isinstance(node, cst.Param):
            return self._of_parameter(node)
        if isinstance(node, cst.Name) and isinstance(self.program.parent(node), cst.Param):
            return self._of_parameter(cst.ensure_type(self.program.parent(node), cst.Param))
        return frozenset({ELSEWHERE})

    def _of_attribute(self, attribute: cst.Attribute) -> Origins:
        key = (self.program.enclosing(attribute, cst.ClassDef), attribute.attr.value)
        values = self._attributes.get(key)
        if not values:
            return frozenset({ELSEWHERE})
        return self._once(key, [partial(self._of_value, each) for each in values])

    def _of_value(self, value: cst.BaseExpression | None) -> Origins:
        return frozenset({ELSEWHERE}) if value is None else self.of(value)

    @cached_property
    def _attributes(self) -> dict[tuple[cst.CSTNode | None, str], list[cst.BaseExpression | None]]:
        """Every value that `self.name` is given in a class; None for one that can't be followed."""
        found: dict[tuple[cst.CSTNode | None, str], list[cst.BaseExpression | None]] = {}
        for node in self.program.every(cst.Attribute):
            if not is_own_attribute(node):
                continue
            target = self.program.parent(node)
            value: cst.BaseExpression | None = None
            if isinstance(target, cst.AssignTarget):
                value = cst.ensure_type(self.program.parent(target), cst.Assign).value
            elif isinstance(target, cst.AnnAssign) and target.target is node:
                value = target.value
            elif not (isinstance(target, cst.Element) and self._is_target(target)):
                continue
            owner = self.program.enclosing(node, cst.ClassDef)
            found.setdefault((owner, node.attr.value), []).append(value)
        return found

    def _is_target(self, element: cst.Element) -> bool:
        return any(isinstance(outer, cst.AssignTarget) for outer in self.program.around(element))

    # Functions ----------------------------------------------------------------------------------------

    def _definitions(self, function: cst.BaseExpression) -> list[cst.FunctionDef]:
        """The functions of this file that a name calls; none if it may call something else."""
        if not isinstance(function, cst.Name):
            return []
        found = [getattr(a, "node", None) for a in self.program.assignments(function)]
        defined = [node for node in found if isinstance(node, cst.FunctionDef)]
        return defined if len(defined) == len(found) else []

    def _of_results(self, function: cst.FunctionDef) -> Origins:
        results = [each.value for each in self.returns(function)]
        if function.asynchronous or not results:
            return frozenset({ELSEWHERE})
        return self._once(function, [partial(self._of_value, each) for each in results])

    def returns(self, function: cst.FunctionDef) -> Iterator[cst.Return]:
        """The return statements of a function itself, and not of others in it."""
        return iter(self._returns.get(function, ()))

    @cached_property
    def _returns(self) -> dict[cst.CSTNode | None, list[cst.Return]]:
        found: dict[cst.CSTNode | None, list[cst.Return]] = {}
        for node in self.program.every(cst.Return):
            found.setdefault(self.program.enclosing(node, *_FUNCTIONS), []).append(node)
        return found

    def _of_parameter(self, parameter: cst.Param) -> Origins:
        function = self.program.enclosing(parameter, *_FUNCTIONS)
        if not isinstance(function, cst.FunctionDef):
            return frozenset({ELSEWHERE})
        fixture = self._fixture(parameter.name.value, function)
        if fixture is not None:
            return self._of_results(fixture)
        given = self._given(function, parameter)
        return frozenset().union(*given) if given else frozenset({ELSEWHERE})

    def _given(self, function: cst.FunctionDef, parameter: cst.Param) -> list[Origins]:
        """What each use of a function gives for a parameter; nothing if it is a method, or not used here."""
        parameters = self._parameters(function)
        if parameter not in parameters or self.program.enclosing(function, cst.ClassDef):
            return []
        position = parameters.index(parameter)
        if parameter in function.params.kwonly_params:
            position = len(parameters)
        given = []
        for use in self.uses(function):
            call = self.program.parent(use)
            if not isinstance(call, cst.Call) or call.func is not use:
                return []
            given.append(self._argument(call, parameter, position))
        return given

    def _parameters(self, function: cst.FunctionDef) -> list[cst.Param]:
        given = function.params
        return [*given.posonly_params, *given.params, *given.kwonly_params]

    def _argument(self, call: cst.Call, parameter: cst.Param, position: int) -> Origins:
        if any(argument.star for argument in call.args):
            return frozenset({ELSEWHERE})
        for argument in call.args:
            if argument.keyword and argument.keyword.value == parameter.name.value:
                return self.of(argument.value)
        plain = [argument for argument in call.args if not argument.keyword]
        if position < len(plain):
            return self.of(plain[position].value)
        return self.of(parameter.default) if parameter.default else frozenset({ELSEWHERE})

    def uses(self, function: cst.FunctionDef) -> list[cst.CSTNode]:
        """Where the name of a function is used."""
        scope = self.program.scope(function)
        if scope is None:
            return []
        return [
            access.node
            for assignment in scope[function.name.value]
            if getattr(assignment, "node", None) is function
            for access in assignment.references
        ]

    def _fixture(self, name: str, function: cst.FunctionDef) -> cst.FunctionDef | None:
        """The fixture of this file that pytest would pass for a parameter."""
        found = (each for each in self._fixtures if each.name.value == name and each is not function)
        return next(found, None)

    @cached_property
    def _fixtures(self) -> list[cst.FunctionDef]:
        return [
            node
            for node in self.program.every(cst.FunctionDef)
            if any(self._is_fixture(each.decorator) for each in node.decorators)
        ]

    def _is_fixture(self, decorator: cst.BaseExpression) -> bool:
        function = decorator.func if isinstance(decorator, cst.Call) else decorator
        return bool(self.program.qualified(function) & _FIXTURES)
