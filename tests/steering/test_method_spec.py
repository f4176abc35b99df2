"""A method is specified by fields; its display name is derived from them and never parsed."""

import json
from typing import Any

import pytest

from ohlora_lib.pages.parameters import ParameterError, checked
from ohlora_lib.steering.fit import DIRECTIONS
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method_spec import MethodSpec

FULL = MethodSpec("ridge scene", True, True, True, (0, 5))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (MethodSpec("svm"), "svm"),
        (MethodSpec("svm", calibrated=True), "svm, calibrated"),
        (MethodSpec("svm", recentered=True), "svm, recentered"),
        (MethodSpec("ridge", per_latent=True), "ridge, per latent"),
        (FULL, "ridge scene, per latent, calibrated, recentered, layers 0-5"),
    ],
)
def test_the_name_lists_the_components(spec, name):
    assert spec.name == name


def test_json_keeps_every_field():
    for spec in (FULL, MethodSpec("mixed")):
        assert MethodSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def read(*methods: Any) -> list[MethodSpec]:
    return checked({"methods": list[MethodSpec]}, {"methods": list(methods)})["methods"]


def test_a_notebook_gets_objects_from_yaml_mappings_or_from_objects():
    mapping = {"directions": "ridge scene", "calibrated": True, "per_latent": True,
               "recentered": True, "layers": [0, 5]}  # fmt: skip
    assert read(mapping, {"directions": "svm"}, FULL) == [FULL, MethodSpec("svm"), FULL]


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"directions": "smv"}, "must be one of svm, svm all"),
        ({"directions": "svm", "per_latent": True}, "per_latent needs a ridge"),
        ({"directions": "mixed", "layers": [5, 3]}, "layers = "),
        ({"directions": "svm", "layers": [3]}, "methods"),
        ({"directions": "svm", "calibrate": True}, "calibrate"),
        ({"directions": "svm", "calibrated": 1}, "calibrated"),
        ({}, "directions"),
    ],
)
def test_a_specification_that_cannot_be_is_refused(mapping, says):
    with pytest.raises(ParameterError, match=says):
        read(mapping)


def test_fields_are_checked_without_a_notebook_too():
    for wrong in ({"directions": "smv"}, {"directions": "gradient", "per_latent": True},
                  {"directions": "svm", "layers": (-1, 3)}):  # fmt: skip
        with pytest.raises(VectorError):
            MethodSpec(**wrong)


def test_every_kind_of_directions_can_be_specified():
    assert [MethodSpec(name).name for name in DIRECTIONS] == list(DIRECTIONS)
