"""SVM directions: do they find what was planted, and what happens where they cannot?"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.properties import EXPRESSION
from ohlora_lib.faces.properties import V7_GROUP_PROPERTIES as V7
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.svm import (
    SvmConfig,
    accuracy_table,
    fit_svm,
    held_out_counts,
    overall_accuracy,
)
from tests.steering.conftest import cosines

CONTROLLED = (*EXPRESSION, *V7)


def test_every_group_has_its_planted_direction_pointing_upwards(planted):
    directions, report = fit_svm(planted.vectors, planted.scores, planted.grouping)
    assert cosines(directions.vectors, planted.truth).min() >= 0.9
    assert np.linalg.norm(directions.vectors, axis=2) == pytest.approx(np.ones((8, 3)), abs=1e-6)
    assert len(report) == 24 and (report["learned_from"] == report["group"]).all()
    assert report["images"].sum() == 3 * len(planted.vectors)


def test_accuracy_is_of_a_fifth_of_both_ends_and_high_where_the_score_follows_the_vector(planted):
    _, report = fit_svm(planted.vectors, planted.scores, planted.grouping)
    ends = 2 * (0.2 * report["images"]).astype(int)
    assert (report["trained"] + report["validated"] == ends).all()
    assert (report["validated"] / ends).between(0.199, 0.205).all()
    assert overall_accuracy(report).index.tolist() == list(EXPRESSION)
    assert overall_accuracy(report).between(0.95, 1.0).all()


def test_accuracy_is_a_coin_toss_where_the_score_is_noise(planted):
    noise = np.random.default_rng(1).standard_normal(len(planted.scores))
    _, report = fit_svm(planted.vectors, planted.scores.assign(eyes=noise))
    assert report.set_index("property")["accuracy"]["eyes"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("images", [6000, 400])  # more and fewer than there are values
def test_the_seed_decides_to_the_last_bit(planted, images):
    vectors, scores = planted.vectors[:images], planted.scores.iloc[:images]
    vectors = np.concatenate([vectors] * (1 if images > 400 else 40), axis=1)
    one, two, other = (
        fit_svm(vectors, scores, planted.grouping, config).directions.vectors
        for config in (SvmConfig(), SvmConfig(), SvmConfig(seed=1))
    )
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_controlled_properties_are_projected_out():
    """Open eyes come with light hair here: only the controlled normal does not lead to both."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((6000, 12)).astype(np.float32)
    hair, eyes = vectors[:, 0].astype(float), (vectors[:, 0] + vectors[:, 1]).astype(float)
    scores = pd.DataFrame({"eyes": eyes, "mouth": vectors[:, 2], "pose": vectors[:, 3],
                           "hair_color": hair})  # fmt: skip
    plain, controlled = (
        fit_svm(vectors, scores, config=SvmConfig(controlled=names)).directions.vectors[0, 0]
        for names in ((), (*EXPRESSION, "hair_color"))
    )
    assert plain[0] > 0.6 and abs(controlled[0]) < 0.1 and controlled[1] > 0.95


def test_controlling_the_expression_makes_each_direction_orthogonal_to_the_other_normals(planted):
    plain, controlled = (
        fit_svm(
            planted.vectors, planted.scores, config=SvmConfig(controlled=names)
        ).directions.vectors[0]
        for names in ((), EXPRESSION)
    )
    assert np.abs(controlled @ plain.T - np.diag(np.diag(controlled @ plain.T))).max() < 1e-5


def test_a_group_too_small_to_learn_from_borrows_from_all_images(planted):
    few = planted.grouping.indices(planted.scores) != 0
    few[np.flatnonzero(~few)[:30]] = True
    vectors, scores = planted.vectors[few], planted.scores[few]
    directions, report = fit_svm(vectors, scores, planted.grouping)
    everywhere = fit_svm(vectors, scores).directions.vectors[0]
    borrowed = report[report["learned_from"] == "all"]
    assert borrowed["group"].tolist() == ["hhh"] * 3 and (borrowed["images"] == 30).all()
    assert (cosines(directions.vectors[0], everywhere) > 0.99).all()


def test_an_empty_group_and_one_with_a_constant_score_borrow_too(planted):
    groups = planted.grouping.indices(planted.scores)
    scores = planted.scores.assign(eyes=planted.scores["eyes"].where(groups != 7, 0.5))[groups != 2]
    _, report = fit_svm(planted.vectors[groups != 2], scores, planted.grouping)
    borrowed = report[report["learned_from"] == "all"]
    assert list(zip(borrowed["group"], borrowed["property"], strict=True)) == [
        ("hlh", "eyes"), ("hlh", "mouth"), ("hlh", "pose"), ("lll", "eyes"),
    ]  # fmt: skip


