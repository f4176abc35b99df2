"""OhLora: from an import to an image in two lines, in a checkout or in an installed package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ohlora_lib
from ohlora_lib import checkpoints
from ohlora_lib.models.stylegan import Generator, GeneratorConfig, to_uint8
from ohlora_lib.steering import ohlora
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.method import Method, Start
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ohlora import EMBEDDED_FACES, OhLora, linear_fit, steered_w, write_faces
from ohlora_lib.steering.responses import REQUESTS
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.store import StoreError
from tests.installed import copied_package, printed


@pytest.fixture
def faces(tmp_path):
    """A file of selected faces, the fine-tuned generator, and the arrays that were written."""
    config = GeneratorConfig(16, 16, 16, fmaps_base=64, fmaps_max=8)
    base = Generator(config, seed=1)
    checkpoints.save(base, tmp_path / "base.safetensors")
    with torch.no_grad():
        base.synthesis.layer1.weight.mul_(1.5)
        base.mapping.dense0.weight.mul_(2)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 16)).astype(np.float32)
    directions = rng.standard_normal((3, 3, 16)).astype(np.float32)
    path = tmp_path / "oh_lora.safetensors"
    write_faces(path, base, w, directions, str(tmp_path / "base.safetensors"))
    return path, base, w, directions


def test_the_image_is_that_of_the_steered_w(faces):
    path, generator, w, directions = faces
    picture = OhLora.load(path).image(eyes=1.2, mouth=0.9, pose=-0.6, face=2)
    steered = w[2] + np.float32([1.2, 0.9, -0.6]) @ directions[2]
    with torch.inference_mode():
        wanted = to_uint8(generator.eval().from_w(torch.tensor(steered[None])))[0]
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.asarray(picture), wanted)


def test_only_changed_weights_are_written(faces):
    from safetensors import safe_open

    with safe_open(faces[0], "pt") as file:
        assert set(file.keys()) == {"w", "arrows", "synthesis.layer1.weight"}


class OnGpu:
    """A tensor whose values are readable only after .cpu()."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.shape = tensor.shape

    def cpu(self):
        return self.tensor


def test_a_generator_on_a_gpu_is_written_like_one_on_the_cpu(faces, monkeypatch):
    path, generator, w, directions = faces
    base = str(path.with_name("base.safetensors"))
    there = {name: OnGpu(tensor) for name, tensor in generator.state_dict().items()}
    monkeypatch.setattr(generator, "state_dict", lambda: there)
    write_faces(path.with_name("gpu.safetensors"), generator, w, directions, base)
    drawn = OhLora.load(path.with_name("gpu.safetensors")).image(face=1)
    assert np.array_equal(np.asarray(drawn), np.asarray(OhLora.load(path).image(face=1)))


def test_linear_steering_is_recovered_exactly(faces):
    _, _, w, directions = faces
    followed = w[:, None] + np.einsum("lp,kpd->kld", REQUESTS, directions)
    found_w, found_directions, bend = linear_fit(followed, REQUESTS)
    assert np.allclose(found_w, w, atol=1e-5) and np.allclose(
        found_directions, directions, atol=1e-5
    )
    assert bend < 1e-5


def test_the_residual_of_a_nonlinear_steering_is_relative_to_its_movement(faces):
    """One axis of w is linear in pose, another quadratic: R² is known."""
    pose = REQUESTS[:, 2]
    square = np.square(pose + 0.6)  # symmetric around -0.6: uncorrelated with pose
    followed = np.stack([pose, square], axis=1)[None]
    _, directions, error = linear_fit(followed, REQUESTS)
    assert np.allclose(directions[0], [[0, 0], [0, 0], [1, 0]], atol=1e-5)
    assert error == pytest.approx(np.sqrt(square.var() / (square.var() + pose.var())), rel=1e-4)


@pytest.mark.parametrize("layer", ["mapping_split1", "mapping_split2"])
def test_steering_before_w_is_fitted_over_all_levels(layer):
    """From mapping_split2 to w the mapping is a sum, so the fit is exact; before that it is a least
    squares fit, closer over the fifty levels than the secants of single units."""
    config = GeneratorConfig(16, fmaps_base=128, fmaps_max=16, label_size=7, split_size=32)
    sampler = Sampler(Generator(config, seed=2).eval())
    vectors = sampler.vectors(latents(1, range(4), sampler.z_size), layer)
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((1, 3, vectors.shape[1])).astype(np.float32) * vectors.std()
    method = Method(MethodSpec("svm all"), LinearDirections(steps), layer)
    drawn = steered_w(sampler, method, Start(vectors, vectors, None), REQUESTS)
    assert drawn.shape == (4, 50, config.w_size)
    w, directions, error = linear_fit(drawn, REQUESTS)
    middle = sampler.to_w(vectors, layer)
    units = np.stack([sampler.to_w(vectors + step, layer) for step in steps[0]])
    if layer == "mapping_split2":
        assert error < 1e-4
        assert np.allclose(directions, (units - middle).swapaxes(0, 1), atol=1e-4)
    else:
        secants = middle[:, None] + np.einsum("lp,pkd->kld", REQUESTS, units - middle)
        fitted = w[:, None] + REQUESTS @ directions
        assert np.square(fitted - drawn).mean() < 0.9 * np.square(secants - drawn).mean()
        assert error > 0.01


