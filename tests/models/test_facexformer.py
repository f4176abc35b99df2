import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models.facexformer import (
    FaceXFormer,
    FaceXFormerConfig,
    Stage,
    crop_face,
    face_images,
    face_input,
    shifted_windows,
    stage_maps,
    swin_backbone,
    widened_box,
    window_order,
)

TOY = FaceXFormerConfig(
    resolution=64,
    embed=8,
    depths=(2, 2, 2, 2),
    heads=(1, 2, 2, 4),
    window=2,
    width=16,
    decoder_heads=2,
    decoder_mlp=32,
)


@pytest.fixture(scope="module")
def network() -> FaceXFormer:
    torch.manual_seed(0)
    return FaceXFormer(TOY).eval()


def crops(n: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def test_every_head_has_its_published_size(network):
    with torch.no_grad():
        reading = network(face_input(crops(2)))
    sizes = {name: tuple(value.shape[1:]) for name, value in reading._asdict().items()}
    assert sizes == {
        "parse": (11, 64, 64),
        "landmarks": (136,),
        "headpose": (3,),
        "attributes": (40,),
        "visibility": (29,),
        "age": (8,),
        "gender": (2,),
        "race": (5,),
    }
    best = reading.parse.gather(1, reading.parse_map[:, None].long())[:, 0]
    assert torch.equal(best, reading.parse.amax(dim=1))


def test_a_face_reads_the_same_alone_and_in_a_batch(network):
    faces = face_input(crops(5))
    with torch.no_grad():
        together, alone = network(faces), network(faces[3:4])
    for ours, own in zip(together, alone, strict=True):
        torch.testing.assert_close(ours[3:4], own, atol=1e-5, rtol=0)


def test_autocast_leaves_the_decoder_exact_and_its_outputs_float32(network):
    faces = face_input(crops(1))
    with torch.no_grad():
        exact = network(faces)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(faces)
    assert {value.dtype for value in rounded} == {torch.float32}
    assert (rounded.parse - exact.parse).abs().max() < 0.1


def test_fusing_small_maps_equals_the_published_order_of_steps(network):
    with torch.no_grad():
        maps = stage_maps(network.backbone, face_input(crops(2)))
        projected = [
            linear["proj"](x).permute(0, 3, 1, 2)
            for linear, x in zip(network.linear_c, maps, strict=True)
        ]
        large = [F.interpolate(x, size=(16, 16), mode="bilinear") for x in projected]
        published = network.linear_fuse(torch.cat(large[::-1], dim=1))
        torch.testing.assert_close(network.fuse(maps), published, atol=1e-6, rtol=0)


def test_window_order_lists_whole_windows():
    cells = window_order(4, 2).view(4, 4).tolist()
    assert cells == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_shifted_windows_come_back_and_keep_what_wraps_around_apart():
    enter, leave, mask = shifted_windows(6, 2)
    assert torch.equal(enter[leave], torch.arange(36))
    corner = mask[-1]  # the last moved window holds the map's four corners
    assert torch.equal(corner == 0, torch.eye(4, dtype=torch.bool))
    assert (mask[0] == 0).all()


def test_a_shifted_window_sees_its_neighbors_but_not_across_the_edge():
    torch.manual_seed(0)
    stage = Stage(channels=8, depth=2, heads=2, window=2, side=4).eval()
    x = torch.randn(1, 4, 4, 8)
    other = x.clone()
    other[0, 0, 0] = torch.randn(8)
    with torch.no_grad():
        changed = (stage(x) - stage(other)).abs().amax(dim=-1)[0] > 1e-7
    # The corner's window is cells 0..1; the shift carries it to the moved windows that touch it.
    assert changed[:3, :3].all()
    assert not changed[3].any()
    assert not changed[:, 3].any()


def test_a_map_without_whole_windows_is_refused():
    with pytest.raises(ValueError, match="stage 1: a 8 x 8 map cannot be divided into 16"):
        swin_backbone(64, 8, (1, 1), (1, 1), window=16)


def test_the_margin_is_a_quarter_on_each_side_and_stays_in_the_image():
    assert widened_box([100, 100, 180, 140], 256, 256).tolist() == [80, 90, 200, 150]
    assert widened_box([10, 20, 250, 240], 256, 256).tolist() == [0, 0, 256, 256]


def test_a_box_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="does not overlap"):
        crop_face(crops(1)[0], np.array([200, 10, 220, 30]))


def test_a_crop_of_the_wanted_size_is_not_resampled():
    image = crops(1, 112)[0]
    assert np.array_equal(crop_face(image, np.array([0, 0, 112, 112]), side=112), image)


def test_the_face_image_is_the_crop_or_one_level_below():
    original = crops(4)
    below = original.astype(int) - face_images(face_input(original)).numpy()
    assert set(np.unique(below)) == {0, 1}
    assert 0.01 < (below == 1).mean() < 0.5
