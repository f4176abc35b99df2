"""The meter that confirms took no part: which meters a method calls is recorded, not declared."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.pages.index import REPORTS
from ohlora_lib.steering import comparison
from ohlora_lib.steering.calibrate import calibrate
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.fit import DirectionSet, fit_directions
from ohlora_lib.steering.groups import median_grouping
from ohlora_lib.steering.meters import AnnotatorMeter, MeterSet, StandardizedMeter
from ohlora_lib.steering.method import Method, write_methods
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.sampling import latents
from tests.steering.conftest import SIZE, Bystander, Rows

TURNED = (*Rows().properties, "turn")
SPECS = [
    MethodSpec("svm"),
    MethodSpec("svm", calibrated=True),
    MethodSpec("ridge", recentered=True),
    MethodSpec("ridge natural", calibrated=True, recentered=True),
    MethodSpec("ridge natural", per_latent=True),
    MethodSpec("mixed", calibrated=True, recentered=True),
]


@dataclass
class Recorder:
    """A meter that notes that it was called."""

    name: str
    properties: tuple[str, ...]
    called: set = field(default_factory=set)

    def __call__(self, images):
        self.called.add(self.name)
        reading = Rows(0.1)(images)
        turn = reading.scores[:, [Rows().properties.index("pose")]] + 0.1
        return reading._replace(scores=np.concatenate([reading.scores, turn], axis=1)
                                if "turn" in self.properties else reading.scores)  # fmt: skip


@pytest.fixture(scope="module")
def prepared(sampler):
    called = set()
    cnn = Recorder("cnn", Rows().properties, called)
    parser = Recorder("parser", TURNED, called)
    images = sampler.images(latents(11, range(400), SIZE))
    units = [StandardizedMeter.fit(one, one(images).scores) for one in (cnn, parser)]
    return called, MeterSet(*units, Bystander(), background=60.0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_meters_that_made_a_method_are_those_it_names(sampler, prepared, spec):
    called, meters = prepared
    called.clear()
    vectors = sampler.vectors(latents(12, range(600), SIZE))
    images = sampler.images(vectors)
    names = TURNED if spec.directions == "ridge natural" else PROPERTIES
    scores = pd.DataFrame(meters.read_scores(images, names), columns=list(names))
    grouping = median_grouping(scores, ("hair_color",))
    scene = images[:, 8:10, 0, 0]
    fitted = fit_directions([spec.directions], vectors, scores, grouping, scene)
    found = DirectionSet("w", grouping, {name: one.directions for name, one in fitted.items()})
    method = Method.build(spec, found)
    if spec.calibrated:
        method = calibrate(method, sampler, meters, latents(13, range(8), SIZE))
    method.start(sampler, meters, latents(14, range(4), SIZE))
    assert method.meters_used(meters) == tuple(sorted(called))


def test_a_stand_in_for_the_property_cnn_is_named(prepared, tmp_path):
    _, meters = prepared
    stand_in = replace(meters.cnn, meter=AnnotatorMeter(None, Rows().properties))
    grouping = median_grouping(pd.DataFrame({"hair_color": [0.0, 1.0]}), ("hair_color",))
    fitted = fit_directions(["ridge"], *_sample(), grouping)
    method = Method.build(
        MethodSpec("ridge"), DirectionSet("w", grouping, {"ridge": fitted["ridge"].directions})
    )
    write_methods(tmp_path / "m.json", [method], replace(meters, cnn=stand_in))
    assert json.loads((tmp_path / "m.json").read_text())[0]["meters"] == ["annotator", "cnn"]


def _sample():
    vectors = np.random.default_rng(0).standard_normal((400, SIZE)).astype(np.float32)
    return vectors, pd.DataFrame(
        vectors[:, : len(PROPERTIES)].astype(float), columns=list(PROPERTIES)
    )


def test_choosing_a_method_reads_no_other_meters(sampler, meters):
    """The ranking is the same whatever the annotator and the judge say."""
    method = Method(
        MethodSpec("ridge"), fit_directions(["ridge"], *_sample(), None)["ridge"].directions
    )
    table = control_test([method], sampler, meters, LatentSet.from_seed(3, range(4), SIZE)).table
    table = pd.concat([table, table.assign(method="b", parser_eyes_corr=0.1)]).assign(part="test")
    columns = [name for name in table if name.startswith("parser_eyes_")]
    chosen = comparison.best_method(table)
    for other in ("annotator", "judge"):
        for value in (-1.0, 1.0):
            added = {name.replace("parser", other): value for name in columns}
            assert comparison.best_method(table.assign(**added)) == chosen


def headline_of(path):
    return dict(json.loads(path.read_text())["finding"]["headline"])


PAGES = [
    path for path in sorted(REPORTS.glob("*/08_*.json")) if comparison.USED in headline_of(path)
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_headline_of_each_committed_page_is_by_a_meter_that_took_no_part(path):
    headline = headline_of(path)
    used = headline[comparison.USED].split(", ")
    confirming = headline[comparison.CONFIRMING]
    assert {"property CNN", "parser"} <= set(used) and confirming not in used
    by = confirming if confirming != "none" else "parser, which sets the step sizes"
    assert f"by the {by}" in json.loads(path.read_text())["finding"]["sentence"]
