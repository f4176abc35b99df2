"""Typed parameters of a notebook: declared in its tagged cell, checked by one line.

    images: Int(16, 1_000_000) = 64
    layer: Literal["z", "w"] = "w"

`Int` and `Float` make annotations with bounds; any other annotation that pydantic understands works
too, dataclasses included: a mapping from YAML becomes the object. Values are checked strictly: "3"
is no number, 3 is a float, True is no integer.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_json


class ParameterError(ValueError):
    """A parameter that a notebook cannot work with: its name, its value, and what it must be."""


def Int(low: int, high: int) -> Any:
    """The annotation of a whole number within these bounds, both included."""
    return Annotated[int, Field(ge=low, le=high)]


def Float(low: float, high: float) -> Any:
    """The annotation of a number within these bounds, both included."""
    return Annotated[float, Field(ge=low, le=high)]


def declared(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> annotation of every parameter that the cells executed in this namespace declare."""
    if annotate := namespace.get("__annotate__"):  # Python 3.14 and later
        return dict(annotate(1))
    return dict(namespace.get("__annotations__", {}))


def checked(annotations: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """These values as their annotations want them, or a ParameterError that names the first wrong
    one."""
    if unknown := sorted(set(values) - set(annotations)):
        raise ParameterError(f"no parameter {unknown[0]!r}: there are {', '.join(annotations)}")
    fields = {name: (annotations[name], ...) for name in values}
    model = create_model("Parameters", __config__=ConfigDict(strict=True), **fields)
    try:
        # As JSON, where strict mode reads lists as tuples and mappings as dataclasses.
        found = model.model_validate_json(to_json(values, inf_nan_mode="constants"))
    except ValidationError as error:
        first = error.errors()[0]
        name, *place = map(str, first["loc"])
        at = "".join(f"[{part}]" for part in place)
        said = first["msg"].removeprefix("Value error, ")
        raise ParameterError(f"{name}{at} = {first['input']!r}: {said}") from error
    return {name: getattr(found, name) for name in values}


def validate(namespace: dict[str, Any]) -> dict[str, Any]:
    """Check a notebook's parameters in place: `validate(globals())`; returns them by name."""
    annotations = declared(namespace)
    values = checked(annotations, {name: namespace[name] for name in annotations})
    namespace.update(values)
    return values
