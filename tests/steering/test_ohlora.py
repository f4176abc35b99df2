"""The face for people: two lines from an import to a picture."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import ohlora_lib
from ohlora_lib.checkpoints import registry as weights
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import ohlora
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.ohlora import EMBEDDED, OhLora, straightened, write_faces
from ohlora_lib.steering.responses import LEVELS
from ohlora_lib.store import StoreError


@pytest.fixture
def left(tmp_path):
    """What notebook 09 leaves, beside the generator that the base was fine-tuned into."""
    config = GeneratorConfig(16, 16, 16, fmaps_base=64, fmaps_max=8)
    base = Generator(config, seed=1)
    weights.save(base, tmp_path / "base.safetensors")
    with torch.no_grad():
        base.synthesis.layer1.weight.mul_(1.5)
        base.mapping.dense0.weight.mul_(2)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 16)).astype(np.float32)
    arrows = rng.standard_normal((3, 3, 16)).astype(np.float32)
    path = tmp_path / "oh_lora.safetensors"
    write_faces(path, base, w, arrows, str(tmp_path / "base.safetensors"))
    return path, base, w, arrows


def test_the_picture_is_the_steered_latents(left):
    path, generator, w, arrows = left
    picture = OhLora.load(path).image(eyes=1.2, mouth=0.9, pose=-0.6, face=2)
    steered = w[2] + np.float32([1.2, 0.9, -0.6]) @ arrows[2]
    with torch.inference_mode():
        wanted = ohlora.to_uint8(generator.eval().from_w(torch.tensor(steered[None])))[0]
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.asarray(picture), wanted)


def test_only_what_fine_tuning_changed_is_kept(left):
    from safetensors import safe_open

    with safe_open(left[0], "pt") as file:
        assert set(file.keys()) == {"w", "arrows", "synthesis.layer1.weight"}


class OnGpu:
    """A tensor that nothing on the CPU can read before it is brought there."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.shape = tensor.shape

    def cpu(self):
        return self.tensor


def test_faces_of_a_generator_on_a_gpu_are_written_as_those_of_one_on_the_cpu(left, monkeypatch):
    path, generator, w, arrows = left
    base = str(path.with_name("base.safetensors"))
    there = {name: OnGpu(tensor) for name, tensor in generator.state_dict().items()}
    monkeypatch.setattr(generator, "state_dict", lambda: there)
    write_faces(path.with_name("gpu.safetensors"), generator, w, arrows, base)
    drawn = OhLora.load(path.with_name("gpu.safetensors")).image(face=1)
    assert np.array_equal(np.asarray(drawn), np.asarray(OhLora.load(path).image(face=1)))


def test_what_is_straight_in_w_stays_as_it_is(left):
    _, _, w, arrows = left
    followed = w[:, None] + np.einsum("lp,kpd->kld", LEVELS, arrows)
    found_w, found_arrows, bend = straightened(followed, LEVELS)
    assert np.allclose(found_w, w, atol=1e-5) and np.allclose(found_arrows, arrows, atol=1e-5)
    assert bend < 1e-5


def test_what_bends_in_w_is_told_as_a_share_of_the_movement(left):
    """Along one axis w goes with pose, along another with its square: R² is known."""
    pose = LEVELS[:, 2]
    square = np.square(pose + 0.6)  # the levels lie evenly around -0.6: no line follows it
    followed = np.stack([pose, square], axis=1)[None]
    _, arrows, bend = straightened(followed, LEVELS)
    assert np.allclose(arrows[0], [[0, 0], [0, 0], [1, 0]], atol=1e-5)
    assert bend == pytest.approx(np.sqrt(square.var() / (square.var() + pose.var())), rel=1e-4)


def test_faces_of_another_base_are_refused(left, tmp_path):
    base = weights.load(tmp_path / "base.safetensors")
    with torch.no_grad():
        base.synthesis.layer3.style.weight.mul_(1.01)
    weights.save(base, tmp_path / "base.safetensors")
    with pytest.raises(StoreError, match=r"another .*base.safetensors than is there now.* run "):
        OhLora.load(left[0])


def test_a_strip_rises_from_left_to_right_and_holds_the_rest(left):
    face = OhLora.load(left[0])
    strip = np.asarray(face.strip("mouth", levels=[-1, 0, 2], face=1, pose=0.5))
    assert strip.shape == (16, 48, 3)
    assert np.array_equal(strip[:, 32:], np.asarray(face.image(mouth=2, pose=0.5, face=1)))
    assert np.asarray(face.strip(name="eyes")).shape[1] == 5 * 16


def test_mistakes_are_told_in_words(left):
    face = OhLora.load(left[0])
    with pytest.raises(VectorError, match="there are 3"):
        face.image(face=3)
    with pytest.raises(VectorError, match="finite"):
        face.image(eyes=float("nan"))
    with pytest.raises(VectorError, match="'smile'"):
        face.strip(name="smile")
    with pytest.raises(VectorError, match="'eyes'"):
        face.strip(name="eyes", eyes=1.0)


def test_without_faces_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(ohlora, "MADE", (tmp_path / "none",))
    monkeypatch.setattr(ohlora, "EMBEDDED", tmp_path / "neither")
    with pytest.raises(StoreError, match="run_all"):
        ohlora_lib.OhLora.load()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no")
    with pytest.raises(StoreError, match="holds no chosen faces"):
        OhLora.load(broken)


def test_the_name_is_loaded_only_when_asked_for():
    code = "import ohlora_lib, sys; assert 'torch' not in sys.modules; ohlora_lib.OhLora"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="OhLara"):
        ohlora_lib.OhLara  # noqa: B018


def test_embedded_faces_open_their_mouths_and_eyes_when_asked():
    lora = OhLora.load(EMBEDDED)
    annotator = weights.load("annotator")
    for name in ("eyes", "mouth", "pose"):
        strip = np.asarray(lora.strip(name))
        seen = annotator.annotate(np.stack(np.split(strip, 5, axis=1))).attributes[name]
        assert (np.diff(seen) > 0).all(), name
