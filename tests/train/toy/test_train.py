"""The trainings of the toy world, tiny: they learn, resume, and report what they measured."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_lib import checkpoints
from ohlora_lib.checkpoints import registry
from ohlora_lib.faces.classes import HAIR, LEFT_EYE, RIGHT_EYE
from ohlora_lib.models.annotator import AnnotatorConfig
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.models.unet_parser import UNetConfig
from ohlora_lib.toyworld import face_sets as faces
from ohlora_lib.toyworld import sample_attributes
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, GLASSES
from ohlora_lib.toyworld.background import pick
from ohlora_lib.toyworld.defects import KINDS, defect_strength
from ohlora_lib.toyworld.face_sets import DEFECTS_BELOW, FaceSet, as_images, load_faces
from ohlora_lib.train.toy import __main__ as command
from ohlora_lib.train.toy import annotator, augment, original_colors, original_defects, parser
from ohlora_lib.train.toy.change_maps import load_change_maps
from ohlora_lib.train.toy.entangle import DRAWS, Entangle, draws, latents
from ohlora_lib.train.toy.loop import Budget, fit
from ohlora_lib.train.toy.original_adversarial import (
    AdversarialPlan,
    AdversarialTraining,
    at_full_size,
)
from ohlora_lib.train.toy.original_colors import fit_colors
from ohlora_lib.train.toy.original_mapping import (
    DEFECT_KIND,
    QUALITY,
    SOUND,
    MappingPlan,
    MappingTraining,
    defects,
    read_through,
    some_people,
    start_open,
)
from ohlora_lib.train.toy.original_regression import (
    RegressionPlan,
    RegressionTraining,
    draw,
    plain,
    region_weights,
    regression_loss,
    whitened,
    whitening,
)
from ohlora_lib.train.toy.perceptual import texture_distance

CPU = torch.device("cpu")
QUIET = {"say": lambda line: None}


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.setenv("OHLORA_HEADLESS", "1")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Twelve small faces that share all textures but their hair's."""
    wanted = FaceSet(seed=1, count=12, size=64, shared_texture=True, own_hair=True)
    return load_faces(wanted, tmp_path_factory.mktemp("faces"), workers=1)


def parser_training(few, seed=0):
    config = UNetConfig(widths=(8, 16, 32), resolution=64)
    plan = parser.ParserPlan(batch=6, learning_rate=1e-2)
    return parser.ParserTraining(few, CPU, seed, plan, config)


def test_faces_are_rendered_once_and_resumed_shard_by_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "PER_SHARD", 2)
    wanted = FaceSet(seed=3, count=3, size=64)
    whole = load_faces(wanted, tmp_path / "whole", workers=1)
    folder = tmp_path / "cut" / whole.name / "shards"
    folder.mkdir(parents=True)
    faces._render_shard((wanted, 0, 2), folder / "000000.npz")
    before = (folder / "000000.npz").stat().st_mtime_ns
    monkeypatch.setattr(faces, "shutil", type("", (), {"rmtree": staticmethod(lambda path: None)}))
    resumed = load_faces(wanted, tmp_path / "cut", workers=1)
    assert (folder / "000000.npz").stat().st_mtime_ns == before
    assert np.array_equal(resumed.images, whole.images)
    expected = sample_attributes(3, 2).to_dict()
    assert resumed.column("pose")[2] == pytest.approx(expected["pose"], abs=1e-6)


def test_poor_faces_differ_from_others_in_quality_alone():
    fair, poor = (faces._render_one(FaceSet(3, 4, 64, poor=p), 2).attributes for p in (False, True))
    changed = {name for name in ATTRIBUTE_NAMES if getattr(fair, name) != getattr(poor, name)}
    assert changed == {"quality"} and poor.quality < faces.DEFECTS_BELOW


def test_annotator_sees_more_rare_faces_than_there_are(few):
    plan = annotator.AnnotatorPlan(batch=30, rare_share=0.5)
    training = annotator.AnnotatorTraining(few, CPU, plan=plan, poor=few.part(np.array([0])))
    training.rare = np.array([5])
    batch = training._batch(np.random.default_rng(0))
    assert len(batch) == 30
    same = [np.abs(batch.attributes - few.attributes[i]).max(1) == 0 for i in (0, 5)]
    assert min(found.sum() for found in same) >= 7


