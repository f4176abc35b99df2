"""What notebook 06 does: faces to learn from, the trained meter, faces to test it on."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from ohlora_lib import checkpoints
from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import single_threaded, workers
from ohlora_lib.measure.normalize import Normalization, read_statistics, write_statistics, z_scores
from ohlora_lib.measure.parse import PARSERS, Parser, default_scores, face_scores, property_scores
from ohlora_lib.measure.rendered import ParsedTruth
from ohlora_lib.measure.scores import ORIGINAL_HAIRSTYLE, SECOND, score
from ohlora_lib.runner.settings import Between, OneOf, Settings
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.store import inside_root
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.store.tables import read_table, write_table
from ohlora_lib.train.regressor import (
    PUBLISHED,
    SMALL,
    RegressorPlan,
    Trained,
    predict,
    train_property_cnn,
)

PLANS = {"small": SMALL, "published": PUBLISHED}
PROPERTIES = tuple(SECOND)
RAW = (*PROPERTIES, ORIGINAL_HAIRSTYLE)
PER_PART = 4 * BLOCK


@dataclass(frozen=True)
class CnnSettings(Settings):
    """Which generator's faces to learn from, how many, and how many more to test on.

    `statistics` is 04's statistics.json, which says how scores are normalized; without it these
    faces' own mean and deviation do. `rendered` faces, of known truth, check the result.
    """

    generator: str
    statistics: str
    parser: Annotated[str, OneOf(PARSERS)]
    network: Annotated[str, OneOf(tuple(PLANS))]
    images: Annotated[int, Between(40, 1_000_000)]
    test_images: Annotated[int, Between(10, 100_000)]
    epochs: Annotated[int, Between(1, 10_000)]
    rendered: Annotated[int, Between(0, 100_000)]


@dataclass(frozen=True)
class Faces:
    """Generated faces and their scores by way of the parser; the last `test` teach nothing."""

    file: Path  # .npy, (N, R, R, 3) uint8
    raw: pd.DataFrame  # idx and raw scores, RAW; NaN where no face was found
    normalization: Normalization
    test: int

    @property
    def images(self) -> np.ndarray:
        return np.load(self.file, mmap_mode="r")

    @property
    def scores(self) -> pd.DataFrame:
        """The eight normalized scores of all, (N, 8)."""
        return self.normalization(self.raw, decimals=None)

    @property
    def test_images(self) -> np.ndarray:
        return np.array(self.images[-self.test :])


def make_faces(folder: Path, settings: CnnSettings, sampler: Sampler, parser: Parser) -> Faces:
    """Generate, parse and score; what a killed run finished is kept."""
    count, file = settings.images + settings.test_images, folder / "images.npy"
    if not (folder / "raw.parquet").exists():
        starts = range(0, count, PER_PART)
        jobs = [
            Job(folder / "parts" / f"{at:06d}.npz", range(at, min(at + PER_PART, count)))
            for at in starts
        ]
        work = partial(single_threaded, _make_part, sampler, parser, settings.seed)
        with workers(sampler.device) as pool:
            parts = run_jobs(work, jobs, "parts: generated, parsed, scored", pool)
        write_table(_joined(parts, file), folder / "raw.parquet")
        for part in parts:
            part.unlink()
    raw = read_table(folder / "raw.parquet", ["idx", *RAW])
    if settings.statistics:
        normalization = read_statistics(inside_root(settings.statistics))
    else:
        normalization = z_scores(raw.loc[: settings.images - 1, list(PROPERTIES)])
    write_statistics(normalization, folder / "statistics.json")
    return Faces(file, raw, normalization, settings.test_images)


def _make_part(sampler: Sampler, parser: Parser, seed: int, rows: range, path: Path) -> None:
    """Images and raw scores of these latents of the seed."""
    z = latents(seed, np.array(rows), sampler.z_size)
    images = sampler.images(sampler.vectors(z))
    which = {**default_scores(parser), ORIGINAL_HAIRSTYLE: SECOND["hairstyle"]}
    scores = property_scores(images, parser, which)[list(RAW)].to_numpy()
    np.savez(path, images=images, idx=rows, scores=scores)


def _joined(parts: list[Path], file: Path) -> pd.DataFrame:
    """All images into one file, part by part; the table of their scores."""
    tables = []
    for part in parts:
        with np.load(part) as arrays:
            table = pd.DataFrame(arrays["scores"], columns=list(RAW))
            table.insert(0, "idx", arrays["idx"])
            shape = arrays["images"].shape[1:]
        tables.append(table)
    raw = pd.concat(tables, ignore_index=True)
    with atomic_path(file) as temporary:
        whole = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(raw), *shape))
        for part in parts:
            with np.load(part) as arrays:
                whole[arrays["idx"]] = arrays["images"]
        whole.flush()
    return raw


def plan(settings: CnnSettings, faces: Faces) -> RegressorPlan:
    """The chosen plan; the small network at the resolution of the faces."""
    chosen = PLANS[settings.network]
    if settings.network == "small":
        network = replace(chosen.network, resolution=faces.images.shape[1])
        chosen = replace(chosen, network=network)
    return replace(chosen, epochs=settings.epochs)


def train(folder: Path, settings: CnnSettings, faces: Faces, sampler: Sampler) -> Trained:
    """Train on all but the test faces; leaves property_cnn.safetensors."""
    known, normal = faces.scores, faces.normalization
    known.iloc[-faces.test :] = np.nan  # learnt from nowhere
    with workers(sampler.device) as pool:
        trained = train_property_cnn(
            faces.file,
            known,
            folder / "branches",
            plan(settings, faces),
            seed=settings.seed,
            front=-normal.center["pose"] / normal.spread["pose"],
            device=str(sampler.device),
            executor=pool,
        )
    checkpoints.save(trained.network, folder / "property_cnn.safetensors")
    return trained


def test(folder: Path, faces: Faces, trained: Trained) -> pd.DataFrame:
    """Predicted and computed scores of the faces that taught nothing; leaves test.parquet."""
    said = predict(trained.network, faces.test_images)
    computed = faces.scores.tail(faces.test).reset_index(drop=True)
    table = said.add_prefix("predicted_").join(computed.add_prefix("computed_"))
    table.insert(0, "idx", faces.raw["idx"].tail(faces.test).to_numpy())
    original, normal = faces.raw[ORIGINAL_HAIRSTYLE].tail(faces.test), faces.normalization
    original = (original - normal.center["hairstyle"]) / normal.spread["hairstyle"]
    table[f"computed_{ORIGINAL_HAIRSTYLE}"] = original.to_numpy()
    write_table(table, folder / "test.parquet")
    return table


@dataclass(frozen=True)
class Checked:
    """Rendered faces, normalized: what the CNN says, what is computed, and what true maps give."""

    said: pd.DataFrame
    computed: pd.DataFrame
    exact: pd.DataFrame
    attributes: pd.DataFrame


def check(
    rendered: ParsedTruth | None, faces: Faces, trained: Trained, parser: Parser
) -> Checked | None:
    """Read the rendered faces in all three ways; None where there are none."""
    if rendered is None or rendered.parsed.found.sum() < 10:
        return None
    known, normal = rendered.parsed.found, faces.normalization
    which = default_scores(parser)
    computed = face_scores(rendered.parsed, which)[known].reset_index(drop=True)
    exact = score(rendered.maps[known], rendered.parsed.faces[known], which)
    return Checked(
        predict(trained.network, rendered.images[known]),
        normal(computed, decimals=None),
        normal(exact, decimals=None),
        rendered.attributes[known].reset_index(drop=True),
    )
