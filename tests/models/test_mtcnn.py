import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.models.mtcnn import (
    MTCNN,
    MTCNNConfig,
    candidates,
    cut_out,
    overlap,
    pixel_sums,
    placed_points,
    pyramid,
    shifted,
    square,
    suppress,
)
from ohlora_lib.models.pixels import channels_first

EASY = MTCNNConfig(thresholds=(0.5, 0.5, 0.5))


def seeded(config: MTCNNConfig | None = None) -> MTCNN:
    """A detector with random weights whose last biases make it see faces."""
    network = MTCNN(config).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.dim() > 1:
                value.normal_(std=(2 / value[0].numel()) ** 0.5, generator=rng)
            else:
                value.fill_(0.25 if "prelu" in name else 0.0)
        network.pnet.conv4_1.bias.copy_(torch.tensor([0.6, -0.6]))
        for last in (network.rnet.dense5_1, network.onet.dense6_1):
            last.weight.mul_(0.3)
            last.bias.copy_(torch.tensor([-0.9, 0.9]))
        for last in (network.pnet.conv4_2, network.rnet.dense5_2, network.onet.dense6_2):
            last.weight.mul_(0.1)
    return network


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    coarse = torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    fine = F.interpolate(coarse, size=(72, 96), mode="bilinear") * 255
    return fine.byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("thresholds", [(2, 0, 0), (0.6, 2, 0), (0.6, 0.7, 2)])
def test_no_face_is_a_value_whichever_network_finds_none(images, thresholds):
    for found in seeded(MTCNNConfig(thresholds=thresholds))(images):
        assert found.boxes.shape == (0, 4)
        assert found.probabilities.shape == (0,)
        assert found.points.shape == (0, 5, 2)


def test_an_image_smaller_than_the_smallest_face_has_none():
    (found,) = seeded()(np.zeros((1, 16, 16, 3), np.uint8))
    assert len(found.boxes) == 0


def test_each_image_of_a_batch_gets_what_it_gets_alone(images):
    network = seeded(EASY)
    together = network(images)
    assert all(len(found.boxes) for found in together)
    for number, found in enumerate(together):
        (alone,) = network(images[number : number + 1])
        for ours, own in zip(found, alone, strict=True):
            np.testing.assert_allclose(ours, own, atol=1e-3)


def test_faces_come_largest_first(images):
    found = seeded(EASY)(images)
    assert max(len(each.boxes) for each in found) > 2
    for each in found:
        areas = (each.boxes[:, 2:] - each.boxes[:, :2]).prod(axis=1)
        assert (np.diff(areas) <= 0).all()


def test_the_pyramid_is_the_published_one():
    scales = pyramid(256, 256, MTCNNConfig())
    assert [int(256 * scale + 1) for scale in scales] == [154, 109, 78, 55, 39, 28, 20, 14]


def test_corners_are_divided_in_float32_as_published():
    scores = np.ones((1, 1, 72), np.float32)
    boxes = candidates(np.zeros((1, 4, 1, 72), np.float32), scores, 0.6, 0.6)[1]
    column = 2 * np.arange(72)
    exact = np.floor((column + 1) / 0.6)
    single = np.floor((column + 1).astype(np.float32) / np.float32(0.6))
    assert 11 <= (exact != single).sum() <= 12  # counted in the original
    assert set(boxes[:, 0]) <= set(single)


def greedy(boxes, scores, threshold, extra, of_smaller):
    """Non-maximum suppression as one would say it: the best, then the best that is far enough."""
    kept: list[int] = []
    for one in np.argsort(-scores, kind="stable"):
        rivals = [overlap(boxes[[one]], boxes[[k]], extra, of_smaller)[0] for k in kept]
        if all(shared <= threshold for shared in rivals):
            kept.append(int(one))
    return kept


@pytest.mark.parametrize("extra, of_smaller", [(0, False), (1, True)])
def test_suppression_of_all_images_at_once_is_the_greedy_one_of_each(extra, of_smaller):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (150, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 40, (150, 2))]).astype(np.float32)
    scores, image = rng.random(150).astype(np.float32), rng.integers(0, 3, 150)
    kept = suppress(boxes, scores, image, 0.5, extra, of_smaller)
    assert (np.diff(scores[kept]) <= 0).all()
    for number in range(3):
        own = np.flatnonzero(image == number)
        expected = own[greedy(boxes[own], scores[own], 0.5, extra, of_smaller)]
        assert kept[image[kept] == number].tolist() == expected.tolist()


def test_overlap_by_the_union_and_by_the_smaller_box():
    large, small = np.array([[0, 0, 10, 10.0]]), np.array([[5, 0, 10, 10.0]])
    assert overlap(large, small, extra=0, of_smaller=False)[0] == pytest.approx(0.5)
    assert overlap(large, small, extra=0, of_smaller=True)[0] == pytest.approx(1.0)
    assert overlap(large, small + 20, extra=0, of_smaller=True)[0] == 0


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_area_interpolated_bit_for_bit(images, side):
    rng = np.random.default_rng(0)
    pixels = channels_first(images)
    corner = rng.uniform(-10, 60, (40, 2))
    boxes = np.hstack([corner, corner + rng.uniform(3, 50, (40, 1))]).astype(np.float32)
    image = rng.integers(0, 3, 40)
    kept_image, kept, crops = cut_out(pixel_sums(pixels), image, boxes, side)
    assert len(kept) > 30
    for number, box, crop in zip(kept_image, kept, crops, strict=True):
        x1, y1, x2, y2 = np.trunc(box).astype(int)
        left, top, right, bottom = max(x1, 1) - 1, max(y1, 1) - 1, min(x2, 96), min(y2, 72)
        part = pixels[number : number + 1, :, top:bottom, left:right]
        assert torch.equal(F.interpolate(part, (side, side), mode="area")[0], crop)


def test_a_box_beyond_the_image_goes_and_takes_no_other_with_it(images):
    boxes = np.array([[5, 5, 20, 20], [-30, 5, -2, 30], [200, 5, 240, 40], [6, 6, 9, 9]])
    sums = pixel_sums(channels_first(images))
    _, kept, crops = cut_out(sums, np.zeros(4, np.int64), boxes.astype(np.float32), 24)
    assert kept[:, 0].tolist() == [5, 6]
    assert len(crops) == 2


def test_box_arithmetic():
    box = np.array([[10, 20, 30, 60]], np.float32)
    assert shifted(box, np.array([[0.5, 0, 0, -0.25]], np.float32), extra=0).tolist() == [
        [20, 20, 30, 50]
    ]
    assert square(box).tolist() == [[0, 20, 40, 60]]
    points = np.array([[0, 1, 0, 0, 0, 0, 1, 0, 0, 0]], np.float32)  # five x, then five y
    assert placed_points(box, points)[0, :2].tolist() == [[9, 19], [30, 60]]


def test_autocast_finds_the_same_faces(images):
    network = seeded(EASY)
    exact = network(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images)
    for one, other in zip(exact, found, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
