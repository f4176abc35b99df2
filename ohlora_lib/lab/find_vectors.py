"""What notebook 07 does and draws: samples, groups, directions, and what more samples would do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from ohlora_lib import checkpoints
from ohlora_lib.faces.properties import GROUP_PROPERTIES
from ohlora_lib.measure.parse import PARSERS, EmbeddedParser, load_parser
from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.steering.fit import DIRECTIONS, DirectionSet, fit_directions
from ohlora_lib.steering.groups import Grouping, median_grouping
from ohlora_lib.steering.meters import AnnotatorMeter, CnnMeter, Meter, MeterSet, ParserMeter
from ohlora_lib.steering.samples import sample_latents
from ohlora_lib.steering.sampling import LAYERS, Sampler, latents, load_sampler
from ohlora_lib.steering.svm import SvmConfig
from ohlora_lib.store import inside_root


@dataclass(frozen=True)
class ToolSettings(Settings):
    """The generator to steer (a name or a file) and what measures it.

    Without a `property_cnn` (a file) the annotator reads the eight scores in its place.
    """

    generator: str
    property_cnn: str | None
    parser: Annotated[str, OneOf(PARSERS)]


@dataclass(frozen=True)
class FindSettings(ToolSettings):
    """How many latents to sample and what to look for in their vectors.

    `letters` 3 makes v7's 8 groups, 4 the 16 of v8 and v9; `share` is each end's of a group's
    images; `population` how many pictures the units of all scores are taken from.
    """

    layer: Annotated[str, OneOf(LAYERS)]
    images: Annotated[int, Between(256, 1_000_000)]
    population: Annotated[int, Between(16, 100_000)]
    letters: Annotated[int, OneOf((3, 4))]
    share: Annotated[float, Between(0.05, 0.5)]
    directions: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if strange := set(self.directions) - set(DIRECTIONS):
            raise SettingsError(f"directions = {sorted(strange)}: {', '.join(DIRECTIONS)}")
        if not {"svm", "svm all"} & set(self.directions):
            raise SettingsError(f"directions = {self.directions}: 'svm' or 'svm all' is among them")

    @property
    def svm_name(self) -> str:
        """Which SVMs the page shows."""
        return "svm" if "svm" in self.directions else "svm all"


@dataclass(frozen=True, eq=False)
class Tools:
    """A generator and its meters, opened."""

    sampler: Sampler
    cnn: Meter
    parser: ParserMeter
    annotator: Annotator
    stands_in: bool  # the annotator for the property CNN

    def others(self) -> dict[str, Meter]:
        """Meters beside the two: the annotator, which knows neither, if these are toy faces; the
        property CNN as the original measured, if it has dropout."""
        if self.stands_in:
            return {}
        toy = isinstance(self.parser.parser, EmbeddedParser)
        meters: dict[str, Meter] = {"annotator": AnnotatorMeter(self.annotator)} if toy else {}
        config = self.cnn.network.config
        if any((config.conv_dropout, config.dense_dropout)):
            meters["dropout"] = CnnMeter(self.cnn.network, dropout_seed=1)
        return meters


def open_tools(settings: ToolSettings) -> Tools:
    """All that steering needs, on the GPU if there is one."""
    sampler = load_sampler(settings.generator)
    annotator = precision.place(
        fuse_for_inference(checkpoints.load("annotator")), device=sampler.device
    )
    parser = ParserMeter(load_parser(settings.parser, str(sampler.device)))
    cnn: Meter = AnnotatorMeter(annotator)
    if settings.property_cnn:
        path = settings.property_cnn
        path = inside_root(path) if path.endswith(".safetensors") else path
        cnn = CnnMeter(checkpoints.load(path).to(sampler.device))
    return Tools(sampler, cnn, parser, annotator, not settings.property_cnn)


@dataclass(frozen=True, eq=False)
class Searched:
    """What notebook 07 has found."""

    vectors: np.ndarray  # (N, D), memory-mapped
    scores: pd.DataFrame  # (N, 8), in units of the population
    grouping: Grouping
    reports: dict[str, pd.DataFrame]
    folder: Path


def search(folder: Path, settings: FindSettings, tools: Tools) -> Searched:
    """Sample, group, find; leaves samples/, meters.json and directions/ in `folder`."""
    found = sample_latents(
        tools.sampler, tools.cnn, folder / "samples", settings.seed, settings.images, settings.layer
    )
    first = latents(settings.seed, range(settings.population), tools.sampler.z_size)
    population = tools.sampler.images(tools.sampler.vectors(first))
    meters = MeterSet.fit(tools.cnn, tools.parser, tools.annotator, population)
    meters.write(folder / "meters.json")
    names = list(tools.cnn.properties)
    scores = pd.DataFrame(meters.cnn.standardize(found.scores[names].to_numpy()), columns=names)
    grouping = median_grouping(scores, GROUP_PROPERTIES[: settings.letters])
    svm, vectors = SvmConfig(tail_fraction=settings.share), found.vectors
    fitted = fit_directions(settings.directions, vectors, scores, grouping, found.scene, svm)
    made = {name: fit.directions for name, fit in fitted.items()}
    DirectionSet(settings.layer, grouping, made).save(folder / "directions")
    reports = {name: fit.report for name, fit in fitted.items()}
    return Searched(vectors, scores, grouping, reports, folder)