def test_changed_renderer_gets_faces_of_its_own(tmp_path, monkeypatch):
    wanted = FaceSet(1, 2, 64)
    old = load_faces(wanted, tmp_path, workers=1)
    monkeypatch.setattr(faces, "renderer_digest", lambda: "another0")
    assert load_faces(wanted, tmp_path, workers=1).name != old.name
    assert len(list(tmp_path.iterdir())) == 2


def test_mirror_swaps_the_eyes_names(few):
    class Heads:
        def random(self, n):
            return np.zeros(n)

    maps = torch.from_numpy(np.array(few.maps[:2]))
    images = faces.as_images(np.array(few.images[:2]), CPU)
    flipped_images, flipped = augment.mirror(images, maps, Heads())
    assert torch.equal(flipped_images, images.flip(3))
    assert torch.equal(flipped == LEFT_EYE, (maps == RIGHT_EYE).flip(2))


def test_moved_picture_and_map_stay_together(few):
    maps = torch.from_numpy(np.array(few.maps[:4]))
    as_picture = (maps[:, None].float() / 5 - 1).repeat(1, 3, 1, 1)
    images, moved = augment.warp(as_picture, maps, np.random.default_rng(0))
    same = (images[:, 0] - (moved.float() / 5 - 1)).abs() < 0.05
    assert same.float().mean() > 0.85 and not torch.equal(moved, maps)  # the rest lies on borders


def test_killed_training_goes_on_as_if_nothing_happened(tmp_path, few):
    straight = parser_training(few)
    fit(straight, tmp_path / "straight.pt", Budget(steps=4), **QUIET)
    killed = parser_training(few)
    inner, killed.step = killed.step, None

    def step(at, progress):
        if at == 2:
            raise KeyboardInterrupt
        return inner(at, at / 4)

    killed.step = step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ohlora_lib.train.toy.loop.CHECKPOINT_EVERY", -1)
        with pytest.raises(KeyboardInterrupt):
            fit(killed, tmp_path / "killed.pt", Budget(steps=4), **QUIET)
    again = parser_training(few, seed=0)
    reached = fit(again, tmp_path / "killed.pt", Budget(steps=4), **QUIET)
    assert reached.steps == 4
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_checkpoint_of_another_training_is_not_taken(tmp_path, few):
    fit(parser_training(few), tmp_path / "it.pt", Budget(steps=2), **QUIET)
    other = parser_training(few, seed=5)
    assert fit(other, tmp_path / "it.pt", Budget(steps=1), **QUIET).steps == 1


def test_finished_training_does_nothing_more(tmp_path, few):
    fit(parser_training(few), tmp_path / "it.pt", Budget(steps=2), **QUIET)
    again = parser_training(few)
    again.step = None
    assert fit(again, tmp_path / "it.pt", Budget(steps=2), **QUIET).steps == 2


def test_parser_improves_from_scratch(tmp_path, few):
    training = parser_training(few)
    before = parser.evaluate(training.network, few)["mean IoU"]
    fit(training, tmp_path / "it.pt", Budget(steps=60), **QUIET)
    after = parser.evaluate(training.network, few)
    assert after["mean IoU"] > before + 0.08
    assert after["background"] > 0.6 and after["skin"] > 0.4


def test_iou_is_one_for_the_truth_itself(few):
    class Oracle:
        def parse(self, images, side):
            return few.maps[: len(images)]

    assert parser.evaluate(Oracle(), few)["mean IoU"] == pytest.approx(1, abs=0.2)
    assert parser.evaluate(Oracle(), few)["hair"] == 1


def test_annotator_learns_and_knows_its_error(tmp_path, few):
    sizes = {"widths": (8, 16, 16), "close_widths": (4, 8), "features": 32, "resolution": 64}
    config = AnnotatorConfig(ATTRIBUTE_NAMES, **sizes)
    plan = annotator.AnnotatorPlan(batch=8, shift=0)
    training = annotator.AnnotatorTraining(few, CPU, plan=plan, config=config)
    fit(training, tmp_path / "it.pt", Budget(steps=60), **QUIET)
    annotator.calibrate(training.network, few)
    figures = annotator.evaluate(training.network, few)
    assert figures["R² background_mean"] > 0.5
    at = ATTRIBUTE_NAMES.index("background_mean")
    expected = np.sqrt(1 - figures["R² background_mean"]) * few.column("background_mean").std()
    assert training.network.error[at].item() == pytest.approx(expected, rel=1e-3)


