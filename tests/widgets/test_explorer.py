"""The Explorer's kernel side: what a request of the browser leads to. The browser has its own tests
(tests/browser/test_explorer.py)."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ohlora_lib.faces.classes import BACKGROUND, SKIN
from ohlora_lib.measure.parse import Parsed
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.plots.segments import overlay
from ohlora_lib.steering.exploration import Exploration, Point, SteeredFace
from ohlora_lib.steering.meters import Reading
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.store import StoreError
from ohlora_lib.widgets import animation
from ohlora_lib.widgets.explorer import Explorer, maps_in_images

CONFIG = GeneratorConfig(16, fmaps_base=128, fmaps_max=16)


class Brightness:
    """A meter that plugs in: the mean of the image, and a score it cannot measure."""

    properties = ("brightness", "missing")

    def __call__(self, images):
        bright = images.mean(axis=(1, 2, 3))
        return Reading(np.stack([bright, np.full(len(images), np.nan)], axis=1))


def half_skin(images):
    """A parser that sees skin in the upper half of the second image's box, nothing in the first."""
    maps = np.full((len(images), 224, 224), BACKGROUND, np.uint8)
    maps[1:, :112] = SKIN
    boxes = np.tile(np.float32([4, -2, 12, 14]), (len(images), 1))
    boxes[0] = np.nan
    return Parsed(maps, np.zeros((len(images), 224, 224, 3), np.uint8), boxes, boxes[:, 0] > 0)


@pytest.fixture(scope="module")
def exploration():
    sampler = Sampler(Generator(CONFIG, seed=3).eval(), "float32")
    w = sampler.vectors(latents(1, range(4), sampler.z_size))
    steps = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)

    def face(names):
        return lambda number: SteeredFace(names, w[number], steps[: len(names)])

    methods = {
        "ridge": face(("eyes", "mouth", "pose", "hair_color")),
        "svm": face(("eyes", "mouth", "pose")),
    }
    return Exploration(sampler, methods, 4)


@pytest.fixture
def explorer(exploration, tmp_path):
    meters = {"judge": Brightness()}
    groups = ["hh", "hl", "hh", "ll"]
    return Explorer(exploration, meters, half_skin, groups, tmp_path / "made")


class SeenSizes:
    """A meter and a parser that remember the sizes of their images."""

    properties = ("brightness",)

    def __init__(self):
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(images.shape[1])
        return Reading(np.zeros((len(images), 1)))

    def parse(self, images):
        self(images)
        return half_skin(images)


def test_people_see_full_resolution_and_meters_the_one_they_read(exploration, tmp_path):
    reader = SeenSizes()
    halved = replace(exploration, sampler=replace(exploration.sampler, lod=1))
    explorer = Explorer(halved, {"judge": reader}, reader.parse, None, tmp_path / "made")
    ask(explorer, other="svm", classes=True)
    assert shown(explorer).shape == (16, 16, 3) and explorer.options["size"] == 16
    assert reader.sizes == [8, 8, 8]  # at the start, then meter and class map
    assert np.abs(shown(explorer, 1).astype(int) - halved.image(method="svm")).max() > 20


def shown(explorer, place=0):
    return np.asarray(Image.open(io.BytesIO(explorer.images[place])))


def ask(explorer, number=1, **state):
    request = {"do": "draw", "number": number, "state": explorer.state | state}
    explorer._receive(explorer, request, [])
    assert explorer.answered == number


def test_the_image_is_that_of_the_copied_code(explorer, exploration):
    values = {"eyes": 0.5, "hair_color": -1.0, "pose": 0}
    ask(explorer, face=2, values=values, truncation=0.5)
    call = "exploration.image(face=2, method='ridge', truncation=0.5, eyes=0.5, hair_color=-1)"
    assert explorer.code == call
    assert np.array_equal(shown(explorer), eval(call))
    assert not np.array_equal(shown(explorer), exploration.image(face=2))


def test_two_methods_are_shown_beside_each_other(explorer, exploration):
    ask(explorer, other="svm", values={"eyes": 1.0, "hair_color": 2.0})
    assert len(explorer.images) == len(explorer.readings) == 2
    assert np.array_equal(shown(explorer), exploration.image(eyes=1, hair_color=2))
    # svm has no direction for the hair color
    assert np.array_equal(shown(explorer, 1), exploration.image(method="svm", eyes=1))


def test_any_meter_plugs_in_and_is_read_on_every_image(explorer):
    ask(explorer, other="svm", values={"eyes": 2.0})
    for place, reading in enumerate(explorer.readings):
        measured = reading["judge"]
        assert measured["brightness"] == pytest.approx(shown(explorer, place).mean())
        assert measured["missing"] is None
    ask(explorer, 2, meters=False)
    assert explorer.readings == [{}, {}]


