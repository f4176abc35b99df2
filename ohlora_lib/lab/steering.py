"""What notebook 08 does and draws: the image generation test of every method."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from ohlora_lib.compute.workers import parallel_map, workers
from ohlora_lib.lab.find_vectors import FindSettings, Tools, ToolSettings, search
from ohlora_lib.lab.recipe import named_method, read_name
from ohlora_lib.runner.settings import Between, SettingsError
from ohlora_lib.steering import comparison
from ohlora_lib.steering.calibrate import CalibrationRule, calibrate
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.meters import MeterSet
from ohlora_lib.steering.method import Method, write_methods
from ohlora_lib.steering.responses import MIDDLE, REQUESTS
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.store import inside_root
from ohlora_lib.store.tables import write_table


@dataclass(frozen=True)
class SteeringSettings(ToolSettings):
    """Which methods to test, on how many latents; `confirmed` are tested on `confirmation` more.

    `found` is the folder that notebook 07 left; without one, a small search is made first.
    `calibration` latents set the steps. The latents are the seed's first numbers in this order:
    calibration, test, confirmation; none is of the search's seed.
    """

    found: str | None
    methods: list[str]
    latents: Annotated[int, Between(2, 100_000)]
    calibration: Annotated[int, Between(2, 10_000)]
    confirmed: list[str]
    confirmation: Annotated[int, Between(0, 100_000)]
    background: Annotated[float, Between(0.01, 1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*self.methods, *self.confirmed):
            read_name(name)
        if strange := set(self.confirmed) - set(self.methods):
            raise SettingsError(f"confirmed = {sorted(strange)}: only what is among the methods")


@dataclass(frozen=True, eq=False)
class Ready:
    """Methods with their steps set, and what measures them."""

    tools: Tools
    meters: MeterSet
    methods: dict[str, Method]


def found_folder(folder: Path, settings: ToolSettings, found: str | None, tools: Tools) -> Path:
    """What notebook 07 left, or the result of a small search of our own."""
    if found:
        return inside_root(found)
    small = FindSettings(
        out=settings.out, seed=7, generator=settings.generator, parser=settings.parser,
        property_cnn=settings.property_cnn, layer="w", images=256, population=32, letters=3,
        share=0.2, directions=["svm", "ridge"],
    )  # fmt: skip
    search(folder / "found", small, tools)
    return folder / "found"


def open_instruments(found: Path, tools: Tools) -> MeterSet:
    """The meters in the units of the search's population."""
    path = found / "meters.json"
    return MeterSet.read(path, tools.cnn, tools.parser, tools.annotator)


def set_steps(folder: Path, settings: SteeringSettings, tools: Tools) -> Ready:
    """Every method, those with 'steps' calibrated by the one rule; leaves methods.json."""
    found = found_folder(folder, settings, settings.found, tools)
    meters = open_instruments(found, tools)
    rule = CalibrationRule(background=settings.background)
    work = partial(_with_steps, settings, rule, found, tools.sampler, meters)
    made = parallel_map(tools.sampler.device, work, settings.methods)
    methods = {method.name: method for method in made}
    write_methods(folder / "methods.json", made)
    return Ready(tools, meters, methods)


def _with_steps(
    settings: SteeringSettings,
    rule: CalibrationRule,
    found: Path,
    sampler: Sampler,
    meters: MeterSet,
    name: str,
) -> Method:
    method = named_method(name, found / "directions")
    if not read_name(name).calibrated:
        return method
    z = latents(settings.seed, range(settings.calibration), sampler.z_size)
    vectors = sampler.vectors(z, method.layer)
    return calibrate(method, sampler, meters, vectors, rule)


def factors(method: Method) -> tuple[float, float, float]:
    """What a method's requests are multiplied by."""
    return method.factors


def measure_all(folder: Path, settings: SteeringSettings, ready: Ready) -> pd.DataFrame:
    """All methods on the same latents, and those to confirm on others; leaves passes.parquet."""
    first = settings.calibration
    middle = first + settings.latents
    parts = [_tested(settings, ready, settings.methods, range(first, middle)).assign(part="test")]
    if settings.confirmed and settings.confirmation:
        fresh = range(middle, middle + settings.confirmation)
        parts.append(
            _tested(settings, ready, settings.confirmed, fresh).assign(part="confirmation")
        )
    tested = pd.concat(parts, ignore_index=True)
    write_table(tested, folder / "passes.parquet")
    return tested


def _tested(settings: SteeringSettings, ready: Ready, names: Sequence[str], numbers: range):
    sampler = ready.tools.sampler
    asked = LatentSet.from_seed(settings.seed, numbers, sampler.z_size)
    methods = [ready.methods[read_name(name).name] for name in names]
    with workers(sampler.device) as pool:
        return control_test(methods, sampler, ready.meters, asked, ready.tools.others(), pool).table


def strips(ready: Ready, name: str, idx: int, seed: int) -> np.ndarray:
    """One latent along eyes, mouth and pose, the others in the middle: (15, R, R, 3)."""
    requests = np.tile(np.float32(MIDDLE), (15, 1))
    for place in range(3):
        low, high = REQUESTS[0, place], REQUESTS[-1, place]
        requests[5 * place : 5 * place + 5, place] = np.linspace(low, high, 5)
    return pictures(ready, name, idx, seed, requests)


def pictures(ready: Ready, name: str, idx: int, seed: int, requests: np.ndarray) -> np.ndarray:
    """A latent's pictures for these requests (R, 3)."""
    method, sampler = ready.methods[name], ready.tools.sampler
    z = latents(seed, [idx], sampler.z_size)
    start = method.start(sampler, ready.meters, sampler.vectors(z, method.layer))
    return method.image_grid(sampler, start, requests)[0]


best_of = comparison.best_method
