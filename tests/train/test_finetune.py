"""Fine-tuning: what is frozen stays, what is killed goes on, what diverges stops and says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ohlora_lib.faces.properties import LABEL_PROPERTIES
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.store.images import ImageSet
from ohlora_lib.train import finetune as gan
from ohlora_lib.train import finetune_loop as gan_fit
from ohlora_lib.train.finetune import Diverged, FineTuning, Networks, Plan, Target, faces
from ohlora_lib.train.finetune_forms import FORMS, start
from ohlora_lib.train.finetune_loop import Watch, fit

SMALL = GeneratorConfig(
    resolution=16, z_size=16, w_size=16, mapping_width=16, fmaps_base=64, fmaps_max=8
)
CRITIC = DiscriminatorConfig(resolution=16, fmaps_base=64, fmaps_max=8)
PLAN = Plan(
    steps=5, batch=4, learning_rate=1e-2, mapping_factor=10.0, penalty_every=2, recalls=1, memory=2
)
WATCH = Watch(every=2, fresh=4, same=2)


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
    return Networks(Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))


@pytest.fixture
def target():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    return Target(images, rng.standard_normal((10, 7)).astype(np.float32))


def brightness(images):
    return {"gender": images.mean((1, 2, 3)) / 255}


def states(training):
    parts = (training.generator, training.discriminator)
    return [{key: value.clone() for key, value in part.state_dict().items()} for part in parts]


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("form", FORMS)
def test_frozen_layers_are_bit_identical_after_training_and_the_others_moved(
    form, networks, target, tmp_path
):
    training = FineTuning(form, networks, target, PLAN)
    before = states(training)
    fit(training, tmp_path, watch=WATCH)
    parts = (
        training.form.generator_parts(),
        training.form.discriminator_parts(training.discriminator),
    )
    for old, new, trained in zip(before, states(training), parts, strict=True):
        for key, value in old.items():
            if not key.startswith(trained) and key != "truncation.w_avg":
                assert torch.equal(value, new[key]), key
    moved = [
        key for key, value in before[0].items() if not torch.equal(value, states(training)[0][key])
    ]
    assert {"mapping.dense0.weight", "mapping.dense7.bias", "truncation.w_avg"} <= set(moved)
    assert ("synthesis.layer1.weight" in moved) == (form != "v1")
    assert not torch.equal(before[1]["layer6.weight"], training.discriminator.layer6.weight)


def test_what_came_in_is_left_as_it_was(networks, target, tmp_path):
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in vars(networks).values()]
    fit(FineTuning("v8", networks, target, PLAN), tmp_path, watch=WATCH)
    for old, network in zip(before, vars(networks).values(), strict=True):
        assert same(old, network.state_dict())


@pytest.mark.parametrize("form", FORMS)
def test_killed_and_resumed_training_equals_the_uninterrupted_one(
    form, networks, target, tmp_path, monkeypatch
):
    whole = FineTuning(form, networks, target, PLAN)
    log = fit(whole, tmp_path / "whole", brightness, WATCH)

    cut = FineTuning(form, networks, target, PLAN)
    step = cut.step
    monkeypatch.setattr(cut, "step", lambda n: 1 / 0 if n == 3 else step(n))
    with pytest.raises(ZeroDivisionError):
        fit(cut, tmp_path / "cut", brightness, WATCH)
    resumed = FineTuning(form, networks, target, PLAN)
    taken = []
    again = resumed.step
    monkeypatch.setattr(resumed, "step", lambda n: taken.append(n) or again(n))
    log_too = fit(resumed, tmp_path / "cut", brightness, WATCH)

    assert taken == [2, 3, 4]
    assert all(same(a, b) for a, b in zip(states(whole), states(resumed), strict=True))
    assert log.equals(log_too) and log.step.tolist() == [0, 2, 4, 5]
    kept = [ImageSet(tmp_path / name / gan_fit.SAME_Z).read() for name in ("whole", "cut")]
    assert np.array_equal(*kept)


def test_another_plans_checkpoint_is_not_gone_on_with(networks, target, tmp_path):
    fit(FineTuning("v1", networks, target, PLAN), tmp_path, watch=WATCH)
    other = FineTuning("v1", networks, target, replace(PLAN, learning_rate=1e-3))
    assert gan_fit.resume(other, tmp_path / gan_fit.CHECKPOINT) is None


@pytest.mark.parametrize("key", ["mapping.dense3.weight", "synthesis.layer1.weight"])
def test_planted_nan_stops_keeps_the_last_good_checkpoint_and_says_so(
    key, networks, target, tmp_path, monkeypatch
):
    training = FineTuning("v8", networks, target, PLAN)
    step = training.step

    def poisoned(n):
        if n == 3:
            with torch.no_grad():
                training.generator.get_parameter(key)[0] = float("nan")
        return step(n)

    monkeypatch.setattr(training, "step", poisoned)
    with pytest.raises(Diverged, match=r"stopped at step 4.*of step 2, is kept in .*checkpoint.pt"):
        fit(training, tmp_path, watch=WATCH)
    fresh = FineTuning("v8", networks, target, PLAN)
    state = gan_fit.resume(fresh, tmp_path / gan_fit.CHECKPOINT)
    assert state.steps == 2
    assert all(v.isfinite().all() for part in states(fresh) for v in part.values())


def test_nan_that_no_loss_shows_is_found_before_a_checkpoint_is_written(
    networks, target, tmp_path, monkeypatch
):
    training = FineTuning("v1", networks, target, PLAN)
    step = training.step

    def poisoned(n):
        told = step(n)
        if n == 3:
            with torch.no_grad():
                training.generator.mapping.dense0.weight[0] = float("inf")
        return told

    monkeypatch.setattr(training, "step", poisoned)
    with pytest.raises(Diverged, match=r"mapping.dense0.weight is not finite.*step 2, is kept"):
        fit(training, tmp_path, watch=WATCH)


@pytest.mark.parametrize(("form", "critic"), [("v1", 1), ("v8", 1), ("v9", 4)])
def test_network_that_is_far_behind_takes_up_to_four_steps(
    form, critic, networks, target, monkeypatch
):
    def steps(ratio):
        training = FineTuning(form, networks, target, replace(PLAN, ratio=ratio, recalls=0))
        taken = {"critic": 0, "generator": 0}
        for name in taken:
            teach = getattr(training, f"_teach_{name}")
            count = lambda *a, name=name, teach=teach, **k: (  # noqa: E731
                taken.update({name: taken[name] + 1}) or teach(*a, **k)
            )
            monkeypatch.setattr(training, f"_teach_{name}", count)
        training.step(0)
        return taken

    assert steps(ratio=0.0) == {"critic": critic, "generator": 4}
    assert steps(ratio=1e9) == {"critic": 1, "generator": 1}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_the_scores_in_v1_and_zeros_after(form, networks, target):
    labels = FineTuning(form, networks, target, PLAN).labels.numpy()
    assert np.array_equal(
        labels, target.labels if form == "v1" else np.zeros((10, len(LABEL_PROPERTIES)))
    )


def test_training_moves_the_faces_toward_the_filtered_ones(networks, tmp_path):
    """As in the pipeline: the brightest third of what the generator makes is what it shall make."""
    z = torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    made = faces(networks.generator, z)
    bright = made[np.argsort(-made.mean((1, 2, 3)))[:100]]
    plan = replace(PLAN, steps=80, batch=16, gamma=0.0, recalls=2, memory=4)
    training = FineTuning("v1", networks, Target(bright, np.zeros((100, 7), np.float32)), plan)
    log = fit(training, tmp_path, brightness, Watch(40, 200, 2))
    before, after, wanted = log.gender.iloc[0], log.gender.iloc[-1], bright.mean() / 255
    assert after - before > 0.4 * (wanted - before)


def test_discriminator_recalls_the_latest_faces_alone(networks, target):
    memory = gan.Memory(batches=2, device=torch.device("cpu"))
    for k in range(4):
        memory.add(torch.full((3, 1), float(k), requires_grad=True), torch.full((3, 7), float(k)))
    fronts, labels = memory.pick(50, np.random.default_rng(0))
    assert set(fronts.flatten().tolist()) == {2.0, 3.0}
    assert torch.equal(labels[:, :1], fronts) and not fronts.requires_grad


def test_discriminator_learns_alone_first(networks, target):
    training = FineTuning("v1", networks, target, replace(PLAN, critic_alone=1))
    before = states(training)
    assert "generator" not in training.step(0)
    after = states(training)
    assert torch.equal(before[0]["mapping.dense0.weight"], after[0]["mapping.dense0.weight"])
    assert not torch.equal(before[1]["layer6.weight"], after[1]["layer6.weight"])
    assert "generator" in training.step(1)


def test_rates_fade_to_zero_at_the_end(networks, target):
    training = FineTuning("v8", networks, target, replace(PLAN, fade=0.5, steps=8))
    rates = []
    for step in range(8):
        training.step(step)
        groups = training.generator_optimizer.param_groups
        rates.append([group["lr"] for group in groups])
    assert rates[0] == rates[4] == pytest.approx([0.1, 0.01])
    assert rates[6] == pytest.approx([0.05, 0.005]) and rates[7] == pytest.approx([0.025, 0.0025])


def test_average_w_is_that_of_the_mapping_at_the_end(networks, target, tmp_path):
    training = FineTuning("v1", networks, target, PLAN)
    fit(training, tmp_path, watch=WATCH)
    with torch.no_grad():
        w = training.generator.mapping(
            torch.randn(5000, 16), training.labels[torch.arange(5000) % 10]
        )
    assert torch.allclose(w.mean(0), training.generator.truncation.w_avg, atol=0.1 * w.std().item())


def test_same_z_begin_with_what_the_generator_drew_before(networks, target, tmp_path):
    training = FineTuning("v8", networks, target, PLAN)
    z = torch.from_numpy(gan_fit.stream(training.seed + 2, 0).standard_normal((2, 16), np.float32))
    fit(training, tmp_path, watch=WATCH)
    shown = ImageSet(tmp_path / gan_fit.SAME_Z).read([0, 1])
    drawn = faces(networks.generator, z)
    assert np.abs(shown.astype(int) - drawn).max() <= 1


def test_front_features_are_computed_anew_when_they_do_not_fit(networks, target, monkeypatch):
    kept = FineTuning("v1", networks, target, PLAN)
    monkeypatch.setattr(gan, "CACHED", 0)
    anew = FineTuning("v1", networks, target, PLAN)
    assert anew._fronts is None
    assert kept.step(0)["discriminator"] == anew.step(0)["discriminator"]


def test_faces_without_their_scores_are_refused(target):
    with pytest.raises(ValueError, match="every face needs its 7 scores"):
        Target(target.images, target.labels[:, :3])


def test_networks_of_two_resolutions_are_refused(networks):
    other = Discriminator(replace(CRITIC, resolution=32))
    with pytest.raises(ValueError, match="16 px and the discriminator reads 32 px"):
        start(FORMS["v1"], networks.generator, other)