def test_a_changed_base_is_rejected(faces, tmp_path):
    base = checkpoints.load(tmp_path / "base.safetensors")
    with torch.no_grad():
        base.synthesis.layer3.style.weight.mul_(1.01)
    checkpoints.save(base, tmp_path / "base.safetensors")
    with pytest.raises(StoreError, match=r"another version of its base .*base.safetensors.* run "):
        OhLora.load(faces[0])


def test_a_strip_varies_one_property_and_fixes_the_others(faces):
    face = OhLora.load(faces[0])
    strip = np.asarray(face.strip("mouth", levels=[-1, 0, 2], face=1, pose=0.5))
    assert strip.shape == (16, 48, 3)
    assert np.array_equal(strip[:, 32:], np.asarray(face.image(mouth=2, pose=0.5, face=1)))
    assert np.asarray(face.strip(name="eyes")).shape[1] == 5 * 16


def test_a_page_has_the_first_faces_and_their_images(faces, tmp_path):
    levels = dict.fromkeys(("eyes", "mouth", "pose"), (-1, 0, 1))
    face = OhLora.load(faces[0])
    _, sizes = face.export_page(tmp_path / "page.html", levels=levels)
    assert len(sizes) == len(face) and "page.html" in [p.name for p in tmp_path.iterdir()]
    with pytest.raises(VectorError, match="face 7: must be from 0 to 2"):
        face.export_page(tmp_path / "other.html", faces=[0, 7])
    assert not (tmp_path / "other.html").exists()


def test_errors_name_the_wrong_argument(faces):
    face = OhLora.load(faces[0])
    with pytest.raises(VectorError, match="face 3: must be from 0 to 2"):
        face.image(face=3)
    with pytest.raises(VectorError, match="finite"):
        face.image(eyes=float("nan"))
    with pytest.raises(VectorError, match="'smile'"):
        face.strip(name="smile")
    with pytest.raises(VectorError, match="'eyes'"):
        face.strip(name="eyes", eyes=1.0)


def test_without_faces_the_error_states_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(ohlora, "RUN_FACES", (tmp_path / "none",))
    monkeypatch.setattr(ohlora, "EMBEDDED_FACES", tmp_path / "neither")
    with pytest.raises(StoreError, match="run_all"):
        ohlora_lib.OhLora.load()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no")
    with pytest.raises(StoreError, match="is not a file of selected faces"):
        OhLora.load(broken)


def test_torch_is_imported_only_on_first_use():
    code = "import ohlora_lib, sys; assert 'torch' not in sys.modules; ohlora_lib.OhLora"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="OhLara"):
        ohlora_lib.OhLara  # noqa: B018


def test_embedded_faces_follow_eyes_mouth_and_pose():
    lora = OhLora.load(EMBEDDED_FACES)
    annotator = checkpoints.load("annotator")
    for name in ("eyes", "mouth", "pose"):
        strip = np.asarray(lora.strip(name))
        seen = annotator.annotate(np.stack(np.split(strip, 5, axis=1))).attributes[name]
        assert (np.diff(seen) > 0).all(), name


def test_the_repr_is_short_and_names_the_file(faces):
    lora = OhLora.load(faces[0])
    assert repr(lora) == str(lora) == f"OhLora(3 faces, 16x16, from {faces[0]})"


def test_the_installed_package_needs_no_checkout(tmp_path):
    """Its embedded faces are used."""
    package = copied_package(tmp_path, "annotator.safetensors", "parser.safetensors")
    code = (
        "import ohlora_lib; lora = ohlora_lib.OhLora.load(); print(lora)\n"
        "print(lora.image(mouth=1.0).size)"
    )
    embedded = package / "weights" / "oh_lora.safetensors"
    count = len(OhLora.load(embedded))
    found = printed(package, code)
    assert found == f"OhLora({count} faces, 256x256, from {embedded})\n(256, 256)\n"


def test_embedded_weights_are_package_data():
    """What pip installs: pyproject's globs match every embedded file that loading needs."""
    import tomllib

    root = Path(ohlora_lib.__file__).parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    globs = settings["package-data"]["ohlora_lib"]
    package = root / "ohlora_lib"
    included = {path for pattern in globs for path in package.glob(pattern)}
    assert set((package / "weights").glob("*.safetensors")) <= included
