"""Model match rules: genai-prices' JSON clauses, compiled to predicates.

A rule is `{"equals" | "starts_with" | "ends_with" | "contains" | "regex": text}` or
`{"or" | "and": [rule, …]}`. Text compares without case; a regex is searched in the lower-cased name.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Matcher = Callable[[str], bool]


def compile_rule(rule: Mapping[str, Any]) -> Matcher:
    """A predicate on lower-cased model names. Raises ValueError for a rule of unknown shape."""
    if len(rule) != 1:
        raise ValueError(f"A match rule has one clause: {rule!r}.")
    ((clause, value),) = rule.items()
    match clause, value:
        case "equals", str():
            return value.lower().__eq__
        case "contains", str():
            return _contains(value.lower())
        case "starts_with", str():
            return _starts_with(value.lower())
        case "ends_with", str():
            return _ends_with(value.lower())
        case "regex", str():
            return _regex(value)
        case "or", list():
            return _any_of(value)
        case "and", list():
            matchers = [compile_rule(part) for part in value]
            return lambda name: all(matcher(name) for matcher in matchers)
    raise ValueError(f"Unknown match rule: {rule!r}.")


def _contains(text: str) -> Matcher:
    return lambda name: text in name


def _starts_with(text: str) -> Matcher:
    return lambda name: name.startswith(text)


def _ends_with(text: str) -> Matcher:
    return lambda name: name.endswith(text)


def _regex(pattern: str) -> Matcher:
    search = re.compile(pattern).search
    return lambda name: search(name) is not None


def _any_of(rules: list[Mapping[str, Any]]) -> Matcher:
    """Most rules are a list of exact names: those become one set."""
    names = frozenset(rule["equals"].lower() for rule in rules if "equals" in rule)
    others = [compile_rule(rule) for rule in rules if "equals" not in rule]
    if not others:
        return names.__contains__
    return lambda name: name in names or any(matcher(name) for matcher in others)