def test_calibration_mends_overconfidence_and_a_wrong_rate():
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 5000)
    answers = (rng.random(5000) < 1 / (1 + np.exp(-honest))).astype(float)
    slope, offset = annotator.fit_odds(4 * honest + 2, answers)
    assert slope == pytest.approx(1 / 4, rel=0.1) and offset == pytest.approx(-0.5, abs=0.15)


def test_calibration_stays_calm_where_answers_are_all_alike():
    slope, offset = annotator.fit_odds(np.linspace(-9, -5, 50), np.zeros(50))
    assert 0.5 < slope < 2 and abs(offset) < 1


def test_calibration_error_of_known_cases():
    answers = np.array([0, 0, 1, 1.0])
    assert annotator.calibration_error(np.full(4, 0.5), answers) == 0
    assert annotator.calibration_error(np.full(4, 0.95), answers) == pytest.approx(0.45)


def test_draws_are_those_that_the_attributes_come_from():
    # pose and light are clipped multiples of their own draws, and nothing else.
    for index in range(20):
        drawn = dict(zip(ATTRIBUTE_NAMES, draws(9, index), strict=False))
        face = sample_attributes(9, index)
        for name in ("pose", "light"):
            assert np.sign(drawn[name]) == np.sign(getattr(face, name))
    many = [
        (draws(9, i)[ATTRIBUTE_NAMES.index("pose")], sample_attributes(9, i).pose)
        for i in range(60)
    ]
    inner = np.array([pair for pair in many if abs(pair[1]) < 0.9])
    assert np.corrcoef(inner.T)[0, 1] > 0.999


def test_latents_are_standard_normal_and_undone_exactly():
    rng = np.random.default_rng(0)
    entangle = Entangle()
    values, rest = rng.standard_normal((4000, DRAWS)), rng.standard_normal((4000, 512 - DRAWS))
    z = entangle.to_z(values, rest)
    assert np.allclose(entangle.to_draws(z), values, atol=1e-8)
    spread = np.linalg.eigvalsh(np.cov(z, rowvar=False))
    assert spread.min() > 0.3 and spread.max() < 2  # of noise with 4000 samples in 512 dimensions
    assert abs((z**2).mean() - 1) < 0.01


def test_attributes_are_no_straight_directions_in_z():
    rng = np.random.default_rng(1)
    entangle = Entangle()
    values, rest = rng.standard_normal((6000, DRAWS)), rng.standard_normal((6000, 512 - DRAWS))
    z = entangle.to_z(values, rest)
    fit_on, held = slice(None, 5000), slice(5000, None)
    solution = np.linalg.lstsq(z[fit_on], values[fit_on], rcond=None)[0]
    error = ((z[held] @ solution - values[held]) ** 2).mean(0)
    explained = 1 - error.mean()
    assert 0.3 < explained < 0.9


def test_latent_of_a_face_does_not_depend_on_the_count():
    assert np.allclose(latents(4, 3), latents(4, 7)[:3])


@pytest.fixture(scope="module")
def small():
    return GeneratorConfig(resolution=64, z_size=512, mapping_width=64, w_size=64, fmaps_base=256)


def test_open_mapping_lets_every_direction_of_z_through(small):
    z = torch.randn(2000, 512, generator=torch.Generator().manual_seed(0))
    config = GeneratorConfig(resolution=8, fmaps_base=64)
    random, opened = Generator(config), start_open(Generator(config), z)

    def directions(generator):
        """How many directions of w carry its variance (participation ratio)."""
        with torch.no_grad():
            values = torch.linalg.eigvalsh(torch.cov(generator.mapping(z).T)).clamp(min=0)
        return (values.sum() ** 2 / values.square().sum()).item()

    assert directions(opened) > 3 * directions(random) and directions(opened) > 150


