"""`NvaeFaces`: one line from conditions to a face."""

from dataclasses import replace

import numpy as np
import pytest

from ohlora_lib import NvaeFaces
from ohlora_lib.checkpoints import WeightsError, save
from ohlora_lib.gai_p3 import faces
from ohlora_lib.models.nvae import NVAE
from ohlora_lib.store import StoreError
from tests.gai_p3.networks import TINY, judge, trained_nvae
from tests.installed import copied_package, printed


@pytest.fixture(scope="module")
def drawn():
    return NvaeFaces(trained_nvae())


def test_a_seed_and_conditions_are_a_face(drawn):
    image = drawn.image(eyes=0.9, mouth=0.1, hair_color=0.2, background=0.8, head=0.3, seed=7)
    assert image.size == (32, 32) and image.mode == "RGB"
    same = drawn.images([(0.9, 0.1, 0.2, 0.8, 0.3)] * 2, [7, 8])
    assert np.abs(same[0].astype(int) - np.asarray(image)).max() <= 1
    assert (same[0] != same[1]).any()
    other = drawn.image(eyes=0.1, mouth=0.1, hair_color=0.2, background=0.8, head=0.3, seed=7)
    assert (np.asarray(other) != np.asarray(image)).any()


def test_strip_varies_one_condition(drawn):
    strip = np.asarray(drawn.strip("mouth", [0, 0.5, 1], seed=3, eyes=0.2))
    assert strip.shape == (32, 96, 3)
    middle = np.asarray(drawn.image(eyes=0.2, mouth=0.5, seed=3))
    assert np.abs(strip[:, 32:64].astype(int) - middle).max() <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eyes": 1.2}, "eyes 1.2: must be from 0 to 1"),
        ({"head": -0.1}, "head -0.1: must be from 0 to 1"),
        ({"mouth": float("nan")}, "mouth nan: must be from 0 to 1"),
        ({"seed": -1}, "seed -1: must be a whole number"),
        ({"seed": 0.5}, "seed 0.5: must be a whole number"),
        ({"temperature": float("nan")}, "temperature nan: must be from 0 to 2"),
    ],
)
def test_impossible_requests_get_one_line(drawn, given, message):
    with pytest.raises(ValueError, match=message) as caught:
        drawn.image(**given)
    assert "\n" not in str(caught.value)


def test_wrong_shapes_and_names_get_one_line(drawn):
    with pytest.raises(ValueError, match=r"conditions are \(1, 4\) for 1 seeds: must be \(1, 5\)"):
        drawn.images([[0.5] * 4], [0])
    with pytest.raises(ValueError, match=r"\(2, 5\) for 1 seeds"):
        drawn.images([[0.5] * 5] * 2, [0])
    with pytest.raises(ValueError, match="no condition 'smile': choose from eyes, mouth"):
        drawn.strip("smile")
    with pytest.raises(ValueError, match="cannot fix 'eyes'"):
        drawn.strip(name="eyes", levels=[0.5], eyes=0.1)


def test_load_prefers_a_run_and_says_what_it_loaded(tmp_path, monkeypatch):
    run, embedded = tmp_path / "run" / "nvae.safetensors", tmp_path / "nvae.safetensors"
    monkeypatch.setattr(faces, "RUN_NETWORKS", (run,))
    monkeypatch.setattr(faces, "EMBEDDED_NETWORK", embedded)
    with pytest.raises(StoreError, match=r"run \./run_all.sh gai_p3"):
        NvaeFaces.load()
    save(trained_nvae(), embedded)
    names = "eyes, mouth, hair_color, background, head"
    assert repr(NvaeFaces.load()) == f"NvaeFaces(32x32, {names}, from {embedded})"
    run.parent.mkdir()
    save(trained_nvae(), run)
    assert NvaeFaces.load().source == str(run)
    assert NvaeFaces.load(embedded).source == str(embedded)


def test_foreign_files_get_one_line(tmp_path):
    save(judge(), tmp_path / "judge.safetensors")
    with pytest.raises(StoreError, match=r"judge\.safetensors is not an NVAE with the conditions"):
        NvaeFaces.load(tmp_path / "judge.safetensors")
    save(NVAE(replace(TINY, conditions=())), tmp_path / "plain.safetensors")
    with pytest.raises(StoreError, match=r"plain\.safetensors is not an NVAE with the conditions"):
        NvaeFaces.load(tmp_path / "plain.safetensors")
    (tmp_path / "page.safetensors").write_text("<!doctype html>")
    with pytest.raises(WeightsError, match="web page"):
        NvaeFaces.load(tmp_path / "page.safetensors")


def test_the_installed_package_needs_no_checkout(tmp_path):
    """Its embedded network is used."""
    package = copied_package(tmp_path, "*.safetensors")
    embedded = package / "weights" / "nvae.safetensors"
    save(trained_nvae(), embedded)
    code = (
        "from ohlora_lib import NvaeFaces; faces = NvaeFaces.load(); print(faces)\n"
        "print(faces.image(eyes=.9, mouth=.1, hair_color=.2, background=.8, head=.3, seed=7).size)"
    )
    names = "eyes, mouth, hair_color, background, head"
    found = printed(package, code)
    assert found == f"NvaeFaces(32x32, {names}, from {embedded})\n(32, 32)\n"
