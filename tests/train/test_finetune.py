"""Fine-tuning: what is frozen stays, what is killed goes on, what diverges stops and says so."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.store.images import ImageSet
from ohlora_lib.train import finetune
from ohlora_lib.train.finetune import (
    Diverged,
    EvalSchedule,
    FilteredFaces,
    FinetunePlan,
    FineTuning,
    ReplayBuffer,
    before_and_after,
    fit,
    generate,
    sample_images,
)
from ohlora_lib.train.finetune_variants import VARIANTS, start

SMALL = GeneratorConfig(
    resolution=16, z_size=16, w_size=16, mapping_width=16, fmaps_base=64, fmaps_max=8
)
CRITIC = DiscriminatorConfig(resolution=16, fmaps_base=64, fmaps_max=8)
PLAN = FinetunePlan(
    steps=5,
    batch=4,
    learning_rate=1e-2,
    mapping_lr_factor=10.0,
    r1_interval=2,
    replay_steps=1,
    replay_batches=2,
    preserving_start=True,
)
SCHEDULE = EvalSchedule(every=2, images=4, same_z=2)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """One thread, as only then are two runs the same to the bit; and no progress bars."""
    monkeypatch.setenv("OHLORA_HEADLESS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def networks():
    return Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2)


@pytest.fixture
def real():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    return FilteredFaces(images, rng.standard_normal((10, 7)).astype(np.float32))


def brightness(images):
    return {"gender": images.mean((1, 2, 3)) / 255}


def states(training):
    parts = (training.generator, training.discriminator)
    return [{key: value.clone() for key, value in part.state_dict().items()} for part in parts]


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_frozen_layers_are_bit_identical_after_training_and_the_others_moved(
    variant, networks, real, tmp_path
):
    training = FineTuning(variant, *networks, real, PLAN)
    before = states(training)
    fit(training, tmp_path, schedule=SCHEDULE)
    parts = (
        training.variant.generator_parts(),
        training.variant.discriminator_parts(training.discriminator),
    )
    for old, new, trained in zip(before, states(training), parts, strict=True):
        for key, value in old.items():
            if not key.startswith(trained) and key != "truncation.w_avg":
                assert torch.equal(value, new[key]), key
    moved = [
        key for key, value in before[0].items() if not torch.equal(value, states(training)[0][key])
    ]
    assert {"mapping.dense0.weight", "mapping.dense7.bias", "truncation.w_avg"} <= set(moved)
    assert ("synthesis.layer1.weight" in moved) == (variant != "v1")
    assert not torch.equal(before[1]["layer6.weight"], training.discriminator.layer6.weight)


def test_what_came_in_is_left_as_it_was(networks, real, tmp_path):
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    fit(FineTuning("v8", *networks, real, PLAN), tmp_path, schedule=SCHEDULE)
    for old, network in zip(before, networks, strict=True):
        assert same(old, network.state_dict())


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_and_resumed_training_equals_the_uninterrupted_one(
    variant, networks, real, tmp_path, monkeypatch
):
    whole = FineTuning(variant, *networks, real, PLAN)
    log = fit(whole, tmp_path / "whole", brightness, SCHEDULE)

    cut = FineTuning(variant, *networks, real, PLAN)
    step = cut.step
    monkeypatch.setattr(cut, "step", lambda n: 1 / 0 if n == 3 else step(n))
    with pytest.raises(ZeroDivisionError):
        fit(cut, tmp_path / "cut", brightness, SCHEDULE)
    resumed = FineTuning(variant, *networks, real, PLAN)
    taken = []
    again = resumed.step
    monkeypatch.setattr(resumed, "step", lambda n: taken.append(n) or again(n))
    log_too = fit(resumed, tmp_path / "cut", brightness, SCHEDULE)

    assert taken == [2, 3, 4]
    assert all(same(a, b) for a, b in zip(states(whole), states(resumed), strict=True))
    assert log.equals(log_too) and log.step.tolist() == [0, 2, 4, 5]
    kept = [ImageSet(tmp_path / name / finetune.SAME_Z).read() for name in ("whole", "cut")]
    assert np.array_equal(*kept)
    finished = FineTuning(variant, *networks, real, PLAN)
    monkeypatch.setattr(finished, "step", lambda n: pytest.fail("trained again"))
    assert fit(finished, tmp_path / "cut", brightness, SCHEDULE).equals(log)
    assert all(same(a, b) for a, b in zip(states(whole), states(finished), strict=True))


def test_another_plans_checkpoint_is_not_gone_on_with(networks, real, tmp_path):
    fit(FineTuning("v1", *networks, real, PLAN), tmp_path, schedule=SCHEDULE)
    other = FineTuning("v1", *networks, real, replace(PLAN, learning_rate=1e-3))
    assert finetune.resume(other, tmp_path / finetune.CHECKPOINT) is None


@pytest.mark.parametrize("key", ["mapping.dense3.weight", "synthesis.layer1.weight"])
def test_planted_nan_stops_keeps_the_last_good_checkpoint_and_says_so(
    key, networks, real, tmp_path, monkeypatch
):
    training = FineTuning("v8", *networks, real, PLAN)
    step = training.step

    def poisoned(n):
        if n == 3:
            with torch.no_grad():
                training.generator.get_parameter(key)[0] = float("nan")
        return step(n)

    monkeypatch.setattr(training, "step", poisoned)
    with pytest.raises(Diverged, match=r"stopped at step 4.*of step 2, is .*checkpoint.pt"):
        fit(training, tmp_path, schedule=SCHEDULE)
    fresh = FineTuning("v8", *networks, real, PLAN)
    state = finetune.resume(fresh, tmp_path / finetune.CHECKPOINT)
    assert state.steps == 2
    assert all(v.isfinite().all() for part in states(fresh) for v in part.values())


def test_nan_that_no_loss_shows_is_found_before_a_checkpoint_is_written(
    networks, real, tmp_path, monkeypatch
):
    training = FineTuning("v1", *networks, real, PLAN)
    step = training.step

    def poisoned(n):
        losses = step(n)
        if n == 3:
            with torch.no_grad():
                training.generator.mapping.dense0.weight[0] = float("inf")
        return losses

    monkeypatch.setattr(training, "step", poisoned)
    with pytest.raises(Diverged, match=r"mapping.dense0.weight is not finite.*of step 2, is "):
        fit(training, tmp_path, schedule=SCHEDULE)


@pytest.mark.parametrize(("variant", "discriminator_steps"), [("v1", 1), ("v8", 1), ("v9", 4)])
def test_network_that_is_far_behind_takes_up_to_four_steps(
    variant, discriminator_steps, networks, real, monkeypatch
):
    def steps(ratio):
        training = FineTuning(
            variant, *networks, real, replace(PLAN, catch_up_ratio=ratio, replay_steps=0)
        )
        taken = {"discriminator": 0, "generator": 0}
        for name in taken:
            teach = getattr(training, f"_train_{name}")
            count = lambda *a, name=name, teach=teach, **k: (  # noqa: E731
                taken.update({name: taken[name] + 1}) or teach(*a, **k)
            )
            monkeypatch.setattr(training, f"_train_{name}", count)
        training.step(0)
        return taken

    assert steps(ratio=0.0) == {"discriminator": discriminator_steps, "generator": 4}
    assert steps(ratio=1e9) == {"discriminator": 1, "generator": 1}


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_are_the_scores_in_v1_and_zeros_after(variant, networks, real):
    labels = FineTuning(variant, *networks, real, PLAN).labels.numpy()
    assert np.array_equal(
        labels, real.labels if variant == "v1" else np.zeros((10, len(LABEL_PROPERTIES)))
    )


def test_training_moves_the_faces_toward_the_filtered_ones(networks, tmp_path):
    """As in the pipeline: the brightest third of what the generator makes is what it shall make."""
    z = torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    made = generate(networks[0], z)
    bright = made[np.argsort(-made.mean((1, 2, 3)))[:100]]
    plan = replace(PLAN, steps=80, batch=16, r1_gamma=0.0, replay_steps=2, replay_batches=4)
    training = FineTuning(
        "v1", *networks, FilteredFaces(bright, np.zeros((100, 7), np.float32)), plan
    )
    log = fit(training, tmp_path, brightness, EvalSchedule(40, 200, 2))
    before, after, wanted = log.gender.iloc[0], log.gender.iloc[-1], bright.mean() / 255
    assert after - before > 0.4 * (wanted - before)


def test_replay_buffer_holds_the_latest_batches_alone():
    replay = ReplayBuffer(batches=2, device=torch.device("cpu"))
    for k in range(4):
        replay.add(torch.full((3, 1), float(k), requires_grad=True), torch.full((3, 7), float(k)))
    fronts, labels = replay.sample(50, np.random.default_rng(0))
    assert set(fronts.flatten().tolist()) == {2.0, 3.0}
    assert torch.equal(labels[:, :1], fronts) and not fronts.requires_grad


def test_in_the_warm_up_only_the_discriminator_trains(networks, real):
    training = FineTuning("v1", *networks, real, replace(PLAN, discriminator_warmup=1))
    before = states(training)
    assert "generator" not in training.step(0)
    after = states(training)
    assert torch.equal(before[0]["mapping.dense0.weight"], after[0]["mapping.dense0.weight"])
    assert not torch.equal(before[1]["layer6.weight"], after[1]["layer6.weight"])
    assert "generator" in training.step(1)


def test_learning_rates_decay_to_zero_at_the_end(networks, real):
    training = FineTuning("v8", *networks, real, replace(PLAN, decay_fraction=0.5, steps=8))
    rates = []
    for step in range(8):
        training.step(step)
        groups = training.generator_optimizer.param_groups
        rates.append([group["lr"] for group in groups])
    assert rates[0] == rates[4] == pytest.approx([0.1, 0.01])
    assert rates[6] == pytest.approx([0.05, 0.005]) and rates[7] == pytest.approx([0.025, 0.0025])


def test_average_w_is_that_of_the_mapping_at_the_end(networks, real, tmp_path):
    training = FineTuning("v1", *networks, real, PLAN)
    fit(training, tmp_path, schedule=SCHEDULE)
    with torch.no_grad():
        w = training.generator.mapping(
            torch.randn(5000, 16), training.labels[torch.arange(5000) % 10]
        )
    assert torch.allclose(w.mean(0), training.generator.truncation.w_avg, atol=0.1 * w.std().item())


def test_same_z_begin_with_what_the_generator_drew_before(networks, real, tmp_path):
    training = FineTuning("v8", *networks, real, PLAN)
    z = torch.from_numpy(finetune.stream(training.seed + 2, 0).standard_normal((2, 16), np.float32))
    fit(training, tmp_path, schedule=SCHEDULE)
    shown = ImageSet(tmp_path / finetune.SAME_Z).read([0, 1])
    drawn = generate(networks[0], z)
    assert np.abs(shown.astype(int) - drawn).max() <= 1


def test_front_features_are_computed_anew_when_they_do_not_fit(networks, real, monkeypatch):
    kept = FineTuning("v1", *networks, real, PLAN)
    monkeypatch.setattr(finetune, "FEATURE_CACHE", 0)
    anew = FineTuning("v1", *networks, real, PLAN)
    assert anew._real_features is None
    assert kept.step(0)["discriminator"] == anew.step(0)["discriminator"]


def test_faces_without_their_scores_are_refused(real):
    with pytest.raises(ValueError, match="every face needs its 7 scores"):
        FilteredFaces(real.images, real.labels[:, :3])


def test_networks_of_two_resolutions_are_refused(networks):
    other = Discriminator(replace(CRITIC, resolution=32))
    with pytest.raises(ValueError, match="16 px and the discriminator reads 32 px"):
        start(VARIANTS["v1"], networks[0], other)


def test_r1_is_multiplied_by_its_interval(networks, real, monkeypatch):
    """The loss of a step with R1 is the logistic one plus gamma / 2 * interval * R1."""
    optimized = []
    update = finetune._update
    monkeypatch.setattr(
        finetune, "_update", lambda opt, loss: optimized.append(loss.item()) or update(opt, loss)
    )
    plan = replace(PLAN, r1_gamma=6.0, r1_interval=4, replay_steps=0, discriminator_warmup=8)
    training = FineTuning("v1", *networks, real, plan)
    with_r1, without = training.step(4), training.step(5)
    assert optimized[0] == pytest.approx(with_r1["discriminator"] + 12 * with_r1["penalty"])
    assert optimized[1] == pytest.approx(without["discriminator"]) and "penalty" not in without


def test_before_and_after_have_the_same_z(networks, real):
    """A preserving start draws the old images, so before the first step nothing differs."""
    training = FineTuning("v8", *networks, real, PLAN)
    before, after = before_and_after(networks[0], training, 5, seed=3)
    assert np.abs(before.astype(int) - after).max() <= 1
    other, _ = before_and_after(networks[0], training, 5, seed=4)
    assert np.abs(before.astype(int) - other).max() > 1
    training.step(0)
    again, moved = before_and_after(networks[0], training, 5, seed=3)
    assert np.array_equal(before, again) and not np.array_equal(moved, after)


def test_before_and_after_use_the_labels_of_the_same_faces(networks, real):
    """A generator of v1 gets scores; fine-tuned as v8 it gets zeros, as in its training."""
    conditional = FineTuning("v1", *networks, real, PLAN)
    with torch.no_grad():
        conditional.generator.mapping.label_weight.mul_(10)
        conditional.generator.mapping.dense0.weight[:, 16:] = 3.0
    pair = conditional.generator, conditional.discriminator
    labeled, zeros = (FineTuning(variant, *pair, real, PLAN) for variant in ("v1", "v8"))
    before, after = before_and_after(pair[0], labeled, 4, seed=3)
    assert np.array_equal(before, after)
    before, after = before_and_after(pair[0], zeros, 4, seed=3)
    assert not np.array_equal(before, after)
    given = sample_images(pair[0], 4, 3, 2, np.zeros((10, 7), np.float32))
    assert np.array_equal(after, given)


def test_images_of_a_seed_do_not_depend_on_their_number(networks):
    few, many = (sample_images(networks[0], n, seed=1, purpose=2) for n in (2, 5))
    assert np.abs(few.astype(int) - many[:2]).max() <= 1
    assert (sample_images(networks[0], 2, seed=1, purpose=1) != few).any()


def test_label_of_a_face_is_its_own_scores_in_the_published_order():
    scores = pd.DataFrame({name: [0.1, 0.4] for name in sorted(LABEL_PROPERTIES)}, index=[7, 3])
    scores["mouth"] += 1
    faces = FilteredFaces.of(np.zeros((3, 8, 8, 3), np.uint8), scores.reindex([3, 5, 7]))
    at = [LABEL_PROPERTIES.index(name) for name in ("eyes", "mouth")]
    assert faces.labels.flags.writeable, "torch warns of arrays that are not"
    assert faces.labels[:, at].tolist() == pytest.approx(np.array([[0.4, 1.4], [0, 0], [0.1, 1.1]]))


def test_default_plan_is_the_published_one():
    plan = FinetunePlan()
    assert (plan.batch, plan.learning_rate, plan.r1_gamma, plan.catch_up_ratio) == (8, 1e-4, 10, 2)
    assert (plan.r1_interval, plan.max_generator_steps, plan.preserving_start) == (1, 4, False)
    assert plan.steps == -(-72 * 4930 // 8)


def test_log_has_the_mean_losses_and_the_auroc_of_its_steps():
    def one(loss, real, fake):
        return {"discriminator": loss, "real": np.array(real), "fake": np.array(fake)}

    row = finetune._summary([one(1.0, [0.2, 0.9], [0.1]), one(2.0, [0.3], [0.4])])
    assert row == {"discriminator": 1.5, "auroc": pytest.approx(4 / 6)}


@pytest.mark.parametrize(
    ("generator", "discriminator", "steps"),
    [(2.0, 1.0, (4, 1)), (1.9, 1.0, (1, 1)), (1.0, 2.0, (1, 4)), (1.0, 1.9, (1, 1))],
)
def test_only_the_network_with_twice_the_loss_catches_up(
    generator, discriminator, steps, networks, real, monkeypatch
):
    training = FineTuning("v9", *networks, real, PLAN)
    taken = {"generator": 1, "discriminator": 1}
    losses = {"generator": generator, "discriminator": discriminator}

    def train(name):
        taken[name] += 1
        return losses

    monkeypatch.setattr(training, "_train_generator", lambda *_: train("generator"))
    monkeypatch.setattr(training, "_train_discriminator", lambda *_: train("discriminator"))
    found = training._catch_up(losses, np.random.default_rng(0))
    assert (taken["generator"], taken["discriminator"]) == steps
    assert found == {"generator": generator, "generator steps": steps[0]}