def test_what_has_no_direction_is_named(planted):
    vectors, scores = planted.vectors, planted.scores
    broken = vectors.copy()
    broken[17, 3] = np.nan
    with pytest.raises(VectorError, match="vector 17 is not finite"):
        fit_svm(broken, scores)
    with pytest.raises(VectorError, match="'mouth' is the same in all rows"):
        fit_svm(vectors, scores.assign(mouth=0.0))
    with pytest.raises(VectorError, match="'pose' in row 0 is nan"):
        fit_svm(vectors, scores.assign(pose=np.nan))
    with pytest.raises(VectorError, match="no two different tails of 20%"):
        fit_svm(vectors, scores.assign(eyes=np.sign(np.arange(len(scores)) - 9.5)))
    with pytest.raises(VectorError, match=r"40 images .* sample more"):
        fit_svm(vectors[:40], scores[:40])
    with pytest.raises(VectorError, match=r"\(11, 24\): 12000 scores"):
        fit_svm(vectors[:11], scores)
    with pytest.raises(VectorError, match=r"tail_fraction = 0\.6"):
        SvmConfig(tail_fraction=0.6)


def test_overall_accuracy_counts_an_svm_that_groups_share_once():
    row = {"property": "eyes", "trained": 8}
    report = pd.DataFrame(
        [
            row | {"group": "h", "learned_from": "h", "validated": 10, "correct": 9},
            row | {"group": "l", "learned_from": "all", "validated": 30, "correct": 15},
            row | {"group": "m", "learned_from": "all", "validated": 30, "correct": 15},
            row | {"group": "h", "learned_from": "all", "validated": 4, "correct": 1,
                   "property": "pose"},
        ]
    )  # fmt: skip
    accuracy = overall_accuracy(report)
    assert accuracy.to_dict() == pytest.approx({"eyes": 24 / 40, "pose": 1 / 4})
    assert held_out_counts(report).loc["eyes"].tolist() == [24, 40]


def test_one_group_by_hand(planted):
    """The same as fifteen lines of NumPy and scikit-learn, to the last bit."""
    from sklearn.svm import LinearSVC

    vectors, scores, grouping, _ = planted
    config = SvmConfig(tail_fraction=0.15, controlled=("hair_length",))
    rows = np.flatnonzero(grouping.indices(scores) == 5)
    order = rows[np.argsort(scores["mouth"].to_numpy()[rows], kind="stable")]
    n = int(0.15 * len(rows))
    k = int(0.8 * n)
    rng = np.random.default_rng([2025, 5, 1])
    low, high = rng.permutation(order[:n]), rng.permutation(order[-n:])
    classifier = LinearSVC(C=1.0, random_state=2025)
    classifier.fit(vectors[np.concatenate([low[:k], high[:k]])], [0] * k + [1] * k)
    held_out = vectors[np.concatenate([low[k:], high[k:]])]
    found = fit_svm(vectors, scores, grouping, replace(config, controlled=()))
    own = classifier.coef_[0] / np.linalg.norm(classifier.coef_[0])
    assert np.array_equal(found.directions.vectors[5, 1], own.astype(np.float32))
    row = found.report.set_index(["group", "property"]).loc[("lhl", "mouth")]
    assert row["trained"] == 2 * k and row["validated"] == 2 * (n - k)
    assert row["images"] == len(rows) and row["learned_from"] == "lhl"
    assert row["accuracy"] == classifier.score(held_out, [0] * (n - k) + [1] * (n - k))
    assert row["correct"] == row["accuracy"] * row["validated"]


def test_tails_are_bounded_and_a_group_needs_fifty_images(planted):
    vectors, scores = planted.vectors[:400], planted.scores[:400]
    report = fit_svm(vectors, scores, None, SvmConfig(most=20)).report
    assert (report["trained"] == 32).all() and (report["validated"] == 8).all()
    fit_svm(vectors[:50], scores[:50])
    with pytest.raises(VectorError, match="49 images"):
        fit_svm(vectors[:49], scores[:49])


def test_accuracy_table_names_the_lowest_group_and_the_interval():
    row = {"property": "eyes", "trained": 8}
    report = pd.DataFrame(
        [
            row | {"group": "h", "learned_from": "h", "validated": 10, "correct": 9},
            row | {"group": "l", "learned_from": "l", "validated": 30, "correct": 15},
        ]
    )
    report["accuracy"] = report["correct"] / report["validated"]
    one = accuracy_table(report).loc["eyes"]
    assert one["accuracy"] == 24 / 40 and one["lowest group"] == "l"
    assert one["lowest group's accuracy"] == 0.5 and one["its held-out latents"] == 30
    low, high = map(float, one["95 % interval"].split("–"))
    assert (low, high) == pytest.approx((0.446, 0.737), abs=0.002)
