"""The play page: what it contains, its limits, and which faces it shows."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from ohlora_lib.steering import play_page
from ohlora_lib.steering.groups import VectorError
from ohlora_lib.steering.play_page import level_requests, varied_faces, write_page

LEVELS = {"eyes": (-1, 0), "mouth": (0, 1, 2), "pose": (-1, 0, 1, 2)}


def gray(requests, face):
    """Images whose gray level says which face and which request they are of."""
    level = 20 * requests[:, 0] + 30 * requests[:, 1] + 9 * requests[:, 2] + 10 * face + 60
    return np.broadcast_to(np.uint8(level)[:, None, None, None], (len(requests), 16, 16, 3))


def noise(requests, face):
    return np.random.default_rng(face).integers(0, 255, (len(requests), 64, 64, 3), np.uint8)


def read(path):
    html = path.read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</', html)[1])


def decoded(url):
    head, content = url.split(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), int)


def test_every_combination_of_levels_has_its_place_on_the_sheet(tmp_path):
    path = tmp_path / "page.html"
    quality, sizes = write_page(path, gray, [3, 1], LEVELS)
    data = read(path)
    assert data["levels"] == {name: list(levels) for name, levels in LEVELS.items()}
    assert [one["number"] for one in data["faces"]] == [3, 1] and data["images"] == 24
    assert quality == play_page.QUALITIES[0]
    pitch = data["size"] + 2 * data["pad"]
    for one, size in zip(data["faces"], sizes, strict=True):
        assert size == len(base64.b64decode(one["sheet"].split(",")[1]))
        sheet = decoded(one["sheet"])
        assert sheet.shape[:2] == (2 * 3 * pitch, 4 * pitch)
        for place, request in enumerate(level_requests(LEVELS)):
            at_y, at_x = (data["pad"] + pitch * step for step in divmod(place, 4))
            seen = sheet[at_y : at_y + data["size"], at_x : at_x + data["size"]]
            assert np.abs(seen - int(gray(request[None], one["number"])[0, 0, 0, 0])).max() <= 3
        assert np.abs(decoded(one["thumb"]) - 60 - 10 * one["number"]).max() <= 3


def test_page_refers_to_nothing_outside(tmp_path):
    path = tmp_path / "page.html"
    write_page(path, gray, [0], LEVELS)
    html = path.read_text()
    assert "default-src 'none'" in html and "__DATA__" not in html
    assert not re.search(r'(src|href)="(?!data:|\$)|https?:|@import|url\(', html)


def test_quality_falls_until_sheets_and_page_are_small_enough(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    best, sizes = write_page(path, noise, [0, 1], LEVELS)
    monkeypatch.setattr(play_page, "SHEET_BYTES", max(sizes) - 1)
    lower, smaller = write_page(path, noise, [0, 1], LEVELS)
    assert lower < best and max(smaller) < max(sizes)
    monkeypatch.setattr(play_page, "PAGE_BYTES", int(sum(smaller) * 4 / 3))
    assert write_page(path, noise, [0, 1], LEVELS)[0] < lower
    assert path.stat().st_size <= play_page.PAGE_BYTES + 20_000  # the page without images
    before = path.read_bytes()
    monkeypatch.setattr(play_page, "PAGE_BYTES", 10_000)
    with pytest.raises(VectorError, match=r"2 faces take .* MB.*fewer faces or levels"):
        write_page(path, noise, [0, 1], LEVELS)
    assert path.read_bytes() == before


def test_large_images_are_reduced(tmp_path):
    write_page(tmp_path / "page.html", lambda q, face: np.zeros((len(q), 512, 512, 3), np.uint8),
               [0], dict.fromkeys(LEVELS, (0, 1)))  # fmt: skip
    assert read(tmp_path / "page.html")["size"] == play_page.MAX_SIZE


@pytest.mark.parametrize(
    ("name", "levels", "message"),
    [
        ("eyes", (0,), "levels of 'eyes' are .*two or more, rising"),
        ("mouth", (1, 0), "levels of 'mouth' .*rising"),
        ("pose", (0, np.nan), "levels of 'pose' .*rising"),
        ("pose", (1, 2), "levels of 'pose' .*0 must be within"),
    ],
)
def test_wrong_levels_are_named(name, levels, message):
    with pytest.raises(VectorError, match=message):
        level_requests(LEVELS | {name: levels})


def test_no_faces_is_an_error(tmp_path):
    with pytest.raises(VectorError, match="at least one face"):
        write_page(tmp_path / "page.html", gray, [], LEVELS)


def test_varied_faces_differ_and_the_best_comes_first():
    images = np.repeat(np.uint8([10, 12, 200, 90, 201]), 16 * 16 * 3).reshape(-1, 16, 16, 3)
    assert varied_faces(images, [0, 1, 2, 3, 4], 3) == [0, 4, 3]
    assert varied_faces(images, [1, 2, 3], 2) == [1, 2]
    assert varied_faces(images, [3], 4) == [3]