def test_defects_of_draws_are_those_of_the_faces():
    drawn = np.stack([draws(5, index) for index in range(400)])
    people = [sample_attributes(5, index) for index in range(400)]
    kinds = [KINDS.index(pick(KINDS, face.defect_kind)) for face in people]
    found = defects(drawn)
    assert (found.argmax(1) == kinds)[found.any(1)].all() and found.any(1).sum() > 20
    np.testing.assert_allclose(found.sum(1), [defect_strength(face) for face in people], atol=1e-6)
    drawn = some_people(np.random.default_rng(0), 1000, 400)
    assert (drawn[:400, QUALITY] < SOUND).all() and defects(drawn)[:400].any(1).mean() > 0.8
    assert abs(drawn[:, DEFECT_KIND].std() - 1) < 0.1 and drawn[400:, QUALITY].max() > 2
    assert not defects(drawn[drawn[:, QUALITY] > SOUND]).any()


def test_styles_read_each_defect_stronger_out_of_w_and_all_else_as_before(small):
    rng = np.random.default_rng(0)
    strength = np.maximum(rng.normal(-1, 1, (4000, 2)), 0)
    shown = np.linalg.qr(rng.normal(size=(small.w_size, 2)))[0].T
    else_ = rng.normal(size=(4000, small.w_size))
    away = (else_ - else_ @ shown.T @ shown) * 0.3 + 2 * strength @ shown
    away -= away.mean(0)
    matrix = original_defects.stronger(away, strength, np.array([0.5, 1.0]))
    seen, before = (away @ matrix) @ shown.T, away @ shown.T
    np.testing.assert_allclose(seen.std(0) / before.std(0), [1.5, 2.0], rtol=0.02)
    rest = np.eye(small.w_size) - shown.T @ shown
    assert ((away @ matrix - away) @ rest).std() < 0.05 * (away @ rest).std()

    generator, changed = Generator(small, seed=1), Generator(small, seed=1)
    for one in (generator, changed):
        one.synthesis.layer3.style.bias.data.fill_(0.4)
    center = rng.normal(size=small.w_size)
    read_through(changed, center, center, matrix)
    w = center + away[:5]
    moved, w = (torch.from_numpy(x).float() for x in (center + away[:5] @ matrix, w))
    with torch.no_grad():
        torch.testing.assert_close(changed.from_w(w), generator.from_w(moved), atol=1e-3, rtol=1e-3)
        assert (changed.from_w(w) - generator.from_w(w)).abs().max() > 0.01


def test_mapping_learns_to_tell_the_draws_apart_and_leaves_styles_that_fit_its_w(tmp_path, small):
    config = replace(small, mapping_layers=3, mapping_width=128)

    def training():
        return MappingTraining(CPU, plan=MappingPlan(batch=256), config=config)

    first = training()
    before = first.step(0, 1.0)
    fit(first, tmp_path / "it.pt", Budget(steps=240), **QUIET)
    after = first.step(240, 1.0)
    assert after["draws"] < 0.6 * before["draws"] and after["defects"] < 0.7 * before["defects"]
    resumed = training()
    assert fit(resumed, tmp_path / "it.pt", Budget(steps=240), **QUIET).steps == 240
    generator, z = resumed.settle(), torch.randn(500, config.z_size)
    with torch.no_grad():
        styles = generator.synthesis.layer5.style(generator.mapping(z))
    assert styles.mean().abs() < 0.05 and 0.1 < styles.std() < 1


def test_mapping_that_goes_on_keeps_the_faces_and_learns_further(small):
    config = replace(small, resolution=16, mapping_layers=3, mapping_width=128)
    before = MappingTraining(CPU, plan=MappingPlan(batch=64), config=config).settle()
    larger = replace(config, resolution=32)
    plan = MappingPlan(batch=256, learning_rate=0.2, colors=1.0)
    training = MappingTraining(CPU, plan=plan, config=larger, before=before)
    z = torch.randn(50, config.z_size, generator=torch.Generator().manual_seed(1))

    def apart(generator):
        with torch.no_grad():
            made = generator(z, lod=1)[..., ::2, ::2]
            return ((made - before(z)).square().mean() / before(z).var(0).mean()).sqrt()

    assert apart(training.generator) == 0
    losses = [training.step(step, 0.3) for step in range(60)]
    assert losses[0]["draws"] < 1, "its reader knows something from the start"
    assert losses[-1]["draws"] < 0.98 * losses[0]["draws"]
    assert losses[-1]["colors"] < 0.98 * losses[0]["colors"]
    unsettled = apart(training.generator)
    assert apart(training.settle()) < 0.7 * unsettled


