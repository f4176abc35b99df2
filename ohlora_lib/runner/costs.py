"""What a run costs: CPU time, disk and memory, from expressions in the pipeline file.

    cost:
      seconds: images * (generator_seconds + cnn_seconds)
      disk: 2 * images * 4 * 512

The names are the stage's parameters, else those of the nearest earlier stage that has them, else
the pipeline's `constants`, which may be expressions themselves, else `processes`. Arithmetic, min,
max and len are allowed, and nothing else. Every stage takes the constant `stage_seconds` more, for
imports, reading networks and figures, which no further process shortens; `stage_memory` is what it
needs where its `cost` names no memory.
"""

import ast
import operator
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, replace

LEAST_DISK = 1e7  # bytes, where a stage declares none
LEAST_MEMORY = 4e9
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
FUNCTIONS = {"min": min, "max": max, "len": len}


class CostError(ValueError):
    """An expression that cannot be evaluated; the message names it."""


@dataclass(frozen=True)
class Cost:
    """Of one stage or of several: CPU time, bytes on disk and in memory.

    `alone`: CPU seconds that are not shared by processes.
    """

    seconds: float = 0
    disk: float = 0
    memory: float = LEAST_MEMORY
    alone: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other: times and files add up, memory is needed once."""
        memory = max(self.memory, other.memory)
        alone = self.alone + other.alone
        return Cost(self.seconds + other.seconds, self.disk + other.disk, memory, alone)

    def on(self, processes: int) -> "Cost":
        """With the time that it takes when so many processes share the work."""
        return replace(self, seconds=self.alone + (self.seconds - self.alone) / processes)

    def slowed(self, factor: float) -> "Cost":
        """On a machine that takes `factor` times as long."""
        return replace(self, seconds=factor * self.seconds, alone=factor * self.alone)

    def __str__(self) -> str:
        short = self.seconds < 3600
        time = f"{self.seconds / (60 if short else 3600):7.1f} {'min.' if short else 'hours'}"
        return f"{time} {self.disk / 1e9:6.2f} GB of disk {self.memory / 1e9:5.1f} GB of memory"


@dataclass(frozen=True)
class Formula:
    """A constant that is computed from others."""

    text: str


def parsed(expression: str | float) -> ast.expr:
    """The expression's syntax tree; a CostError names what is not allowed in it."""
    try:
        tree = ast.parse(str(expression), mode="eval").body
    except SyntaxError as error:
        raise CostError(f"{expression!r} is not an arithmetic expression") from error
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
        known = isinstance(node, ast.BinOp) and type(node.op) in OPERATORS
        call = isinstance(node, ast.Call) and getattr(node.func, "id", "") in FUNCTIONS
        name = isinstance(node, ast.Name) and (id(node) in called or node.id not in FUNCTIONS)
        if not (number or known or call or name or isinstance(node, ast.operator | ast.Load)):
            raise CostError(
                f"{expression!r}: only numbers, names, + - * / // **, min, max and len are allowed"
            )
    return tree


def evaluate(expression: str | float, names: Mapping[str, object]) -> float:
    """The expression's value with these names."""

    def value(node: ast.expr) -> object:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            if node.id not in names:
                raise CostError(f"{expression!r}: no parameter or constant is called {node.id!r}")
            if isinstance(names[node.id], Formula):
                return evaluate(names[node.id].text, names)
            if not isinstance(names[node.id], int | float | list):
                raise CostError(f"{expression!r}: {node.id} = {names[node.id]!r} is no number")
            return names[node.id]
        if isinstance(node, ast.Call):
            return FUNCTIONS[node.func.id](*map(value, node.args))
        return OPERATORS[type(node.op)](value(node.left), value(node.right))

    try:
        return float(value(parsed(expression)))
    except (TypeError, ArithmeticError, RecursionError) as error:
        raise CostError(f"{expression!r}: {error}") from error


def costs(
    stages: tuple, constants: Mapping[str, float | str], processes: int = 1
) -> dict[str, Cost]:
    """Name -> cost of each stage (with `name`, `parameters` and `cost`), in their order."""
    known = {name: Formula(one) if isinstance(one, str) else one for name, one in constants.items()}
    least = {"stage_seconds": 0.0, "stage_memory": LEAST_MEMORY}
    names, found = ChainMap({"processes": processes, **least, **known}), {}
    for stage in stages:
        names = names.new_child(stage.parameters)
        given = {key: evaluate(text, names) for key, text in stage.cost.items()}
        alone = evaluate("stage_seconds", names)
        given["seconds"] = given.get("seconds", 0.0) + alone
        least = {"disk": LEAST_DISK, "memory": evaluate("stage_memory", names)}
        found[stage.name] = Cost(**least | given, alone=alone)
    return found
