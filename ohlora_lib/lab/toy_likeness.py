"""How a generator's faces compare with rendered ones, as the annotator reads both (notebook 01)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib import checkpoints
from ohlora_lib.faces.concept import fits_concept
from ohlora_lib.measure.similarity import Similarity, compare, distances, frechet_distance
from ohlora_lib.models.annotator import Annotations, Annotator
from ohlora_lib.plots.style import SERIES
from ohlora_lib.toyworld.face_sets import PAIR_SEED, TEST_SEED, FaceSet, load_faces

UNKNOWN = (
    "These are not toy faces: there is no rendered set to compare them with, the annotator has "
    "never seen people, and the truth about them is unknown. {} is left out."
)
SMALL = " In sets this small the floor is mostly chance, which flatters the ratio"
CARD = ": the generator's model card has it for larger ones"
SHOWN = {
    "eyes": "eyes: opening of the lids",
    "mouth": "mouth: opening",
    "pose": "pose: turn of the head",
    "gender": "gender (larger is female)",
    "age": "age (larger is older)",
    "quality": "quality (larger is better)",
    "hair_color": "hair: lightness",
    "hair_length": "hair: length",
    "background_mean": "background: lightness",
}
"""The attributes that the page shows, with what their axis says."""
CONCEPT = {"gender": "female", "quality": "good quality", "age": "old", "glass": "with glasses"}


@dataclass(frozen=True)
class Likeness:
    """Generated faces beside rendered ones, each as the annotator reads it.

    `known` trained the original generator; `others` are drawn as these (with the same textures)
    but trained nothing, and so did `fresh`, of which `size` are compared with as many generated.
    """

    generated: Annotations
    fresh: Annotations
    known: Annotations
    others: Annotations
    known_faces: np.ndarray
    size: int

    def similarity(self) -> Similarity:
        """Generated against fresh faces, sets of one size."""
        return compare(self.fresh.features[: self.size], self.generated.features[: self.size])

    def floor(self) -> float:
        """The Fréchet distance between two fresh sets of that size."""
        fresh = self.fresh.features
        return frechet_distance(fresh[: self.size], fresh[self.size : 2 * self.size])


def read_likeness(annotator: Annotator, pictures: np.ndarray, rendered: int) -> Likeness:
    """Generated pictures (N, R, R, 3) -> them beside rendered faces (made once, kept in data/)."""
    size = min(rendered, len(pictures))
    fresh = load_faces(FaceSet(TEST_SEED, 2 * rendered)).images
    known, others = (
        load_faces(FaceSet(seed, rendered // 4, shared_texture=True)).images
        for seed in (PAIR_SEED, TEST_SEED)
    )
    read = [annotator.annotate(images) for images in (pictures, fresh, known, others)]
    return Likeness(*read, known, size)


def attribute_histograms(likeness: Likeness) -> Figure:
    """How the annotator reads each shown attribute, in generated and in rendered faces."""
    figure, grid = pyplot.subplots(3, 3, figsize=(8.6, 6))
    sets = {"rendered": likeness.fresh.attributes, "generated": likeness.generated.attributes}
    for axes, (name, label) in zip(grid.flat, SHOWN.items(), strict=True):
        every = np.concatenate([values[name] for values in sets.values()])
        bins = np.linspace(*np.quantile(every, (0.002, 0.998)), 26)
        for (who, values), color in zip(sets.items(), (SERIES[5], SERIES[0]), strict=True):
            drawn = {"element": "step", "fill": who == "rendered", "stat": "percent", "lw": 1.4}
            seaborn.histplot(x=values[name], bins=bins, ax=axes, color=color, label=who, **drawn)
        axes.set(xlabel=label, ylabel="faces (%)")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def spreads(likeness: Likeness) -> pd.Series:
    """Each shown attribute's standard deviation, generated over rendered."""
    sets = likeness.generated.attributes, likeness.fresh.attributes
    ratios = {name: float(sets[0][name].std() / sets[1][name].std()) for name in SHOWN}
    return pd.Series(ratios, name="generated / rendered").rename_axis("attribute")


def shares(likeness: Likeness) -> pd.DataFrame:
    """How many faces are female, good, old, or wear glasses, and fit the concept; read alike."""
    rows = {}
    for who, read in (("generated", likeness.generated), ("rendered", likeness.fresh)):
        said = {name: values >= 0.5 for name, values in read.probabilities.items()}
        rows[who] = {CONCEPT[name]: said[name].mean() for name in CONCEPT}
        rows[who]["**fits the concept**: all four right"] = fits_concept(read.probabilities).mean()
    return pd.DataFrame(rows).rename_axis("what")