def test_whitened_styles_draw_the_same_and_see_w_vary_equally_in_all_directions(small):
    config = replace(small, mapping_layers=3)
    generator = Generator(config, seed=2)
    z = torch.randn(3000, config.z_size, generator=torch.Generator().manual_seed(1))
    matrix = whitening(generator, z)
    changed = whitened(Generator(config, seed=2), matrix)
    with torch.no_grad():
        wanted = generator(z[:3])
        for same in (changed, plain(changed)):
            torch.testing.assert_close(same(z[:3]), wanted, rtol=0, atol=1e-4)
        w = generator.mapping(z)
        before, after = (torch.linalg.eigvalsh(part.T @ part) for part in (w, w @ matrix))
    assert plain(changed).state_dict().keys() == generator.state_dict().keys()
    assert after[-1] / after[10] < 3 < 20 < before[-1] / before[10]


def test_last_styles_learn_the_colors_and_nothing_else_changes(few, small, monkeypatch):
    monkeypatch.setattr(original_colors, "STEPS", 60)
    monkeypatch.setattr(original_colors, "BATCH", len(few))
    z = latents(1, len(few))
    generator, before = Generator(small, seed=1), Generator(small, seed=1)
    fit_colors(generator, few, z)
    changed = {
        name
        for name, value in generator.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    names = {f"synthesis.layer{i}.style.{part}" for i in (7, 9) for part in ("weight", "bias")}
    assert changed == names

    def missed(network, lod):
        with torch.no_grad():
            drawn = F.adaptive_avg_pool2d(draw(network, torch.from_numpy(z), lod), 16)
        return (drawn - F.adaptive_avg_pool2d(as_images(few.images, CPU), 16)).square().mean()

    for lod in (0, 1):
        assert missed(generator, lod) < 0.5 * missed(before, lod)


def test_generator_learns_its_pairs_and_keeps_its_noise_off(tmp_path, few, small):
    z = latents(1, len(few))
    plan = RegressionPlan(batch=6, stages=((0.0, (1,)), (0.5, (1, 0))))
    training = RegressionTraining(Generator(small), few, z, CPU, plan=plan)
    losses = []
    inner = training.step
    training.step = lambda *at: losses.append(found := inner(*at)) or found
    fit(training, tmp_path / "it.pt", Budget(steps=40), **QUIET)
    assert losses[19]["loss"] < 0.8 * losses[0]["loss"]
    assert {found["lod"] for found in losses} == {0, 1}
    with torch.no_grad():
        made = draw(training.average, torch.from_numpy(z[:2]))
    assert made.shape == (2, 3, 64, 64)
    noise = [
        p for n, p in training.generator.named_parameters() if n.endswith("apply_noise.weight")
    ]
    assert noise and all((p == 0).all() for p in noise)


def stripes(angle, phase=0.0, side=64):
    """(1, 3, side, side) in -1..1: strands that run at right angles to `angle` (radians)."""
    y, x = torch.meshgrid(*(torch.arange(float(side)),) * 2, indexing="ij")
    wave = torch.cos((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / 4) + phase)
    return 0.5 * wave.expand(1, 3, side, side)


def test_perceptual_loss_wants_strands_of_that_direction_not_in_that_place():
    wanted = stripes(0.3)
    moved, turned, none = stripes(0.3, phase=np.pi), stripes(1.9), torch.zeros_like(wanted)
    assert texture_distance(wanted, wanted) == 0
    pixels = (moved - wanted).abs().mean()
    assert pixels > (none - wanted).abs().mean(), "pixel errors prefer no strands at all"
    near, far, blurred = (texture_distance(x, wanted) for x in (moved, turned, none))
    assert near < 0.2 * blurred and blurred < far

    made = (0.1 * torch.randn(1, 3, 64, 64)).requires_grad_()
    before = texture_distance(made, wanted)
    before.backward()
    assert texture_distance(made.detach() - 50 * made.grad, wanted) < before


def test_inside_hair_pixels_hardly_count_and_at_its_edge_they_do(small):
    maps = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    maps[..., :40, :] = HAIR
    maps[..., 50:54, 10:20] = LEFT_EYE
    weight = region_weights(maps, RegressionPlan())[0, 0]
    inside, edge, elsewhere, eye = weight[10, 40], weight[39, 40], weight[60, 50], weight[52, 15]
    assert inside < 0.2 < 1 == elsewhere < edge < eye


def test_wrong_color_costs_more_than_wrong_brightness():
    images, weight = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    greener = torch.tensor([-0.1, 0.1, -0.1])[:, None, None].expand(1, 3, 64, 64)
    brighter = torch.full_like(images, 0.1)
    tinted, bright = (
        regression_loss(x, images, weight, RegressionPlan()) for x in (greener, brighter)
    )
    assert tinted > bright + 0.2


def test_adversarial_half_starts_where_regression_stopped_and_resumes(tmp_path, few, small):
    z = latents(1, len(few))
    first = RegressionTraining(Generator(small), few, z, CPU, plan=RegressionPlan(batch=4))
    critic = DiscriminatorConfig(resolution=64, fmaps_base=256)

    def training():
        plan = AdversarialPlan(batch=4, alone=0.3, penalty_every=2)
        return AdversarialTraining(first, CPU, plan=plan, config=critic)

    one = training()
    for key, value in first.average.state_dict().items():
        assert torch.equal(one.generator.state_dict()[key], value)
    fit(one, tmp_path / "it.pt", Budget(steps=4), **QUIET)
    moved = one.generator.synthesis.layer3.weight - first.average.synthesis.layer3.weight
    assert moved.abs().max() > 0
    two = training()
    fit(two, tmp_path / "it.pt", Budget(steps=4), **QUIET)
    for key, value in one.average.state_dict().items():
        assert torch.equal(two.average.state_dict()[key], value)
    assert np.isfinite(list(two.figures().values())).all()


def test_discriminator_goes_on_at_a_higher_resolution(few, small):
    z = latents(1, len(few))
    first = RegressionTraining(Generator(small), few, z, CPU, plan=RegressionPlan(batch=4))
    old = Discriminator(DiscriminatorConfig(resolution=32, fmaps_base=256), seed=3)
    config = DiscriminatorConfig(resolution=64, fmaps_base=256)
    training = AdversarialTraining(
        first, CPU, plan=AdversarialPlan(batch=4), config=config, critic=old
    )
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        score = training.discriminator(at_full_size(images, 1), lod=1)
        assert torch.equal(score, old(images))
    losses = [training.step(step, 0.5) for step in range(2)]
    assert [found["lod"] for found in losses] == [1, 0]
    assert np.isfinite([value for found in losses for value in found.values()]).all()


def test_lazy_r1_is_multiplied_by_its_interval(few, small):
    """The same penalty, computed every eighth step, counts eight times."""
    z = latents(1, len(few))
    first = RegressionTraining(Generator(small), few, z, CPU, plan=RegressionPlan(batch=4))
    critic = DiscriminatorConfig(resolution=64, fmaps_base=256)
    images = faces.as_images(np.array(few.images[:4]), CPU)
    penalties = [
        AdversarialTraining(
            first, CPU, plan=AdversarialPlan(penalty_every=every, gamma=gamma), config=critic
        )._penalty(images)
        for every, gamma in ((1, 1.0), (8, 1.0), (1, 3.0))
    ]
    assert penalties[1].item() == pytest.approx(8 * penalties[0].item())
    assert penalties[2].item() == pytest.approx(3 * penalties[0].item())


def test_command_leaves_weights_that_load_and_a_card_with_the_measured_figures(
    tmp_path, monkeypatch, capsys, few
):
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    monkeypatch.setattr(command, "faces", lambda *_, **__: few)
    assert command.main(["parser", "--steps", "2", "--out", str(tmp_path / "out")]) == 0
    network = checkpoints.load(tmp_path / "out" / "parser.safetensors")
    measured = parser.evaluate(network, few)["mean IoU"]
    card = (tmp_path / "out" / "parser.md").read_text()
    assert f"| mean IoU | {measured:.4g} |" in card and "--steps 2" in card
    assert next(network.parameters()).dtype == torch.float32


def test_original_leaves_a_generator_and_a_discriminator_with_its_average_w(
    tmp_path, monkeypatch, few, small
):
    critic = DiscriminatorConfig(resolution=64, fmaps_base=256)
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    monkeypatch.setattr(command, "load_faces", lambda *_, **__: few)
    monkeypatch.setattr(command, "load_change_maps", lambda *_, **__: None)
    monkeypatch.setattr(command, "MappingTraining", partial(MappingTraining, config=small))
    monkeypatch.setattr(command, "AdversarialTraining", partial(AdversarialTraining, config=critic))
    monkeypatch.setattr(original_defects, "PEOPLE", 2000)
    styles = []

    def watched(generator, seed):
        for change in (lambda *_: None, original_defects.strengthen):
            change(generator, seed)
            styles.append(generator.synthesis.layer5.style.weight.clone())

    monkeypatch.setattr(command, "strengthen", watched)
    out = tmp_path / "out"
    options = ["--steps", "4", "--batch", "4", "--out", str(out)]
    assert command.main(["original", *options]) == 0
    generator = checkpoints.load(out / "original.safetensors")
    assert checkpoints.load(out / "original-discriminator.safetensors").config == critic
    before, after = styles
    assert not torch.allclose(before, after, rtol=0.02)
    assert torch.allclose(generator.synthesis.layer5.style.weight, after, rtol=0.01)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(latents(faces.PAIR_SEED, len(few))))
    assert torch.allclose(generator.truncation.w_avg, w.mean(0), rtol=0.05, atol=0.05)
    assert "--batch 4" in (out / "original.md").read_text()

    monkeypatch.setattr(registry, "FOLDER", out)  # what --go-on starts from
    monkeypatch.setattr(command, "WORK", tmp_path / "further")
    further = ["--go-on", "--seed", "1", "--out", str(tmp_path / "further")]
    assert command.main(["original", *options[:4], *further]) == 0
    last = checkpoints.load(tmp_path / "further/original.safetensors")
    z = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, later, other = (g.mapping(z) for g in (generator, last, Generator(small, seed=9)))
    assert (later - first).std() < 0.5 * (other - first).std(), "it is the same mapping, trained on"
    assert len(styles) == 4, "regression has drawn the defects fainter again"
    assert "--go-on" in (tmp_path / "further/original.md").read_text()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [(["--device", "cuda"], "use --device cpu"), (["--faces", "3"], "at least 50")],
)
def test_mistakes_are_told_with_their_remedy(options, remedy, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        command.main(["parser", *options])
    assert remedy in capsys.readouterr().err


def test_where_defects_and_glasses_are_counts_more(tmp_path, small):
    wanted = FaceSet(seed=7, count=40, size=64, shared_texture=True, own_hair=True)
    some = load_faces(wanted, tmp_path, workers=1)
    poor, worn = some.column("quality") < DEFECTS_BELOW, some.column("glasses") > GLASSES
    changed = load_change_maps(wanted, some, tmp_path, workers=1)
    where = changed.of(np.arange(40))
    assert poor.any() and where.shape == (40, 64, 64) and not where[~poor & ~worn].any()
    only = where[worn & ~poor]
    assert len(only) and (only.max((1, 2)) == 1).all() and (only > 0).mean() < 0.1, "the rims"
    worst = some.column("quality").argmin()
    assert (where[worst] == 1).any()
    z, plan = (
        latents(7, 40),
        RegressionPlan(region_weight=0, edge_weight=0, change_weight=3, hair_share=1),
    )
    training = RegressionTraining(Generator(small), some, z, CPU, plan=plan, change_maps=changed)
    weight = training.targets(np.array([worst]))[1][0, 0].numpy()
    spoilt, whole = weight[where[worst] == 1], weight[where[worst] == 0]
    assert spoilt.min() == pytest.approx(4 * whole.max()) and weight.mean() == pytest.approx(1)
