"""What notebook 07 does and draws: samples, groups, directions, and what more samples would do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib import checkpoints
from ohlora_lib.faces.properties import EXPRESSION, GROUP_PROPERTIES
from ohlora_lib.measure.parse import PARSERS, EmbeddedParser, load_parser
from ohlora_lib.models import precision
from ohlora_lib.models.annotator import Annotator
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.plots.style import INK, MUTED, SERIES
from ohlora_lib.runner.settings import Between, OneOf, Settings, SettingsError
from ohlora_lib.steering.fit import DIRECTIONS, DirectionSet, fit_directions
from ohlora_lib.steering.groups import Grouping, median_grouping, rows_by_group
from ohlora_lib.steering.meters import AnnotatorMeter, CnnMeter, Meter, MeterSet, ParserMeter
from ohlora_lib.steering.sample_count import sample_count_curve
from ohlora_lib.steering.samples import sample_latents
from ohlora_lib.steering.sampling import LAYERS, Sampler, latents, load_sampler
from ohlora_lib.steering.svm import SvmConfig, overall_accuracy
from ohlora_lib.store import inside_root

COLORS = dict(zip(EXPRESSION, SERIES, strict=False))
PUBLISHED_ACCURACY = {"eyes": 0.9634, "mouth": 0.9932, "pose": 0.9896}
"""VectorFind-v8's, at 160,000 samples and 20 %."""
COUNTS = (125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 120_000)


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


def groups_figure(searched: Searched) -> Figure:
    """How many latents each group has."""
    groups = rows_by_group(searched.scores, searched.grouping)
    sizes = {name: len(rows) for name, rows in groups.items()}
    figure, axes = pyplot.subplots(figsize=(8.6, 2.4))
    axes.bar(list(sizes), list(sizes.values()), color=SERIES[1])
    axes.axhline(np.mean(list(sizes.values())), color=MUTED, lw=1, ls="--")
    axes.set(xlabel=f"group: {', '.join(searched.grouping.properties)} (h high, l low)",
             ylabel="latents")  # fmt: skip
    axes.grid(axis="x", visible=False)
    return figure


def accuracy_figure(report: pd.DataFrame) -> Figure:
    """SVM accuracy per group and property; what was borrowed from all images is hatched."""
    shape = {"index": "property", "columns": "group"}
    accuracy = report.pivot(values="accuracy", **shape).reindex(list(EXPRESSION))
    borrowed = report.pivot(values="learned_from", **shape).reindex(list(EXPRESSION))
    figure, axes = pyplot.subplots(figsize=(8.6, 2.2))
    shown = axes.imshow(accuracy, cmap="viridis", vmin=min(0.8, accuracy.min().min()), vmax=1)
    axes.set_aspect("auto")
    for (row, column), value in np.ndenumerate(accuracy.to_numpy()):
        mark = "*" if borrowed.iat[row, column] != accuracy.columns[column] else ""
        dark = shown.norm(value) < 0.6
        axes.text(column, row, f"{value:.2f}{mark}".lstrip("0"), ha="center", va="center",
                  color="white" if dark else INK, fontsize=8)  # fmt: skip
    axes.set_xticks(range(accuracy.shape[1]), accuracy.columns)
    axes.set_yticks(range(len(accuracy)), accuracy.index)
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="accuracy", pad=0.02)
    return figure


def accuracy_table(report: pd.DataFrame) -> pd.DataFrame:
    """Over all groups' validation latents, beside the published figures."""
    ours = overall_accuracy(report)[list(EXPRESSION)]
    return pd.DataFrame(
        {"this run": ours, "published (v8, n = 160,000)": pd.Series(PUBLISHED_ACCURACY)}
    ).rename_axis("property")


