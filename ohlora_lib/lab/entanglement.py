"""Whether a straight step in w that opens the eyes leaves the rest alone (notebook 01)."""

import numpy as np
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.models.annotator import Annotations, Annotator
from ohlora_lib.plots.style import INK
from ohlora_lib.steering.sampling import Sampler

ALONG = (*EXPRESSION, "smile", "gaze", "hair_length", "hair_color", "gender", "age")
"""What is watched while eyes, mouth and pose are moved."""
ENDS = 0.2  # of the faces: those with the most and with the least of a property


def steps_up(w: np.ndarray, read: Annotations) -> np.ndarray:
    """For each property the way from the faces with the least of it to those with the most, (3, D).

    The plainest direction that one can fit; nothing is held.
    """
    most = max(1, round(ENDS * len(w)))
    order = [np.argsort(read.attributes[name]) for name in EXPRESSION]
    return np.stack([w[one[-most:]].mean(0) - w[one[:most]].mean(0) for one in order])


def disturbance(
    sampler: Sampler, annotator: Annotator, w: np.ndarray, read: Annotations, faces: int = 32
) -> pd.DataFrame:
    """A row for each property that is raised, a column for each attribute: the mean change, in its
    standard deviations, while the property itself rises by one of its own."""
    steps = steps_up(w, read)[:, None, None] * np.float32([-1 / 4, 1 / 4])[:, None, None]
    moved = w[:faces] + steps  # (property, down or up, face, D)
    seen = annotator.annotate(sampler.images(moved.reshape(-1, w.shape[1]))).attributes
    values = np.stack([seen[name] for name in ALONG], -1).reshape(*moved.shape[:3], -1)
    spread = np.array([read.attributes[name].std() for name in ALONG])
    change = (values[:, 1] - values[:, 0]).mean(1) / spread
    own = np.diag(change)[:, None]  # the first of ALONG are the properties that are raised
    return pd.DataFrame(change / own, list(EXPRESSION), list(ALONG)).rename_axis("raised")


def disturbance_figure(matrix: pd.DataFrame) -> Figure:
    """The matrix as a heat map."""
    figure, axes = pyplot.subplots(figsize=(8.6, 2.3))
    shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix.to_numpy()):
        color = "white" if abs(value) > 0.6 else INK
        axes.text(column, row, f"{value:+.2f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(matrix.columns)), matrix.columns, rotation=25, ha="right")
    axes.set_yticks(range(len(matrix)), matrix.index)
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="deviations", pad=0.02)
    return figure


def straightness(vectors: np.ndarray, read: Annotations) -> dict[str, float]:
    """How much of each property a straight direction explains, R² on a fifth of the faces that the
    fit has not seen; empty where there are too few faces to fit so many values."""
    train = round(0.8 * len(vectors))
    if train < 2 * vectors.shape[1]:
        return {}
    wanted = np.stack([read.attributes[name] for name in EXPRESSION], 1)
    center, mean = vectors[:train].mean(0), wanted[:train].mean(0)
    x = vectors[:train] - center
    square = x.T @ x
    square[np.diag_indices_from(square)] += 0.01 * np.trace(square) / len(square)
    fit = np.linalg.solve(square, x.T @ (wanted[:train] - mean))
    missed = wanted[train:] - mean - (vectors[train:] - center) @ fit
    explained = 1 - np.square(missed).mean(0) / wanted[train:].var(0)
    return dict(zip(EXPRESSION, explained.tolist(), strict=True))


def told(matrix: pd.DataFrame, in_z: dict[str, float], in_w: dict[str, float]) -> str:
    """The largest disturbances, among the three and of all that is watched, and how straight the
    three lie in z and in w."""
    sentence = (
        f"The most among the three: raising {_largest(matrix[list(EXPRESSION)])}. "
        f"The most of all that is watched: raising {_largest(matrix)}."
    )
    if in_z:
        explained = "; ".join(f"{name} {in_z[name]:.2f} and {in_w[name]:.2f}" for name in in_z)
        sentence += f" A straight direction explains so much of each in z and in w: {explained}."
    return sentence


def _largest(matrix: pd.DataFrame) -> str:
    """What moves along the most, and by how much."""
    size = matrix.abs().to_numpy(copy=True)
    np.fill_diagonal(size, 0)
    row, column = np.unravel_index(size.argmax(), size.shape)
    return (
        f"{matrix.index[row]} by one deviation moves {matrix.columns[column]} by "
        f"{matrix.iloc[row, column]:+.2f}"
    )
