"""The checker itself, on a small golden set made here: it misses nothing that differs."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from tests.reference.__main__ import main
from tests.reference.golden import normals, read_golden, seeded_network, thinned
from tests.reference.networks import check

CONFIG = DiscriminatorConfig(resolution=8, label_size=7, group_size=2, fmaps_base=32, fmaps_max=4)
NAME = "a_name_that_says_nothing"


def manifest_entry(key: str, tensor: torch.Tensor, seed: int) -> dict:
    """A manifest's entry for one tensor, made independently of the code under test."""
    entry = {"key": key, "shape": list(tensor.shape), "dtype": "float32"}
    words = np.random.SeedSequence([seed, zlib.crc32(key.encode())])
    drawn = np.random.Generator(np.random.PCG64(words)).standard_normal(tensor.shape)
    if key == "lod":
        entry |= {"kind": "constant", "offset": 0.0}
        values = np.zeros(tensor.shape)
    elif "blur" in key:
        entry |= {"kind": "blur_kernel"}
        values = tensor.numpy().astype(np.float64)
    else:
        entry |= {"kind": "normal", "scale": 0.5, "offset": 0.1}
        values = drawn * 0.5 + 0.1
    values = values.astype(np.float32)
    tensor.copy_(torch.from_numpy(values))
    total = float(values.sum(dtype=np.float64))
    return entry | {"check_first": float(values.flat[0]), "check_sum": total}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A golden set of one small discriminator with group size 2, which no shape shows."""
    network, seed = Discriminator(CONFIG).eval(), 7
    with torch.no_grad():
        entries = [manifest_entry(k, t, seed) for k, t in network.state_dict().items()]
        images = torch.from_numpy(normals(seed, "input:images", [4, 3, 8, 8]).astype(np.float32))
        label = torch.from_numpy(normals(seed, "input:label", [4, 7]).astype(np.float32))
        arrays = {
            "label": label.numpy(),
            "score_batch4": network(images, label).numpy(),
            "score_batch2_label_zero": network(images[:2], torch.zeros(2, 7)).numpy(),
            "score_batch4_lod0.5": network(images, label, lod=0.5).numpy(),
            "feat_layer0": network.layer0(network.input0(images))[:1, :2, ::2, ::2].numpy(),
        }
    drawn = {"kind": "normal", "scale": 1.0}
    manifest = {
        "seed": seed,
        "constructor": {"minibatch_std_group_size": 2},
        "state_dict": entries,
        "inputs": {
            "images": drawn | {"key": "input:images", "shape": [4, 3, 8, 8]},
            "label": drawn | {"key": "input:label", "shape": [4, 7]},
        },
        "arrays": {name: {"shape": list(array.shape)} for name, array in arrays.items()},
    }
    rewrite(tmp_path, manifest, arrays)
    (tmp_path / "README.md").write_text("what it is")
    return tmp_path


def rewrite(folder: Path, manifest: dict | None = None, arrays: dict | None = None) -> None:
    if manifest is not None:
        (folder / f"{NAME}.manifest.json").write_text(json.dumps(manifest))
    if arrays is not None:
        np.savez(folder / f"{NAME}.golden.npz", **arrays)


def stored(folder: Path) -> tuple[dict, dict]:
    golden = read_golden(folder, NAME)
    return golden.manifest, golden.arrays


def table(folder: Path, capsys) -> tuple[int, str]:
    status = main([str(folder)])
    return status, capsys.readouterr().out


def test_a_network_that_agrees_passes_and_every_array_is_a_line(folder, capsys):
    status, printed = table(folder, capsys)
    assert status == 0
    assert "5 of 5 agree" in printed
    for name in stored(folder)[1]:
        assert f" {name} " in printed


def test_the_table_names_tensor_difference_and_tolerance(folder, capsys):
    manifest, arrays = stored(folder)
    arrays["score_batch4"] = arrays["score_batch4"] + np.float32(0.125)
    rewrite(folder, manifest, arrays)
    status, printed = table(folder, capsys)
    (line,) = [line for line in printed.splitlines() if "MISMATCH" in line and "score" in line]
    assert line.split() == [NAME, "score_batch4", "0.125", "1e-05", "MISMATCH"]
    assert status == 1


def test_a_single_differing_value_is_a_mismatch(folder, capsys):
    manifest, arrays = stored(folder)
    arrays["feat_layer0"][0, 1, 2, 3] += 2e-4
    rewrite(folder, manifest, arrays)
    assert table(folder, capsys)[0] == 1


def test_nan_is_a_mismatch(folder, capsys):
    manifest, arrays = stored(folder)
    arrays["score_batch4"][0] = np.nan
    rewrite(folder, manifest, arrays)
    assert table(folder, capsys)[0] == 1


@pytest.mark.parametrize("listed", [True, False])
def test_a_stored_array_that_nothing_is_compared_with_is_a_mismatch(folder, capsys, listed):
    manifest, arrays = stored(folder)
    arrays["aura"] = np.zeros(3)
    if listed:
        manifest["arrays"]["aura"] = {"shape": [3]}
    rewrite(folder, manifest, arrays)
    status, printed = table(folder, capsys)
    assert status == 1
    assert "not compared" in printed


def test_a_listed_array_that_is_not_stored_is_a_mismatch(folder, capsys):
    manifest, arrays = stored(folder)
    del arrays["feat_layer0"]
    rewrite(folder, manifest, arrays)
    status, printed = table(folder, capsys)
    assert status == 1
    assert "feat_layer0" in printed


def test_a_file_that_belongs_to_no_set_is_a_mismatch(folder, capsys):
    (folder / "more_images.npz").write_bytes(b"?")
    status, printed = table(folder, capsys)
    assert status == 1
    assert "more_images.npz" in printed


@pytest.mark.parametrize("ending", [".manifest.json", ".golden.npz"])
def test_half_a_set_is_a_mismatch(folder, capsys, ending):
    (folder / f"{NAME}{ending}").rename(folder / f"other{ending}")
    assert table(folder, capsys)[0] == 1


def test_an_empty_folder_is_a_mismatch_and_a_missing_one_is_told(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "gone")]) == 1
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".manifest.json", ".golden.npz"])
def test_a_damaged_file_is_a_mismatch(folder, capsys, ending):
    path = folder / f"{NAME}{ending}"
    path.write_bytes(path.read_bytes()[:200])
    status, printed = table(folder, capsys)
    assert status == 1
    assert "cannot be read" in printed


def test_a_network_that_we_do_not_know_is_a_mismatch(folder, capsys):
    manifest, arrays = stored(folder)
    manifest["state_dict"] = [manifest["state_dict"][1] | {"key": "gate.weight"}]
    rewrite(folder, manifest, arrays)
    status, printed = table(folder, capsys)
    assert status == 1
    assert "no known network" in printed


def test_weights_of_another_recipe_are_a_mismatch_by_their_check_sums(folder, capsys):
    manifest, arrays = stored(folder)
    manifest["state_dict"][5]["check_sum"] += 0.01
    rewrite(folder, manifest, arrays)
    status, printed = table(folder, capsys)
    assert status == 1
    assert f"'{manifest['state_dict'][5]['key']}' differs from its check sums" in printed


def test_keys_in_another_order_are_a_mismatch(folder, capsys):
    manifest, arrays = stored(folder)
    manifest["state_dict"].reverse()
    rewrite(folder, manifest, arrays)
    assert table(folder, capsys)[0] == 1


def test_one_broken_set_hides_nothing_of_the_others(folder):
    for ending in (".manifest.json", ".golden.npz"):
        content = (folder / f"{NAME}{ending}").read_bytes()
        (folder / f"again{ending}").write_bytes(content)
    (folder / "again.golden.npz").write_bytes(b"no zip")
    with torch.no_grad():
        rows = list(check(folder))
    assert {row.golden for row in rows if not row.passed} == {"again"}
    assert {row.golden for row in rows if row.passed} == {NAME}


def test_a_thinned_image_gradient_is_compared_with_the_same_pixels(folder, capsys):
    manifest, arrays = stored(folder)
    network = seeded_network(read_golden(folder, NAME))
    images = torch.from_numpy(normals(7, "input:images", [4, 3, 8, 8]).astype(np.float32))
    label = torch.from_numpy(normals(7, "input:label", [4, 7]).astype(np.float32))
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(network(images, label).sum(), images)
    arrays["score_sum_image_grad_batch4"] = gradient[:2, :, ::4, ::4].numpy()
    rewrite(folder, manifest, arrays)
    assert table(folder, capsys)[0] == 0
    arrays["score_sum_image_grad_batch4"] = gradient[:2, :, 1::4, ::4].numpy()
    rewrite(folder, manifest, arrays)
    assert table(folder, capsys)[0] == 1


def test_what_no_shape_shows_is_read_from_the_constructor(folder):
    assert seeded_network(read_golden(folder, NAME)).config == CONFIG


def test_the_recipe_is_the_published_one():
    # check_first of FaceXFormer's first weight in the published set (seed 100108, scale 0.144338)
    first = normals(100108, "backbone.0.0.0.weight", [4])[0] * 0.144338
    assert np.float32(first) == np.float32(0.07867474108934402)


def test_thinned_takes_first_images_and_channels_and_every_kth_pixel():
    whole = np.arange(2 * 6 * 8 * 8).reshape(2, 6, 8, 8)
    assert np.array_equal(thinned(whole, (1, 3, 4, 4)), whole[:1, :3, ::2, ::2])
    assert np.array_equal(thinned(whole, (3, 8, 8)), whole[0, :3])
    assert np.array_equal(thinned(np.arange(9), (4,)), np.arange(4))
