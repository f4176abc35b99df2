"""Notebook 02's work: who is labeled, who is scored, who is kept."""

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.concept import ALL
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.lab import label_and_filter as work
from ohlora_lib.lab import label_figures as pages
from ohlora_lib.lab.label_and_filter import Judged, LabelSettings
from ohlora_lib.runner.settings import SettingsError
from ohlora_lib.store.images import ImageSet


def settings(**change):
    given = {"out": "data/x", "seed": 1, "images": "", "labels": "", "labeled_by": "a person"}
    given |= {"labeled": 20, "extra": 0, "rendered": 0, "networks": "small", "folds": 2}
    given |= {"epochs": 1, "cutoffs": [0.9, 0.8, 0.2, 0.1], "least": 2}
    return LabelSettings(**given | change)


def scores(gender):
    """Images that fit in all but perhaps gender."""
    table = pd.DataFrame({"idx": np.arange(100, 100 + len(gender)), "gender": gender})
    return table.assign(quality=0.95, age=0.05, glass=0.05)


@pytest.fixture
def images(tmp_path):
    made = ImageSet(tmp_path / "images")
    made.write(range(30), np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8))
    made.finish(pd.DataFrame({"index": range(30)}))
    return made


def test_images_that_pass_are_kept(tmp_path):
    kept = work.keep(settings(), tmp_path, scores([0.95, 0.5, 0.9]))
    assert kept.numbers.tolist() == [100, 102] and not kept.by_rank
    assert pd.read_parquet(tmp_path / "kept.parquet")["idx"].tolist() == [100, 102]
    assert len(kept.passed) == 3 and kept.passed[ALL].sum() == 2


def test_where_too_few_pass_the_best_ranked_are_taken_and_the_page_says_so(tmp_path):
    kept = work.keep(settings(least=3), tmp_path, scores([0.1, 0.95, 0.3, 0.7]))
    assert kept.by_rank and kept.numbers.tolist() == [101, 102, 103]
    told = pages.kept_told(kept, settings(least=3))
    assert "Only 1 of 4 images pass" in told and "whether they pass or not" in told
    assert "taken by rank" in pages.found(kept, {}, settings())[0]


def test_only_images_that_nobody_labeled_are_scored(tmp_path, images, monkeypatch):
    labeled = work.label(settings(labeled=20), tmp_path, images)
    monkeypatch.setattr(
        work, "votes", lambda *given: scores(np.full(len(given[-1]), 0.9))[["gender"]]
    )
    assert work.score(settings(), tmp_path, images, labeled)["idx"].tolist() == list(range(20, 30))


def test_nothing_left_to_filter_is_told_before_anything_trains(tmp_path, images):
    with pytest.raises(SettingsError, match="labeled = 30: all images are labeled, none is left"):
        work.label(settings(labeled=30), tmp_path, images)
    assert not (tmp_path / "labels.csv").exists()


def test_person_s_labels_are_those_used_and_named(tmp_path, images, monkeypatch):
    monkeypatch.setattr(work, "inside_root", lambda path: tmp_path / path)
    table = pd.DataFrame({"idx": [3, 7, 5], **{name: [1, 0, 1] for name in FILTER_PROPERTIES}})
    table.to_csv(tmp_path / "hand.csv", index=False)
    by_hand = settings(labels="hand.csv", labeled_by="Kim")
    labeled = work.label(by_hand, tmp_path, images)
    assert "labeled by Kim" in labeled.labels.credit and labeled.extra is None
    assert np.array_equal(np.load(labeled.faces), images.read([3, 7, 5]))
    table.assign(idx=[3, 7, 99]).to_csv(tmp_path / "hand.csv", index=False)
    with pytest.raises(SettingsError, match="it labels image 99, which"):
        work.label(by_hand, tmp_path, images)


def test_simulated_annotator_labels_the_first_images(tmp_path, images):
    labeled = work.label(settings(), tmp_path, images)
    assert labeled.labels.table["idx"].tolist() == list(range(20))
    assert labeled.labels.error_rate is not None
    assert pd.read_csv(tmp_path / "labels.csv").columns.tolist() == ["idx", *FILTER_PROPERTIES]