def test_class_maps_lie_where_the_crops_were(explorer):
    ask(explorer, other="svm", meters=False)
    plain = [shown(explorer, place) for place in (0, 1)]
    ask(explorer, 2, classes=True)
    assert np.array_equal(shown(explorer), plain[0])  # no face was found
    maps = np.zeros((1, 16, 16), np.uint8)
    maps[0, :6, 4:12] = SKIN  # from row -2 to 14, the upper half
    assert np.array_equal(shown(explorer, 1), overlay(plain[1][None], maps)[0])
    assert maps_in_images(half_skin(np.zeros((2, 16, 16, 3))), 16, 16)[1].sum() == maps.sum()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"face": 9}, "face 9: must be from 0 to 3"),
        ({"method": "none"}, "no method 'none'"),
        ({"truncation": -1}, "truncation -1: must be from 0 to 2"),
        ({"values": {"eyes": float("inf")}}, "must be finite"),
    ],
)
def test_a_wrong_request_becomes_a_line_and_keeps_the_image(explorer, state, message):
    before = explorer.images
    ask(explorer, 5, **state)
    assert message in explorer.message and "\n" not in explorer.message
    assert explorer.images == before
    ask(explorer, 6, values={"eyes": 1.0})
    assert explorer.message == "" and explorer.images != before


def do(explorer, **request):
    explorer._receive(explorer, request, [])


@pytest.mark.parametrize("kind", animation.formats())
def test_keyframes_become_an_animation(explorer, exploration, tmp_path, kind):
    do(explorer, do="save", format=kind, seconds=1)
    assert "needs two keyframes" in explorer.saved["said"]
    for eyes in (0.0, 1.0, 2.0):
        ask(explorer, values={"eyes": eyes})
        do(explorer, do="keyframe")
    do(explorer, do="remove", place=1)
    assert len(explorer.thumbnails) == len(explorer.keyframes) == 2
    for number in (1, 2):  # the second one does not overwrite the first
        do(explorer, do="save", format=kind, seconds=0.5)
        path = tmp_path / "made" / f"animation-{number}.{kind}"
        preview = {"kind": kind, "bytes": path.read_bytes()}
        assert explorer.saved == {"said": f"Saved as {path}", **preview}
        assert path.stat().st_size > 500
    if kind != "mp4":
        with Image.open(path) as moving:
            assert moving.n_frames == 12 and moving.size == (384, 384)
            moving.seek(6)  # the second keyframe
            seen = np.asarray(moving.convert("RGB").resize((16, 16), Image.Resampling.BOX), int)
        assert np.abs(seen - exploration.image(eyes=2)).mean() < 8


def test_the_way_between_keyframes_is_smooth_and_returns():
    ends = [Point(np.float32([0, 4]), np.float32([1])), Point(np.float32([8, 0]), np.float32([3]))]
    path = animation.between(ends, 4)
    assert [round(float(point.w[0]), 3) for point in path] == [0, 1.25, 4, 6.75, 8, 6.75, 4, 1.25]
    assert float(path[2].unedited[0]) == 2


def test_mistakes_about_animations_are_named(explorer, tmp_path, monkeypatch):
    do(explorer, do="keyframe")
    do(explorer, do="keyframe")
    do(explorer, do="save", format="webp", seconds=1000)
    assert "must be from 1 to 600" in explorer.saved["said"]
    do(explorer, do="remove", place=7)
    assert "there is no keyframe 7" in explorer.message
    monkeypatch.setattr(shutil, "which", lambda _: None)
    do(explorer, do="save", format="mp4", seconds=0.5)
    wrong = explorer.saved
    assert "cannot write .mp4: install ffmpeg, or use gif or webp" in wrong["said"]
    assert "bytes" not in wrong
    assert not (tmp_path / "made").exists()
    with pytest.raises(StoreError, match=r"cannot write \.png: use gif or webp"):
        animation.write_animation(tmp_path / "a.png", np.zeros((2, 16, 16, 3), np.uint8), 12)


@pytest.mark.parametrize(("width", "pixels"), [(16, 16), (17, 32), (384, 384)])
def test_animation_is_enlarged_by_a_whole_number_to_its_width(tmp_path, width, pixels):
    moves = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    animation.write_animation(tmp_path / "a.webp", moves, 10, width)
    with Image.open(tmp_path / "a.webp") as image:
        assert image.size == (pixels, pixels) and image.n_frames == 3
