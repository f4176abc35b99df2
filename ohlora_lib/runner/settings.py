"""Typed, checked parameters: the frozen dataclass that every notebook builds first."""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints


class SettingsError(ValueError):
    """A parameter that is not what the notebook needs: its name, its value and what it must be."""


@dataclass(frozen=True)
class Between:
    """A number within these bounds, both included."""

    low: float
    high: float

    def problem(self, value: float) -> str | None:
        """Why `value` does not do, or None."""
        if self.low <= value <= self.high:
            return None
        return f"must be between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """One of a few words or numbers."""

    choices: tuple[str | int, ...]

    def problem(self, value: str | int) -> str | None:
        """Why `value` does not do, or None."""
        if value in self.choices:
            return None
        return f"must be one of {', '.join(map(str, self.choices))}"


def fits(value: object, wanted: Any) -> bool:
    """Is `value` of the type `wanted`: int, float, bool, str, list[…], a union of them, or None?

    A bool is no number, and an int does where a float is wanted.
    """
    origin = get_origin(wanted)
    if origin is Annotated:
        return fits(value, get_args(wanted)[0])
    if origin in (types.UnionType, Union):
        return any(fits(value, one) for one in get_args(wanted))
    if origin is list:
        return isinstance(value, list) and all(fits(one, get_args(wanted)[0]) for one in value)
    if wanted is None or wanted is types.NoneType:
        return value is None
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, (int, float) if wanted is float else wanted)


def type_name(wanted: Any) -> str:
    """The type's name as a person writes it."""
    if get_origin(wanted) is Annotated:
        return type_name(get_args(wanted)[0])
    return wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else str(wanted)


@dataclass(frozen=True)
class Settings:
    """Base of every notebook's settings; `out` is the folder below data/ that it fills."""

    out: str
    seed: Annotated[int, Between(0, 2**32 - 1)]

    @classmethod
    def of(cls, names: Mapping[str, object]) -> Self:
        """The settings from a notebook's own names: `Settings.of(globals())`."""
        missing = next((field.name for field in fields(cls) if field.name not in names), None)
        if missing:
            raise SettingsError(f"{missing}: the cell of parameters does not set it")
        return cls(**{field.name: names[field.name] for field in fields(cls)})

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            self._check(field.name, getattr(self, field.name), hints[field.name])

    def _check(self, name: str, value: object, wanted: Any) -> None:
        if not fits(value, wanted):
            raise SettingsError(f"{name} = {value!r}: must be of type {type_name(wanted)}")
        rules = get_args(wanted)[1:] if get_origin(wanted) is Annotated else ()
        for problem in (rule.problem(value) for rule in rules if value is not None):
            if problem:
                raise SettingsError(f"{name} = {value!r}: {problem}")
