import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_lib.faces.properties import PROPERTIES
from ohlora_lib.models import conv_tower
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig, property_input

TOY = PropertyCNNConfig(resolution=64, width=1 / 16, padding=1)
BRANCHES = ("eyes", "mouth", "pose", "hair_color", "hair_length", "background", "hairstyle")


def toy(seed: int = 0, config: PropertyCNNConfig = TOY) -> PropertyCNN:
    torch.manual_seed(seed)
    return PropertyCNN(config).eval()


def faces(n: int, side: int = 64) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return property_input(rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def test_published_network_has_the_published_number_of_values():
    with torch.device("meta"):
        network = PropertyCNN()
    state = network.state_dict()
    assert len(state) == 114  # counted in the published file's manifest
    assert sum(tensor.numel() for tensor in state.values()) == 20_122_184


def test_columns_stand_in_the_published_order():
    network = toy()
    with torch.no_grad():
        for number, name in enumerate(BRANCHES):
            head = network.get_submodule(f"{name}_score_cnn.fc_final")
            head.weight.zero_()
            head.bias.copy_(torch.tensor([number * 10.0, number * 10.0 + 1])[: len(head.bias)])
        scores = network(faces(1))[0].tolist()
    code = {name: number * 10 for number, name in enumerate(BRANCHES)}
    code |= {"background_mean": code["background"], "background_std": code["background"] + 1}
    assert scores == [code[name] for name in PROPERTIES]


# Rows and columns at 256 px, as published (half-open).
SEEN = {
    "eyes": (96, 144, 64, 192),
    "hair_color": (0, 256, 0, 256),
    "hair_length": (128, 256, 0, 256),
    "mouth": (160, 208, 96, 160),
    "pose": (112, 160, 88, 168),
    "background_mean": (0, 128, 0, 256),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_score_depends_on_its_own_part_of_the_image_alone(name):
    top, bottom, left, right = SEEN[name]
    network = toy(config=PropertyCNNConfig(width=1 / 32))
    image = faces(1, 256)
    inside, outside = image.clone(), image.clone()
    inside[..., top:bottom, left:right] *= -1
    kept = outside[..., top:bottom, left:right].clone()
    outside *= -1
    outside[..., top:bottom, left:right] = kept
    column = PROPERTIES.index(name)
    with torch.no_grad():
        own, moved, still = (network(x)[0, column] for x in (image, inside, outside))
    assert own == still
    assert own != moved


def test_hairstyle_reads_both_sides_of_the_neck_and_not_the_middle():
    network, image = toy(config=PropertyCNNConfig(width=1 / 32)), faces(1, 256)
    seen = []
    for columns in (slice(0, 96), slice(96, 160), slice(160, 256)):
        other = image.clone()
        other[..., 128:, columns] *= -1
        with torch.no_grad():
            seen.append(bool((network(other)[0, -1] != network(image)[0, -1]).item()))
    assert seen == [True, False, True]


@pytest.mark.parametrize("resolution", [16, 48, 64, 128])
def test_small_worlds_run_at_any_multiple_of_16_with_padding(resolution):
    config = PropertyCNNConfig(resolution=resolution, width=1 / 16, padding=1)
    with torch.no_grad():
        assert toy(config=config)(faces(2, resolution)).shape == (2, 8)


def test_a_resolution_at_which_a_map_vanishes_says_what_to_do():
    with pytest.raises(ValueError, match=r"at 128 px the crop .* is empty at .*: use padding=1"):
        PropertyCNN(PropertyCNNConfig(resolution=128))


def test_crops_beyond_a_number_of_pixels_are_seen_as_their_averages_and_others_in_full():
    sizes = {"resolution": 128, "width": 1 / 16, "padding": 1}
    network = toy(config=PropertyCNNConfig(**sizes, crop_pixels=2048))
    image = faces(1, 128)
    means = F.interpolate(F.avg_pool2d(image, 2), scale_factor=2)
    with torch.no_grad():
        changed = (network(image) - network(means)).abs()[0] > 1e-5
    names = {name for name, seen in zip(PROPERTIES, changed.tolist(), strict=True) if seen}
    assert names == {"eyes", "mouth", "pose"}


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="takes 64 px"):
        toy()(faces(1, 32))


def test_seven_outputs_are_the_same_network_without_hairstyle():
    full = toy()
    seven = PropertyCNN(PropertyCNNConfig(resolution=64, width=1 / 16, padding=1, hairstyle=False))
    own = {k: v for k, v in full.state_dict().items() if k in seven.state_dict()}
    seven.load_state_dict(own)
    with torch.no_grad():
        assert torch.equal(seven.eval()(faces(2)), full(faces(2))[:, :7])
    assert seven.config.properties == PROPERTIES[:-1]


def test_scores_are_the_same_alone_in_a_batch_and_with_gradients(monkeypatch):
    network, images = toy(), faces(5)
    with_gradients = network(images).detach()
    monkeypatch.setattr(conv_tower, "CHUNK_BYTES", 40_000)  # some branches run in small chunks
    with torch.no_grad():
        together, alone = network(images), network(images[3:4])
    torch.testing.assert_close(together, with_gradients, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[3:4], alone, atol=1e-5, rtol=0)


def test_autocast_leaves_scores_their_digits():
    network, images = toy(), faces(5)
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(images)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=1e-2, rtol=0)


def test_dropout_in_eval_mode_comes_from_the_generator_and_can_be_repeated():
    network, images = toy(), faces(2)
    with torch.no_grad():
        plain = network(images)
        noisy, again, other = (
            network(images, dropout=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    assert not torch.equal(noisy, plain)
    assert torch.equal(plain, network(images))


def test_dropout_keeps_the_mean():
    ones = torch.ones(200, 200)
    kept = conv_tower.drop(ones, 0.45, False, torch.Generator().manual_seed(0))
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert (kept == 0).float().mean().item() == pytest.approx(0.45, abs=0.02)
    maps = conv_tower.drop(torch.ones(8, 64, 3, 3), 0.3, False, torch.Generator().manual_seed(0))
    assert set(maps.std(dim=(2, 3)).flatten().tolist()) == {0.0}  # a channel goes as a whole


def test_input_runs_from_minus_one_to_one_and_takes_read_only_arrays():
    image = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    image.flags.writeable = False
    assert property_input(image).flatten().tolist() == pytest.approx([-1, 1, -0.6], abs=1e-6)


@pytest.mark.parametrize("shape, dtype", [((3, 8, 8), np.uint8), ((1, 8, 8, 3), np.float32)])
def test_what_is_no_batch_of_rgb_bytes_is_refused(shape, dtype):
    with pytest.raises(ValueError, match=r"must be \(N, H, W, 3\) uint8 RGB"):
        property_input(np.zeros(shape, dtype))


@pytest.mark.parametrize(("crop_pixels", "factor"), [(None, 1), (1024, 1), (1023, 2), (64, 4)])
def test_a_crop_is_downsampled_until_it_has_few_enough_pixels(crop_pixels, factor):
    """A quarter of a 64 px image has 1024 pixels, 256 at half the size, 64 at a quarter."""
    half = conv_tower.Tower((0, 1 / 2), (0, 1 / 2), (4,), ())
    sizes = conv_tower.TowerSizes(resolution=64, padding=1, crop_pixels=crop_pixels)
    assert conv_tower.ConvTower(half, sizes).downsample == factor
