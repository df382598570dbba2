"""Python source that holds nothing but data, read without running it.

Only what such a module needs is understood: imports (passed over), assignments of literals, lists, tuples, dicts, and
calls of constructors that the caller knows by name. Anything else is an error, so what was downloaded can't do a thing.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from apps.pricing.feeds.base import FeedError

Constructor = Callable[..., Any]


def read_literal(
    source: str, name: str, constructors: Mapping[str, Constructor], constants: Mapping[str, Any] | None = None
) -> Any:
    """The value that the module assigns to `name`. `constructors` and `constants` by their names as the module
    writes them, dotted ones too ("datetime.date").

    Raises FeedError for source that is anything but data, a constructor that is not known or does not take what it is
    given, and a module without the name.
    """
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FeedError(f"The module is no Python: {error}.") from error
    reader = _Reader(constructors, constants or {})
    found: list[Any] = []
    for statement in module.body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant(str())):
                continue
            case ast.Assign([ast.Name(target)], value) | ast.AnnAssign(ast.Name(target), _, ast.expr() as value):
                if target == name:
                    found.append(value)
                elif target != "__all__":
                    raise _unknown(statement)
            case _:
                raise _unknown(statement)
    if len(found) != 1:
        raise FeedError(f"The module assigns {name} {len(found)} times.")
    try:
        return reader.value(found[0])
    except RecursionError as error:
        raise FeedError("The module's data is nested too deeply.") from error


class _Reader:
    def __init__(self, constructors: Mapping[str, Constructor], constants: Mapping[str, Any]) -> None:
        self._constructors = constructors
        self._constants = constants

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(str() | bool() | int() | None):
                return node.value
            case ast.List(items):
                return [self.value(item) for item in items]
            case ast.Tuple(items):
                return tuple(self.value(item) for item in items)
            case ast.Dict(keys, values):
                return {self._key(key): self.value(item) for key, item in zip(keys, values, strict=True)}
            case ast.Call(called, arguments, keywords):
                constructor = self._constructors.get(_dotted(called))
                if constructor is None:
                    raise _unknown(called)
                named = {self._keyword(keyword): self.value(keyword.value) for keyword in keywords}
                try:
                    return constructor(*(self.value(argument) for argument in arguments), **named)
                except (TypeError, ValueError, ArithmeticError) as error:
                    raise FeedError(f"Line {node.lineno}: {ast.unparse(called)}: {error}.") from error
            case ast.Name() | ast.Attribute() if (name := _dotted(node)) in self._constants:
                return self._constants[name]
        raise _unknown(node)

    def _key(self, key: ast.expr | None) -> str:
        match key:
            case ast.Constant(str(text)):
                return text
        raise FeedError("A dict with a key that is no text.")

    def _keyword(self, keyword: ast.keyword) -> str:
        if keyword.arg is None:
            raise _unknown(keyword)
        return keyword.arg


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(ast.Name(module), name):
            return f"{module}.{name}"
    return ""


def _unknown(node: ast.AST) -> FeedError:
    return FeedError(f"Line {getattr(node, 'lineno', '?')} is no data: {ast.unparse(node)[:80]}")