def cosines_figure(searched: Searched, names: list[str]) -> tuple[Figure, float]:
    """Cosines between directions of several kinds (of groups: their mean direction), and the mean
    size of those between different properties of the first kind."""
    kept, labels = [], []
    for name in names:
        arrows = DirectionSet.load(searched.folder / "directions")[name].vectors.mean(axis=0)
        kept += list(arrows / np.linalg.norm(arrows, axis=1, keepdims=True))
        labels += [f"{name}: {one}" for one in EXPRESSION]
    cosines = np.array(kept) @ np.array(kept).T
    figure, axes = pyplot.subplots(figsize=(5.6, 4.4))
    shown = axes.imshow(cosines, cmap="RdBu_r", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(cosines):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8,
                  color="white" if abs(value) > 0.6 else INK)  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="cosine")
    off = ~np.eye(3, dtype=bool)
    return figure, float(np.abs(cosines[:3, :3][off]).mean())


def extremes_figure(searched: Searched, share: float, most: int = 150, seed: int = 0) -> Figure:
    """t-SNE of the largest group's ends, as published: a dot per latent, for each property."""
    from sklearn.decomposition import PCA  # slow to import, and most pages do not need it
    from sklearn.manifold import TSNE

    groups = rows_by_group(searched.scores, searched.grouping)
    name, rows = max(groups.items(), key=lambda group: len(group[1]))
    figure, panels = pyplot.subplots(1, 3, figsize=(8.6, 3.1))
    for axes, one in zip(panels, EXPRESSION, strict=True):
        order = rows[np.argsort(searched.scores[one].to_numpy()[rows], kind="stable")]
        count = int(np.clip(share * len(rows), 2, most))
        ends = np.concatenate([order[:count], order[-count:]])
        white = PCA(min(20, len(ends) - 1), random_state=seed).fit_transform(searched.vectors[ends])
        flat = TSNE(perplexity=min(30, (len(ends) - 1) / 3), init="pca", random_state=seed)
        flat = flat.fit_transform(white)
        axes.scatter(*flat[:count].T, s=9, color=MUTED, label="least", lw=0)
        axes.scatter(*flat[count:].T, s=9, color=COLORS[one], label="most", lw=0)
        axes.set(title=one, xticks=[], yticks=[])
        axes.legend(loc="best", fontsize=8, handletextpad=0.1)
        axes.grid(visible=False)
    figure.supxlabel(f"group {name}: the ends of {share:.0%}, of {len(rows):,} latents", fontsize=9)
    return figure


def count_curve(searched: Searched, settings: FindSettings) -> pd.DataFrame:
    """Accuracy, agreement and leakage by the number of samples."""
    counts = [n for n in COUNTS if 2 * n <= len(searched.vectors)]
    config = SvmConfig(tail_fraction=settings.share)
    return sample_count_curve(searched.vectors, searched.scores, counts, config)


def count_figure(curve: pd.DataFrame) -> Figure:
    """What more samples gain: accuracy, agreement of two samples, and what moves along."""
    figure, panels = pyplot.subplots(1, 3, figsize=(8.6, 2.9))
    titles = {"accuracy": "how well SVMs sort", "agreement": "how settled directions are",
              "leakage": "how much moves along"}  # fmt: skip
    labels = {"accuracy": "accuracy on other latents", "agreement": "cosine of two samples'",
              "leakage": "other scores moved per unit"}  # fmt: skip
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for method, style in (("svm", "-"), ("ridge", "--")):
            for one in EXPRESSION:
                part = curve[(curve.method == method) & (curve.property == one)]
                axes.plot(part.n, part[column], style, marker="o", ms=3, color=COLORS[one],
                          label=f"{method}: {one}")  # fmt: skip
        axes.set(xscale="log", xlabel="samples", ylabel=labels[column], title=title)
        axes.set_xticks(sorted(curve.n.unique()), [f"{n:,}" for n in sorted(curve.n.unique())],
                        rotation=40, ha="right")  # fmt: skip
        axes.minorticks_off()
    panels[2].set_ylim(bottom=0)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncol=6,
                  fontsize=8)  # fmt: skip
    return figure


