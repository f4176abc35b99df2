"""The training of the embedded NVAE: women with true conditions; shipped at any checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from ohlora_lib import checkpoints
from ohlora_lib.models.nvae import CONDITIONS, SMOKE
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, FEMALE
from ohlora_lib.toyworld.face_sets import Faces
from ohlora_lib.train.nvae import ConditionedFaces
from ohlora_lib.train.toy import __main__ as command
from ohlora_lib.train.toy import nvae

FIGURES = ("bits per dimension (bound)", "PSNR of reconstructions", "frechet ratio")


@pytest.fixture(scope="module")
def some():
    """Images that say nothing about their attributes; two thirds are women."""
    rng = np.random.default_rng(0)
    attributes = rng.random((24, len(ATTRIBUTE_NAMES))).astype(np.float32)
    attributes[:, ATTRIBUTE_NAMES.index("gender")] = np.where(np.arange(24) % 3, 0.9, 0.1)
    images = rng.integers(0, 256, (24, 64, 64, 3), np.uint8)
    return Faces(images, np.zeros((24, 64, 64), np.uint8), attributes, "some")


@pytest.fixture
def run(some, tmp_path, monkeypatch):
    """Runs the command with a small network on these faces."""
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    monkeypatch.setattr(command, "faces", lambda *_, **__: some)
    monkeypatch.setattr(command, "QUICK", replace(SMOKE, channels=4, max_channels=8))
    monkeypatch.setattr(nvae, "evaluate", lambda *_: dict.fromkeys(FIGURES, 1.0))

    def run(*options):
        return command.main(["nvae", "--batch", "4", "--out", str(tmp_path / "out"), *options])

    return run


def test_it_learns_women_with_their_true_conditions(some):
    found = nvae.women(some)
    assert len(found.images) == (some.column("gender") > FEMALE).sum() == 16
    rows = np.flatnonzero(np.arange(24) % 3)
    np.testing.assert_array_equal(found.images, some.images[rows])
    dark, head = (found.conditions[:, CONDITIONS.index(name)] for name in ("hair_color", "head"))
    np.testing.assert_allclose(dark, 1 - some.column("hair_color")[rows], atol=1e-6)
    np.testing.assert_allclose(head, 0.5 - some.column("pose")[rows] / 2, atol=1e-6)


def test_weights_can_be_shipped_before_the_training_ends(run, tmp_path):
    assert run("--steps", "2") == 0
    card = (tmp_path / "out" / "nvae.md").read_text()
    assert "2 steps" in card and "16 rendered faces (women of some)" in card
    weights = tmp_path / "out" / "nvae.safetensors"
    whole = load_file(weights)
    weights.unlink()
    checkpoint = tmp_path / "work" / "nvae-0.pt"
    before = checkpoint.stat().st_mtime_ns
    assert run("--steps", "90", "--ship") == 0
    again = load_file(weights)
    assert again.keys() == whole.keys() and all(again[key].equal(whole[key]) for key in whole)
    assert checkpoint.stat().st_mtime_ns == before
    card = (tmp_path / "out" / "nvae.md").read_text()
    assert "--steps 90" in card and "--ship`: 2 steps" in card


def test_nothing_is_shipped_without_a_checkpoint(run):
    with pytest.raises(SystemExit, match="holds no such training"):
        run("--ship")


def test_training_goes_on_from_the_embedded_weights(run, tmp_path, monkeypatch):
    run("--steps", "1")
    (tmp_path / "work" / "nvae-0.pt").unlink()
    first = checkpoints.load(tmp_path / "out" / "nvae.safetensors")
    started = []
    training = command.NVAETraining
    monkeypatch.setattr(command.checkpoints, "load", lambda name: first)
    monkeypatch.setattr(
        command, "NVAETraining", lambda *a: started.append((a[0], a[2], a[5])) or training(*a)
    )
    monkeypatch.setattr(nvae, "MEASURE_STEPS", 1)
    run("--steps", "1", "--go-on")
    network, plan, measure = started[0]
    assert network is first and plan.beta_warm_up == 0 and plan.batch == 4 and plan.swap > 0
    assert not measure.training and not any(p.requires_grad for p in measure.parameters())
    assert (tmp_path / "work" / "nvae-measure-0.pt").exists()
    assert "--go-on" in (tmp_path / "out" / "nvae.md").read_text()


def test_conditions_of_the_swap_loss_are_measured_in_blurred_and_mirrored_faces_too():
    rng = np.random.default_rng(0)
    right = rng.random(64)
    images = np.zeros((64, 64, 64, 3), np.uint8)
    images[:, :, :32] = ((1 - right) * 255)[:, None, None, None]
    images[:, :, 32:] = (right * 255)[:, None, None, None]
    conditions = np.full((64, 5), 0.5, np.float32)
    conditions[:, nvae.HEAD] = right
    training = nvae.MeasureTraining(ConditionedFaces(images, conditions, "halves"), 0, batch=32)
    for step in range(60):
        training.step(step, step / 60)
    found = training.measure().measure(images[:, :, ::-1].copy())
    assert np.corrcoef(found[:, nvae.HEAD], 1 - right)[0, 1] > 0.7


def test_figures_of_a_network_on_held_out_women(some):
    from ohlora_lib.models.annotator import Annotator, AnnotatorConfig
    from ohlora_lib.models.nvae import NVAE

    annotator = Annotator(AnnotatorConfig(("eyes", "mouth", "hair_color", "background_mean",
                                           "pose"), resolution=32, widths=(8, 8), close_widths=(8,),
                                          features=4))  # fmt: skip
    network = NVAE(replace(SMOKE, channels=4, max_channels=8)).eval()
    found = nvae.evaluate(network, annotator, nvae.women(some))
    assert set(FIGURES) <= set(found)
    own, wrong = found["bits per dimension (bound)"], found["the same, conditions shuffled"]
    assert own == pytest.approx(wrong, abs=1e-4)  # a new network ignores its condition
    assert found["fraction of latent channels with a KL above 0.1"] <= 1