def nearest(likeness: Likeness) -> pd.DataFrame:
    """For each generated face the distance to its nearest known face and to that of the others."""
    made = likeness.generated.features[: likeness.size]
    sets = {"to known": likeness.known, "to others": likeness.others}
    return pd.DataFrame({name: distances(made, r.features).min(1) for name, r in sets.items()})


def neighbor_rows(likeness: Likeness, pictures: np.ndarray, count: int, columns: int):
    """The generated faces that lie closest to known ones, each with its nearest known faces.

    (columns, ...) each: a row of generated faces, then `count` rows of neighbors.
    """
    across = distances(likeness.generated.features[: likeness.size], likeness.known.features)
    closest = np.argsort(across.min(1))[:columns]
    order = np.argsort(across[closest], axis=1)[:, :count]
    return np.concatenate([pictures[closest], *likeness.known_faces[order.T]])


def path_lengths(annotator: Annotator, faces: np.ndarray, steps: int) -> np.ndarray:
    """Faces (rows * steps, R, R, 3) -> each row's length over its ends' distance, in features."""
    features = annotator.annotate(faces).features.reshape(-1, steps, annotator.config.features)
    walked = np.linalg.norm(np.diff(features, axis=1), axis=2).sum(1)
    return walked / np.linalg.norm(features[:, -1] - features[:, 0], axis=1)


def shares_told(shares: pd.DataFrame) -> pd.DataFrame:
    """The table of shares as a page shows it."""
    return shares.map("{:.1%}".format)


def spreads_told(likeness: Likeness) -> str:
    """Whether the shown attributes vary as much as in rendered faces."""
    ratios = spreads(likeness)
    return (
        "Standard deviations of the nine attributes are "
        f"{ratios.min():.2f} ({ratios.idxmin()}) to {ratios.max():.2f} ({ratios.idxmax()}) times "
        "those of rendered faces."
    )


def similarity_table(likeness: Likeness) -> pd.DataFrame:
    """Generated against rendered faces, and two rendered sets against each other."""
    size, fresh = likeness.size, likeness.fresh.features
    rows = {
        "generated": likeness.similarity().to_dict(),
        "rendered (the floor)": compare(fresh[:size], fresh[size : 2 * size]).to_dict(),
    }
    return pd.DataFrame(rows).T.drop(columns="density").rename_axis("faces")


def similarity_told(likeness: Likeness, generator: str) -> str:
    """The distance, how many floors it is, and of which sets.

    Of the embedded generators, which have a name, model cards say more.
    """
    distance, floor = likeness.similarity().frechet, likeness.floor()
    features = likeness.fresh.features.shape[1]
    card = (checkpoints.EMBEDDED / f"{generator}.md").is_file()
    small = SMALL + (CARD if card else "") + "."
    return (
        f"Fréchet distance {distance:.2f}, {distance / floor:.1f} times the floor, between sets of "
        f"{likeness.size} faces, in the {features} features of the annotator."
        + (small if likeness.size < 10 * features else "")
    )


def nearest_told(likeness: Likeness) -> str:
    """Whether generated faces are nearer to some training faces than to as many others."""
    table = nearest(likeness)
    known, others = table["to known"].median(), table["to others"].median()
    few = len(likeness.known.features)
    return (
        f"The median distance of {len(table)} generated faces to the nearest of {few} faces of the "
        f"original generator's training set is {known:.2f}, to the nearest of {few} that trained "
        f"nothing {others:.2f}: "
        + (
            f"these {few} are not repeated, which says little about the others."
            if known > 0.9 * others
            else f"it leans on these {few}."
        )
    )


def found(likeness: Likeness, shares: pd.DataFrame) -> tuple[str, dict[str, str]]:
    """The page's finding and headline."""
    women, fits = shares["generated"].iloc[0], shares["generated"].iloc[-1]
    close, times = likeness.similarity(), likeness.similarity().frechet / likeness.floor()
    sentence = (
        f"{women:.1%} of the faces are women and {fits:.1%} fit the concept, a young woman without "
        f"glasses in a good picture; the Fréchet distance to rendered faces is {times:.1f} floors, "
        f"between sets of {likeness.size}."
    )
    return sentence, {
        "women": f"{women:.1%}",
        "fit the concept": f"{fits:.1%}",
        "Fréchet distance / floor": f"{times:.1f}",
        "coverage": f"{close.coverage:.2f}",
    }
