"""Images of GAI-P3: counts, brightness variants, corrected conditions, photographs."""

import cv2
import numpy as np
import pandas as pd
import pytest

from ohlora_lib.faces.classes import BACKGROUND, HAIR
from ohlora_lib.gai_p3 import collect
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.store import StoreError


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    counts = {"female": 8, "male": 5, "unlabeled": 6}
    return collect.collect_rendered(tmp_path_factory.mktemp("faces"), counts, 64)


def test_counts_and_kinds(rendered):
    table, images = rendered[0].table, rendered[0].images
    assert images.shape == (38, 64, 64, 3) and len(table) == 38
    originals = table[table["ratio"] == 1]
    assert originals["kind"].value_counts().to_dict() == {"female": 8, "unlabeled": 6, "male": 5}
    labeled = originals[originals["kind"] != "unlabeled"]
    assert ((labeled["kind"] == "female") == labeled["female"]).all()
    assert table["name"].is_unique


def test_every_original_has_one_variant_by_the_rule(rendered):
    table, images = rendered[0].table, rendered[0].images
    variants = table[table["ratio"] != 1]
    assert sorted(variants["source"]) == list(range(19))
    assert set(variants["ratio"][:12]) == set(collect.RATIOS)
    for row in variants.itertuples():
        changed = collect.change_brightness(images[[row.source]], [row.ratio])[0]
        np.testing.assert_array_equal(images[row.Index], changed)


def test_brightness_rule():
    """r · x below 1; (2 - r) · x + 255 (r - 1) above."""
    images = np.array([0, 100, 255], np.uint8).reshape(1, 1, 1, 3)
    dark, bright = collect.change_brightness(images.repeat(2, 0), [0.84, 1.16])
    assert dark.ravel().tolist() == [0, 84, 214]
    assert bright.ravel().tolist() == [41, 125, 255]  # 40.8, 84 + 40.8, 214.2 + 40.8


def test_conditions_follow_the_brightness_of_their_region():
    """Hair and background of known brightness: the corrected values are the exact ones."""
    maps = np.full((24, 8, 8), BACKGROUND, np.uint8)
    maps[:, 4:] = HAIR
    hair, behind = np.linspace(40, 160, 24), np.linspace(60, 180, 24)[::-1]
    images = np.repeat(behind[:, None, None, None], 8, 1).repeat(8, 2).repeat(3, 3)
    images[:, 4:] = hair[:, None, None, None]
    images = images.astype(np.uint8)
    table = pd.DataFrame({"name": [f"{i}.png" for i in range(24)], "kind": "female"})
    for name in CONDITIONS:
        table[name] = 0.5
    table["hair_color"] = 1 - images[:, 7, 0, 0] / 255  # dark is 1
    table["background"] = images[:, 0, 0, 0] / 255
    both, table = collect.with_variants(images, table)
    corrected, relations = collect.correct_conditions(both, table, maps)
    assert relations["hair_color"].slope == pytest.approx(-1, abs=0.01)
    np.testing.assert_allclose(corrected["hair_color"], 1 - both[:, 7, 0, 0] / 255, atol=0.01)
    np.testing.assert_allclose(corrected["background"], both[:, 0, 0, 0] / 255, atol=0.01)
    assert (corrected["eyes"] == 0.5).all()


def test_photographs_are_cut_to_squares_by_name_order(tmp_path):
    for kind, value in (("female", 200), ("male", 50)):
        (tmp_path / kind).mkdir()
        for number in range(2):
            image = np.zeros((40, 60, 3), np.uint8)
            image[:, 10:50] = value + number  # the centered square
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), image)
    folders = {kind: tmp_path / kind for kind in ("female", "male")}
    collection = collect.collect_photographs(tmp_path / "out", folders, 16)
    assert collection.table["name"][:2].tolist() == ["female/0.png", "female/1.png"]
    assert [image[0, 0, 0] for image in collection.images[:4]] == [200, 201, 50, 51]
    assert (collection.images[0] == 200).all() and "female" not in collection.table


@pytest.mark.parametrize("content", [None, "", "damaged"])
def test_wrong_folders_are_named(tmp_path, content):
    folder = tmp_path / "women"
    if content is not None:
        folder.mkdir()
    if content:
        (folder / "a.png").write_text(content)
    with pytest.raises(StoreError, match="women"):
        collect.read_folder(folder, 16)
