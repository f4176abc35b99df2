"""Notebook 05's own work: which faces and scores it takes, and what it says of the effect."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.lab import finetune, finetune_figures
from ohlora_lib.lab.finetune import CONCEPT, Effect, FinetuneSettings, Judged
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.runner.settings import SettingsError
from ohlora_lib.store.images import ImageSet
from ohlora_lib.store.tables import write_table
from ohlora_lib.train.finetune import Plan

GIVEN = {
    "out": "data/notebooks/x",
    "seed": 1,
    "generator": "original",
    "discriminator": "original-discriminator",
    "images": "",
    "kept": "",
    "scores": "",
    "form": "v1",
    "recipe": "quick",
    "steps": 0,
    "epochs": 3,
    "batch": 4,
    "learning_rate": 1e-3,
    "looks": 4,
    "judged": 16,
}


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """What the earlier notebooks left: image k is gray k; 3 is not kept, 5 has no score."""
    monkeypatch.setattr(finetune, "inside_root", lambda path: tmp_path / path)
    images = ImageSet(tmp_path / "images")
    images.write(
        range(6), np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    )
    write_table(pd.DataFrame({"idx": [5, 4, 1]}), tmp_path / "kept.parquet")
    scores = pd.DataFrame({"idx": [1, 3, 4]} | {name: [0.1, 0.3, 0.4] for name in LABEL_PROPERTIES})
    scores["mouth"] += 1
    write_table(scores[["idx", *sorted(LABEL_PROPERTIES)]], tmp_path / "scores.parquet")
    return FinetuneSettings(
        **GIVEN | {"images": "images", "kept": "kept.parquet", "scores": "scores.parquet"}
    )


def test_every_kept_face_meets_its_own_scores_in_the_labels_order(stages):
    target = finetune.open_target(stages, None, None)
    assert target.images[:, 0, 0, 0].tolist() == [5, 4, 1]
    assert target.labels[1:, LABEL_PROPERTIES.index("eyes")].tolist() == pytest.approx([0.4, 0.1])
    assert target.labels[1:, LABEL_PROPERTIES.index("mouth")].tolist() == pytest.approx([1.4, 1.1])


def test_face_without_scores_gets_the_mean(stages):
    assert not finetune.open_target(stages, None, None).labels[0].any()


def test_inputs_come_together_or_not_at_all():
    with pytest.raises(SettingsError, match="belong together"):
        FinetuneSettings(**GIVEN | {"images": "images"})


@pytest.mark.parametrize(("given", "steps"), [(0, 8), (5, 5)])
def test_steps_are_those_of_the_epochs_unless_given(given, steps, monkeypatch):
    seen = []
    monkeypatch.setattr(finetune, "FineTuning", lambda *a: seen.append(a))
    settings = FinetuneSettings(**GIVEN | {"steps": given})
    finetune.open_training(settings, None, SimpleNamespace(images=range(10)))
    plan = seen[0][3]
    assert plan.steps == steps and plan.batch == 4
    assert plan.critic_alone < steps / 2  # a short training, too, trains the generator


def test_published_recipe_is_the_published_plan():
    recipe = finetune.RECIPES["published"]
    assert recipe.plan == Plan() and not recipe.keep
    plan = recipe.plan
    assert (plan.batch, plan.learning_rate, plan.gamma, plan.ratio) == (8, 1e-4, 10, 2)
    assert plan.steps == -(-72 * 4930 // 8)


def test_settings_come_from_a_notebooks_names_and_a_missing_one_is_named():
    names = {"unrelated": 3, **GIVEN}
    assert FinetuneSettings.of(names) == FinetuneSettings(**GIVEN)
    del names["batch"]
    with pytest.raises(SettingsError, match="batch: the cell of parameters does not set it"):
        FinetuneSettings.of(names)


def test_fresh_faces_are_named_by_seed_and_stream_whatever_the_count():
    config = GeneratorConfig(resolution=8, fmaps_base=16, fmaps_max=4)
    generator = Generator(config, seed=1)
    few, many = (finetune.fresh(generator, n, seed=1, stream=2) for n in (2, 5))
    assert np.abs(few.astype(int) - many[:2]).max() <= 1
    assert (finetune.fresh(generator, 2, seed=1, stream=1) != few).any()


def test_both_generators_draw_where_the_training_was(monkeypatch):
    generators = [Generator(GeneratorConfig(8, fmaps_base=16, fmaps_max=4)) for _ in range(2)]
    elsewhere = torch.device("meta")
    training = SimpleNamespace(
        generator=generators[1].to(elsewhere),
        device=elsewhere,
        labels=None,
        target=SimpleNamespace(images=np.zeros((1, 8, 8, 3)), labels=None),
    )
    drew = []
    monkeypatch.setattr(
        finetune, "fresh", lambda generator, *a: drew.append(next(generator.parameters()).device)
    )
    networks = SimpleNamespace(generator=generators[0])
    judge = SimpleNamespace(judge=lambda images: None, name="nobody")
    finetune.effect(FinetuneSettings(**GIVEN), networks, training, judge)
    assert drew == [elsewhere, elsewhere]


def judged(fitting, count=40, spread=1.0, seed=0):
    """Faces of whom the first `fitting` are what the concept asks, the others men."""
    said = pd.DataFrame(
        {"gender": 0.1, "quality": 0.9, "age": 0.1, "glass": 0.0}, index=range(count)
    )
    said.loc[: fitting - 1, "gender"] = 0.9
    return Judged(said, spread * np.random.default_rng(seed).standard_normal((count, 6)))


def test_concept_asks_for_all_four():
    said = pd.DataFrame(
        {"gender": [0.9] * 5, "quality": [0.9] * 5, "age": [0.1] * 5, "glass": [0.1] * 5}
    )
    for row, (name, value) in enumerate(
        [("gender", 0.4), ("quality", 0.4), ("age", 0.6), ("glass", 0.6)]
    ):
        said.loc[row, name] = value
    assert Judged(said, np.zeros((5, 2))).fits[CONCEPT].tolist() == [False] * 4 + [True]


def test_page_tells_shares_with_their_intervals():
    effect = Effect(judged(40), judged(20), judged(38), "the judge")
    table = finetune_figures.shares(effect)
    # Wilson's interval of 20 in 40, as any table of it has it.
    assert table.loc["female", "before"] == "50.0% (35.2% to 64.8%)"
    assert "50.0% to 95.0%" in finetune_figures.found("v1", effect)
    assert "(1.9 times): the judge judged 40" in finetune_figures.found("v1", effect)


def test_page_calls_a_collapse_a_collapse():
    target, healthy = judged(40), judged(40, seed=1)
    collapsed = judged(40, spread=0.01, seed=2)
    told = [
        finetune_figures.diversity_told(
            finetune_figures.diversity(Effect(target, judged(20, seed=3), after, "the judge"))
        )
        for after in (healthy, collapsed)
    ]
    assert "no collapse" in told[0] and "**a collapse**" in told[1]


def test_page_survives_a_concept_that_nobody_fitted_before():
    effect = Effect(judged(40), judged(0), judged(4), "the judge")
    assert "none before" in finetune_figures.found("v8", effect)


@pytest.mark.parametrize("steps", [1.0, 2.5])
def test_page_tells_whether_the_generator_had_to_catch_up(steps):
    log = pd.DataFrame(
        {
            "step": [0, 5],
            "discriminator": [np.nan, 1.2],
            "generator": [np.nan, 0.8],
            "generator steps": [np.nan, steps],
            "auroc": [np.nan, 0.7],
        }
    )
    told = finetune_figures.course_told(log)
    assert ("2.5 steps" in told) == (steps > 1) and "0.70" in told
    assert len(finetune_figures.course(log).axes) == 2


def test_weights_of_another_network_are_refused(monkeypatch):
    monkeypatch.setattr(finetune.weights, "load", lambda name: torch.nn.Linear(1, 1))
    with pytest.raises(SettingsError, match="generator = 'original': it holds a Linear"):
        finetune.open_networks(FinetuneSettings(**GIVEN))