@pytest.mark.parametrize("cutoffs", [[0.9], [0.9, 0.9, 0.1, 1.5]])
def test_wrong_cutoffs_are_refused(cutoffs):
    with pytest.raises(SettingsError, match="must be four numbers from 0 to 1"):
        settings(cutoffs=cutoffs)


def test_fewer_epochs_shorten_every_training():
    assert {r.plan.most_epochs for r in settings(epochs=1).recipes.values()} == {1}
    assert settings(epochs=0).recipes is work.NETWORKS["small"]


def test_fitness_ranks_the_faces_that_fit_first():
    table = pd.concat([scores([0.9]), scores([0.9]).assign(age=0.9), scores([0.2])])
    assert np.argsort(-work.fitness(table).to_numpy()).tolist() == [0, 2, 1]


def test_judges_share_of_those_that_pass_is_of_those_that_pass():
    answers = pd.DataFrame({"gender": [1, 1, 0, 1], "quality": 1, "age": 0, "glass": [0, 1, 0, 0]})
    judged = {work.ANNOTATOR: Judged(scores([0.95, 0.95, 0.95, 0.1]), answers)}
    row = pages.filter_table(judged, settings()).iloc[0]
    assert (row["fit"], row["pass"]) == ("50.0%", 3)
    assert row["fit, of those that pass"] == "33.3%" and row["pass, of those that fit"] == "50.0%"
    assert np.isnan(judged[work.ANNOTATOR].aurocs()["age"])


def judges(rendered, kept):
    """Who says what fits: of these rendered faces one in two, of these images all but the first."""
    answers = pd.DataFrame({"gender": [0] + [1] * (len(kept) - 1), "quality": 1})
    of_kept = Judged(scores(kept), answers.assign(age=0, glass=0))
    answers = pd.DataFrame({"gender": np.arange(len(rendered)) % 2, "quality": 1})
    truth = Judged(scores(rendered), answers.assign(age=0, glass=0))
    return {work.TRUTH: truth, work.ANNOTATOR: of_kept}


def test_finding_leads_with_the_truth_of_rendered_faces(tmp_path):
    kept = work.keep(settings(), tmp_path, scores([0.95, 0.95, 0.95, 0.1]))
    judged = judges(rendered=[0.95, 0.95, 0.1, 0.1], kept=[0.95, 0.95, 0.95, 0.1])
    sentence, _ = pages.found(kept, judged, settings())
    assert sentence == (
        "3 of 4 images pass all four cutoffs. Of rendered faces that pass, 50.0% fit the concept; "
        "of the kept images, as the annotator network sees them, 66.7% fit."
    )
    told = pages.judges_told(kept, judged, settings())
    assert told.startswith("Of rendered faces that pass, 50.0% fit the concept; of all rendered")
    nobody = judges(rendered=[0.1, 0.1], kept=[0.95, 0.95, 0.95, 0.1])
    assert "No rendered face passes;" in pages.found(kept, nobody, settings())[0]


def test_passes_stand_beside_the_cutoffs_that_made_them(tmp_path):
    kept = work.keep(settings(), tmp_path, scores([0.95, 0.95]))
    table = pages.passes_table(kept, settings())
    assert table["cutoff"].tolist() == ["≥ 0.9", "≥ 0.8", "≤ 0.2", "≤ 0.1", ""]
    assert table["published: cutoff"].tolist() == ["≥ 0.92", "≥ 0.9", "≤ 0.008", "≤ 0.01", ""]
    assert table.loc["all four", ["passed", "published: passed"]].tolist() == [2, 4930]


def test_without_a_judge_the_page_says_that_nobody_knows(tmp_path):
    kept = work.keep(settings(), tmp_path, scores([0.95, 0.95]))
    assert pages.judges_told(kept, {}, settings()) == pages.auroc_told({}) == pages.NOBODY
    assert pages.filter_table({}, settings()).empty
