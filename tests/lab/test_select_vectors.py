"""Notebooks 07 to 09 hand on to each other, and come to their end on a generator without a face."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ohlora_lib.lab import find_vectors, select_vectors, steering, steering_figures
from ohlora_lib.lab.settings import SettingsError
from ohlora_lib.models import weights
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.store import ROOT
from ohlora_lib.vectors.directions import Scaled
from ohlora_lib.vectors.groups import VectorError
from ohlora_lib.vectors.ohlora import FILE, OhLora
from ohlora_lib.vectors.select import CORRELATIONS
from ohlora_lib.vectors.selection import read_selection

METHODS = ["svm", "ridge, steps, recentred"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What an untrained generator's notebooks left: its noise has no face in it."""
    folder = tmp_path_factory.mktemp("steering")
    config = GeneratorConfig(32, fmaps_base=128, fmaps_max=8)
    weights.save(Generator(config, seed=3), folder / "generator.safetensors")
    shared = {"generator": str(folder / "generator.safetensors"), "property_cnn": None,
              "parser": "embedded", "out": "data/never_written"}  # fmt: skip
    return folder, shared


@pytest.fixture(scope="module")
def left(base):
    """07 and 08, done: their settings, tools, and what they made."""
    folder, shared = base
    with pytest.MonkeyPatch.context() as patch:
        for module in (find_vectors, steering, select_vectors):
            patch.setattr(module, "inside_root", lambda path: ROOT / path, raising=False)
        patch.setattr("ohlora_lib.lab.generate.inside_root", lambda path: ROOT / path)
        finding = find_vectors.FindSettings(
            **shared, seed=7, layer="w", images=256, population=16, letters=3, share=0.2,
            directions=["svm", "ridge"],
        )  # fmt: skip
        tools = find_vectors.open_tools(finding)
        searched = find_vectors.search(folder / "07", finding, tools)
        testing = steering.SteeringSettings(
            **shared, seed=8, found=str(folder / "07"), methods=METHODS, latents=2, calibration=2,
            confirmed=["svm"], confirmation=1, background=0.15,
        )  # fmt: skip
        (folder / "08").mkdir()
        ready = steering.set_steps(folder / "08", testing, tools)
        tested = steering.measure_all(folder / "08", testing, ready)
        choosing = select_vectors.SelectSettings(
            **shared, seed=9, found=str(folder / "07"), tested=str(folder / "08"), method="best",
            latents=3, most=2, least=2, picks=None, selection=None, shown=1,
            base=shared["generator"],
        )  # fmt: skip
        (folder / "09").mkdir()
        chosen = select_vectors.choose(folder / "09", choosing, tools)
        yield folder, searched, ready, tested, choosing, chosen, tools


def test_every_method_meets_the_same_latents_and_confirmation_other_ones(left):
    tested = left[3]
    by_method = tested[tested["part"] == "test"].groupby("method")["idx"].agg(list)
    assert by_method["svm"] == by_method[METHODS[1]] == [2, 3]
    assert tested.loc[tested["part"] == "confirmation", "idx"].tolist() == [4]


def test_pages_are_made_of_whatever_was_measured(left):
    searched, tested, chosen = left[1], left[3], left[5]
    report = searched.reports["svm"]
    assert find_vectors.accuracy_table(report).shape == (3, 2)
    shown = steering_figures.table(tested)
    assert shown.index[:2].tolist() == METHODS and len(shown) == 6
    assert steering_figures.side_effects_table(tested).shape[0] == 2
    assert "fail" in steering_figures.failing_told(tested, "svm")
    assert len(select_vectors.grade_table(chosen)) == 2
    assert select_vectors.found(chosen)[1]["tested"] == "3"


def test_where_nothing_fits_the_next_best_are_taken_and_it_is_said(left):
    choosing, chosen = left[4], left[5]
    assert not chosen.table["fits"].any() and chosen.table["chosen"].sum() == 2
    assert "the next best were taken" in select_vectors.funnel_told(chosen, choosing)


def test_exports_have_the_published_columns_and_start_the_next_test(left):
    folder, *_, choosing, chosen, tools = left
    saved = read_selection(folder / "09")
    rows = chosen.rows
    assert np.array_equal(saved.z, chosen.latents.z[rows])
    assert list(pd.read_csv(folder / "09" / "ohlora_w_group_names.csv"))[:4] == [
        "case", "vector_no", "passed", "group_name",
    ]  # fmt: skip
    again = replace(choosing, selection=str(folder / "09"))
    (folder / "again").mkdir()
    retested = select_vectors.choose(folder / "again", again, tools)
    names = [f"cnn_{name}" for name in CORRELATIONS]
    mine = chosen.table.iloc[rows][names].to_numpy(float)
    assert np.allclose(retested.table[names], mine, atol=0.02, equal_nan=True)


def test_chosen_faces_are_what_people_load(left):
    folder, *_, chosen, _ = left
    faces = OhLora.load(folder / "09" / FILE)
    assert len(faces) == 2
    middle = chosen.pictures(
        chosen.rows[:1], np.float32([[0.0, 0.0, -0.6 * bool(chosen.method.recentring)]])
    )
    drawn = np.asarray(faces.image(), int)
    assert np.abs(drawn - middle[0, 0]).mean() < 1


def test_steps_of_the_last_page_are_used_as_they_are(left):
    _, _, ready, _, _, chosen, _ = left
    theirs = ready.methods[chosen.method.name].directions
    wanted = theirs.factors if isinstance(theirs, Scaled) else (1.0, 1.0, 1.0)
    assert chosen.method.directions.factors == wanted


def test_mistakes_in_the_parameters_are_named_before_anything_runs(base, left):
    _, shared = base
    with pytest.raises(VectorError, match="rigde"):
        steering.SteeringSettings(
            **shared, seed=8, found=None, methods=["rigde"], latents=2, calibration=2,
            confirmed=[], confirmation=0, background=0.15,
        )  # fmt: skip
    with pytest.raises(SettingsError, match="only what is among the methods"):
        steering.SteeringSettings(
            **shared, seed=8, found=None, methods=["svm"], latents=2, calibration=2,
            confirmed=["ridge"], confirmation=0, background=0.15,
        )  # fmt: skip