def count_told(curve: pd.DataFrame) -> str:
    """The answer to the seeds' question, from the curve."""
    ends = curve[curve.n.isin([curve.n.min(), curve.n.max()])]
    mean = ends.groupby(["method", "n"])[["agreement", "leakage", "accuracy"]].mean()
    first, last = curve.n.min(), curve.n.max()
    svm, ridge = mean.loc["svm"], mean.loc["ridge"]
    told = (
        "One SVM over all images, without groups, for each property. From "
        f"{first:,} to {last:,} samples its accuracy goes from {svm.accuracy[first]:.2f} to "
        f"{svm.accuracy[last]:.2f} on average (of few samples few are left to measure it on), and "
        f"two samples' directions agree at {svm.agreement[last]:.2f} instead of "
        f"{svm.agreement[first]:.2f}. What an SVM's "
        f"direction moves along goes from {svm.leakage[first]:.3f} to {svm.leakage[last]:.3f} per "
        f"unit, the ridge's from {ridge.leakage[first]:.3f} to {ridge.leakage[last]:.3f}."
    )
    if svm.leakage[last] > 1.5 * ridge.leakage[last]:
        told += (
            " The normal between two classes points to everything that tells the classes apart, "
            "not to the property alone: more samples find that same normal more exactly."
        )
    return told


def sampled_told(settings: FindSettings, searched: Searched, tools: Tools) -> str:
    """What was sampled, and what read it."""
    meter = "the annotator, in the property CNN's place," if tools.stands_in else "the property CNN"
    return (
        f"{len(searched.scores):,} latents with their {settings.layer} "
        f"({searched.vectors.shape[1]} values), scored by {meter} on their images; scores are in "
        f"standard deviations over {settings.population:,} of them."
    )


def straight(settings: FindSettings) -> list[str]:
    """Of what was looked for, the first two that are the same at every latent of a group."""
    names = [name for name in settings.directions if name.startswith(("svm", "ridge"))]
    return [*names[:1], *[name for name in names[1:] if name.startswith("ridge")][:1]]


def cosines_told(settings: FindSettings, between: float) -> str:
    """The sentence about right angles."""
    return (
        f"Between different properties the '{straight(settings)[0]}' directions have a cosine of "
        f"{between:.2f} on average; 0 would be a right angle, and two random directions of this "
        "many values come close to it."
    )


def regression_table(searched: Searched) -> pd.DataFrame:
    """R² on latents held out, of whatever regressions were made; one column for the same one."""
    reports = {n: r for n, r in searched.reports.items() if "r2" in r and "group" not in n}
    columns: dict[str, pd.Series] = {}
    for name, report in reports.items():
        told = report.groupby("property").r2.mean()
        same = next((other for other, values in columns.items() if values.equals(told)), None)
        columns[name if same is None else f"{same}, {name}"] = (
            told if same is None else columns.pop(same)
        )
    return pd.DataFrame(columns).reindex(searched.scores.columns).rename_axis("R² of")


def found(settings: FindSettings, searched: Searched, report: pd.DataFrame, curve: pd.DataFrame):
    """The page's sentence and headline figures."""
    accuracy = overall_accuracy(report)[list(EXPRESSION)]
    most = curve[curve.n == curve.n.max()].groupby("method").leakage.mean()
    sentence = (
        "Latents with the most and the least of eyes, mouth or pose are told apart with an "
        f"accuracy of at least {accuracy.min():.2f}, yet a step along an SVM's normal moves the "
        f"other scores by {most['svm']:.2f} of what it moves its own, on average (ridge: "
        f"{most['ridge']:.2f})."
    )
    headline = {f"SVM accuracy, {name}": f"{value:.3f}" for name, value in accuracy.items()}
    return sentence, headline | {"samples": f"{len(searched.scores):,}"}
