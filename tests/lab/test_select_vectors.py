"""Notebooks 07 to 09 hand on to each other, and come to their end on a generator without a face."""

from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest

from ohlora_lib import checkpoints
from ohlora_lib.lab import (
    find_vectors,
    select_figures,
    select_vectors,
    steering,
)
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.runner.settings import SettingsError
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method, Start
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ohlora import FACES_FILE, OhLora, linear_fit, steered_w
from ohlora_lib.steering.responses import REQUESTS
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.steering.select import CORRELATIONS
from ohlora_lib.steering.selection import Selection, read_selection, write_selection
from ohlora_lib.store import ROOT

METHODS = ["svm", "ridge, steps, recenterd"]
NAMES = ["svm", "ridge, calibrated, recentered"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What an untrained generator's notebooks left: its noise has no face in it."""
    folder = tmp_path_factory.mktemp("steering")
    config = GeneratorConfig(32, fmaps_base=128, fmaps_max=8)
    checkpoints.save(Generator(config, seed=3), folder / "generator.safetensors")
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
        patch.setattr("ohlora_lib.steering.sampling.inside_root", lambda path: ROOT / path)
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
    assert by_method["svm"] == by_method[NAMES[1]] == [2, 3]
    assert tested.loc[tested["part"] == "confirmation", "idx"].tolist() == [4]


def test_pages_are_made_of_whatever_was_measured(left):
    searched, choosing, chosen = left[1], *left[4:6]
    report = searched.reports["svm"]
    assert find_vectors.accuracy_table(report).shape == (3, 2)
    assert len(select_figures.grade_table(chosen)) == 2
    assert select_figures.found(chosen, choosing)[1]["tested"] == "3"


def test_where_nothing_fits_the_next_best_are_taken_and_it_is_said(left):
    choosing, chosen = left[4], left[5]
    assert not chosen.table["fits"].any() and chosen.table["selected"].sum() == 2
    assert "the next best were taken" in select_figures.funnel_told(chosen, choosing)
    assert select_figures.found(chosen, choosing)[0].endswith("2 of which break a rule.")


def page(folder, settings, chosen):
    """Notebook 09 from its first figure to its end: what it showed, said and found."""
    shown, said, findings = {}, [], []
    scope = {
        "lab": select_vectors, "figures": select_figures, "folder": folder, "settings": settings,
        "chosen": chosen, "say": said.append, "display": lambda table: None,
        "show": lambda figure, name, alt, title: shown.update({name: alt}),
        "finding": lambda *told, picture: findings.append((*told, picture)), "end": lambda: None,
    }  # fmt: skip
    path = ROOT / "notebooks" / "09_select_final_vectors.ipynb"
    code = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    for source in code[3:]:
        exec(source, scope)
    return shown, " ".join(said), findings[0]


def test_the_page_says_how_the_faces_are_loaded_and_shows_them(left):
    folder, *_, choosing, chosen, _ = left
    shown, said, (sentence, _, picture) = page(folder / "09", choosing, chosen)
    assert picture == "in_use" in shown and {"funnel", "chosen"} < set(shown)
    assert 'OhLora.load("data/never_written/oh_lora.safetensors")' in said
    assert "bends" not in said  # in w a method goes straight
    assert f"steered by '{chosen.method.name}'" in sentence
    bent = select_figures.use_told(replace(chosen, bend=0.2), choosing)
    assert "its w is off by 20% of the movement" in bent


def test_with_nobody_chosen_the_page_comes_to_its_end_and_says_what_to_change(left, tmp_path):
    *_, choosing, _, tools = left
    asked = replace(choosing, least=0)
    chosen = select_vectors.choose(tmp_path, asked, tools)
    assert [path.name for path in tmp_path.iterdir()] == ["judged.parquet"]
    shown, said, (_, headline, picture) = page(tmp_path, asked, chosen)
    assert set(shown) == {"funnel"} and picture == "funnel" and headline["selected"] == "0"
    assert "None was chosen" in said and "`least`" in said


def test_whom_a_person_chose_no_rule_took(left, tmp_path):
    *_, choosing, chosen, tools = left
    idx = chosen.table.loc[~chosen.table["selected"], "idx"].item()
    picks = tmp_path / "picks.csv"
    picks.write_text(f"idx,chosen\n{idx},1\n")
    asked = replace(choosing, least=0, picks=str(picks))
    told = select_figures.funnel_told(select_vectors.choose(tmp_path, asked, tools), asked)
    assert "1 of the 1 chosen break a rule: a person chose them" in told
    assert "next best" not in told
    picks.write_text(f"idx,chosen\n{idx},0\n")
    assert not len(select_vectors.choose(tmp_path, asked, tools).rows)
    assert f"1 for some latents in {picks}" in select_figures.none_told(asked)


def test_groups_of_another_number_of_letters_are_named_with_the_remedy(left, tmp_path):
    *_, choosing, chosen, tools = left
    info = pd.DataFrame({"case": [0], "group_name": ["hlhl"]})
    z = chosen.latents.z[:1]
    write_selection(Selection(z, np.zeros((1, 7), np.float32), info), tmp_path)
    asked = replace(choosing, method="svm", selection=str(tmp_path))
    with pytest.raises(VectorError, match=r"4 letters, the directions' 3: .*07 with letters = 4"):
        select_vectors.choose(tmp_path, asked, tools)


@pytest.mark.parametrize("layer", ["mapping_split1", "mapping_split2"])
def test_faces_steered_before_w_go_the_straight_way_that_fits_all_levels_best(layer):
    """From split2 on the mapping is a sum, so nothing is lost; before it bends."""
    config = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, label_size=7, split_size=32)
    sampler = Sampler(Generator(config, seed=2).eval())
    vectors = sampler.vectors(latents(1, range(4), sampler.z_size), layer)
    size = vectors.shape[1]
    arrows = np.random.default_rng(0).standard_normal((1, 3, size)).astype(np.float32)
    method = Method(MethodSpec("svm"), LinearDirections(arrows * vectors.std()), layer)
    drawn = steered_w(sampler, method, Start(vectors, vectors, None))
    w, found, bend = linear_fit(drawn, REQUESTS)
    if layer == "mapping_split2":
        assert bend < 1e-4
        one = sampler.to_w(vectors + method.directions.vectors[0, 2], layer) - sampler.to_w(
            vectors, layer
        )
        assert np.allclose(found[:, 2], one, atol=1e-4)
    else:
        ahead = arrows[0] * vectors.std()
        units = np.stack([sampler.to_w(vectors + one, layer) for one in ahead])
        middle = sampler.to_w(vectors, layer)
        secants = middle[:, None] + np.einsum("lp,pkd->kld", REQUESTS, units - middle)
        fitted = w[:, None] + REQUESTS @ found
        assert np.square(fitted - drawn).mean() < 0.9 * np.square(secants - drawn).mean()
        assert bend > select_figures.STRAIGHT


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
    assert select_figures.found(retested, again)[0].startswith("Of 2 saved latents")


def test_chosen_faces_are_what_people_load(left):
    folder, *_, chosen, _ = left
    faces = OhLora.load(folder / "09" / FACES_FILE)
    assert len(faces) == 2
    middle = chosen.pictures(
        chosen.rows[:1], np.float32([[0.0, 0.0, -0.6 * bool(chosen.method.spec.recentered)]])
    )
    drawn = np.asarray(faces.image(), int)
    assert np.abs(drawn - middle[0, 0]).mean() < 1


def test_steps_of_the_last_page_are_used_as_they_are(left):
    _, _, ready, _, _, chosen, _ = left
    assert chosen.method.factors == ready.methods[chosen.method.name].factors


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
