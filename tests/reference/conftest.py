"""The face maps of tests/measure, with scores computed by loops over pixels."""

from tests.measure.conftest import faces

__all__ = ["faces"]
