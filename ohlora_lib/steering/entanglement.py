"""How entangled properties are in z and w, by the simplest directions."""

import numpy as np
import pandas as pd


def mean_difference(vectors: np.ndarray, values: np.ndarray, fraction: float = 0.2) -> np.ndarray:
    """(N, D), (N,) -> (D,): mean vector of the highest `fraction` of values minus the lowest."""
    count = max(1, round(fraction * len(vectors)))
    order = np.argsort(values)
    return vectors[order[-count:]].mean(0) - vectors[order[:count]].mean(0)


def side_effects(change: pd.DataFrame, std: pd.Series) -> pd.DataFrame:
    """Mean change of each attribute (column) per edited property (row) -> in standard deviations,
    scaled so that the edited property itself changes by +1."""
    scaled = change / std[change.columns]
    return scaled.div([scaled.at[name, name] for name in scaled.index], axis=0)


def largest_side_effect(effects: pd.DataFrame) -> tuple[str, str, float]:
    """Edited property, other attribute and value of the entry with the largest magnitude."""
    others = effects.mask(np.equal.outer(effects.index, effects.columns)).stack()
    edited, moved = others.abs().idxmax()
    return edited, moved, float(others[edited, moved])


def linear_r2(vectors: np.ndarray, values: pd.DataFrame, train: float = 0.8) -> pd.Series:
    """R² per column of `values` (N rows) of a ridge regression on `vectors` (N, D), measured on the
    last rows, which it was not fitted to. NaN where fewer than 2 D rows are left to fit."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    split = round(train * len(vectors))
    if split < 2 * vectors.shape[1]:
        return pd.Series(np.nan, index=values.columns)
    alpha = 0.01 * split * vectors[:split].var(0).mean()
    fit = Ridge(alpha=float(alpha)).fit(vectors[:split], values[:split])
    scores = r2_score(values[split:], fit.predict(vectors[split:]), multioutput="raw_values")
    return pd.Series(scores, index=values.columns)
