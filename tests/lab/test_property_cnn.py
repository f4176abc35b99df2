"""What page 06 does around the training: faces, their scale, the test, what is said of it."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from ohlora_lib import checkpoints
from ohlora_lib.lab import property_cnn as lab
from ohlora_lib.lab import property_cnn_figures as figures
from ohlora_lib.lab.property_cnn import Checked, CnnSettings, Faces
from ohlora_lib.measure.normalize import Normalization, write_statistics
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.measure.rendered import TRUE_ATTRIBUTES
from ohlora_lib.measure.scores import ORIGINAL_HAIRSTYLE
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.store import ROOT

NAMES = list(lab.PROPERTIES)


@pytest.fixture
def sampler():
    config = GeneratorConfig(resolution=32, fmaps_base=256, fmaps_max=16, mapping_width=32)
    return Sampler(Generator(config, seed=1).eval())


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(lab, "workers", lambda sampler: nullcontext())
    monkeypatch.setattr(lab, "PER_PART", 64)


def settings(**changed):
    values = {"out": "data/x", "seed": 2, "generator": "original", "statistics": ""}
    values |= {"parser": "embedded", "network": "small", "images": 120, "test_images": 40}
    values |= {"epochs": 1, "rendered": 0}
    return CnnSettings(**(values | changed))


class Counted:
    """A parser, and how many images it has read."""

    def __init__(self, parser):
        self.parser, self.images = parser, 0

    def __call__(self, images):
        self.images += len(images)
        return self.parser(images)


def parser(images):
    """Maps of hair, eyes and so on whose places hang on the picture's light."""
    number = len(images)
    maps = np.ones((number, 224, 224), np.uint8)
    for at, light in enumerate(images.mean((1, 2, 3)).astype(int)):
        maps[at, 80 : 84 + light // 8, 60:90], maps[at, 80:90, 130:160] = 4, 5
        maps[at, 150:160, 90:120], maps[at, 160 : 162 + light // 9, 90:120] = 7, 8
        maps[at, :60, :30], maps[at, : 120 + light // 3, 180:] = 0, 10
    faces = images.repeat(7, 1).repeat(7, 2)
    return Parsed(maps, faces, np.zeros((number, 4), np.float32), np.ones(number, bool))


def test_faces_are_the_seeds_own_and_a_killed_run_goes_on(tmp_path, sampler):
    calls = []

    def dies(images):
        calls.append(len(images))
        if sum(calls) > 100:
            raise KeyboardInterrupt
        return parser(images)

    with pytest.raises(KeyboardInterrupt):
        lab.make_faces(tmp_path, settings(), sampler, dies)
    done = sorted(path.name for path in (tmp_path / "parts").glob("0*.npz"))
    assert done == ["000000.npz"]
    faces = lab.make_faces(tmp_path, settings(), sampler, again := Counted(parser))
    assert again.images == 96, "the finished part is not made again"
    own = sampler.images(sampler.vectors(latents(2, np.arange(64), sampler.z_size)))
    np.testing.assert_array_equal(faces.images[:64], own)
    assert len(faces.raw) == 160 and faces.test_images.shape == (40, 32, 32, 3)
    assert not list((tmp_path / "parts").glob("0*.npz")), "pictures lie there once"


def test_scale_is_that_of_the_faces_to_learn_from_or_the_one_that_is_given(
    tmp_path, sampler, monkeypatch
):
    faces = lab.make_faces(tmp_path / "own", settings(), sampler, parser)
    learnt = faces.scores.iloc[:120]
    np.testing.assert_allclose(learnt["eyes"].mean(), 0, atol=1e-9)
    monkeypatch.setattr(lab, "inside_root", lambda path: tmp_path / path)
    given = Normalization(dict.fromkeys(NAMES, 5.0), dict.fromkeys(NAMES, 2.0))
    write_statistics(given, tmp_path / "statistics.json")
    named = settings(statistics="statistics.json")
    other = lab.make_faces(tmp_path / "other", named, sampler, parser)
    np.testing.assert_allclose(other.scores["eyes"], (other.raw["eyes"] - 5) / 2)
    assert (tmp_path / "own/statistics.json").exists()


def test_training_leaves_a_network_and_test_faces_teach_nothing(tmp_path, sampler, monkeypatch):
    faces = lab.make_faces(tmp_path, settings(), sampler, parser)
    given = {}
    real = lab.train_property_cnn

    def noted(images, scores, *rest, **named):
        given.update(scores=scores, front=named["front"])
        return real(images, scores, *rest, **named)

    monkeypatch.setattr(lab, "train_property_cnn", noted)
    trained = lab.train(tmp_path, settings(), faces, sampler)
    assert given["scores"].iloc[-40:].isna().all(axis=None)
    assert given["scores"].iloc[:120].notna().all(axis=None)
    normal = faces.normalization
    assert given["front"] == -normal.center["pose"] / normal.spread["pose"]
    assert checkpoints.load(tmp_path / "property_cnn.safetensors").config.resolution == 32
    tested = lab.test(tmp_path, faces, trained)
    assert tested["idx"].tolist() == list(range(120, 160))
    np.testing.assert_array_equal(tested["computed_eyes"], faces.scores["eyes"].tail(40))
    original = tested[f"computed_{ORIGINAL_HAIRSTYLE}"]
    np.testing.assert_array_equal(original, tested["computed_hairstyle"])  # this parser's own


def fitted(noise):
    rng = np.random.default_rng(0)
    computed = pd.DataFrame(rng.normal(size=(300, 8)), columns=NAMES)
    said = computed + rng.normal(size=(300, 8)) * noise
    table = said.add_prefix("predicted_").join(computed.add_prefix("computed_"))
    table[f"computed_{ORIGINAL_HAIRSTYLE}"] = table["computed_hairstyle"]
    return table


def test_fit_stands_beside_what_was_published_and_says_what_falls_short():
    good = figures.fit_table(fitted(0.2))
    assert good.loc[ORIGINAL_HAIRSTYLE, "published correlation"] == 0.7669
    assert good["published correlation"].count() == 1
    assert good["mean error"].between(0.1, 0.25).all()
    assert figures.fit_told(good).startswith("All 7")
    noise = np.where(np.array(NAMES) == "mouth", 2.0, 0.1)
    assert "asked: mouth (0." in figures.fit_told(figures.fit_table(fitted(noise)))


def test_the_originals_hairstyle_stands_beside_ours_where_they_differ():
    table = fitted(0.5)
    assert figures.original_told(table) == "The hairstyle is the original's score."
    table.loc[:1, f"computed_{ORIGINAL_HAIRSTYLE}"] = 50.0
    told = figures.original_told(table)
    assert told.startswith("The hair of 2 of these faces") and "50 deviations" in told
    fit = figures.fit_table(table)["correlation"]
    assert fit[ORIGINAL_HAIRSTYLE] < fit["hairstyle"] - 0.1


def test_published_hairstyle_fit_is_the_one_in_the_published_log():
    log = ROOT.parent / "shared/golden/published/v3_hairstyle_cnn_train_log.csv"
    if not log.exists():
        pytest.skip(f"no published log in {log}")
    best = pd.read_csv(log).sort_values("valid_loss").iloc[0]
    said = figures.PUBLISHED_FIT[ORIGINAL_HAIRSTYLE]
    assert said["correlation"] == best["hairstyle_score_corr"]
    assert said["mean error"] == best["hairstyle_score_abs_diff"]


def test_repairs_look_at_the_faces_that_the_parser_reads_worst():
    rng = np.random.default_rng(1)
    exact = pd.DataFrame(rng.normal(size=(100, 8)), columns=NAMES)
    computed = exact.copy()
    computed.iloc[:10] += 3  # read wrongly; the CNN is off by 1 everywhere
    attributes = exact.rename(columns=TRUE_ATTRIBUTES)
    table = figures.repairs(Checked(exact + 1, computed, exact, attributes))
    np.testing.assert_allclose(table["parser's error there"], 3)
    np.testing.assert_allclose(table["CNN's error there"], 1)
    assert (table["CNN nearer"] == 1).all() and (table["CNN with truth"] > 0.999).all()
    assert "10 of 100 rendered faces" in figures.repairs_told(table, 100)


def test_faces_without_a_score_are_counted():
    raw = pd.DataFrame(1.0, index=range(50), columns=NAMES)
    raw.loc[:2] = np.nan
    ones = dict.fromkeys(NAMES, 1.0)
    faces = Faces(None, raw, Normalization(ones, ones), test=10)
    assert figures.faces_told(faces) == (
        "40 faces to learn from, 10 to test on; in 3 of them the parser found no face."
    )
