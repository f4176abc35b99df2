"""The parser's network: any size in, the size asked for out, the same from a file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ohlora_lib import checkpoints
from ohlora_lib.models.unet_parser import (
    UNetConfig,
    UNetParser,
    resize,
)

SMALL = UNetConfig(widths=(4, 6, 8), resolution=32)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)


def test_map_has_the_side_asked_for_whatever_the_pictures_size(pictures):
    network = UNetParser(SMALL)
    assert network.parse(pictures).shape == (3, 56, 56)
    assert network.parse(pictures, 224).shape == (3, 224, 224)
    assert network.parse(pictures).max() < SMALL.classes


def test_a_picture_is_read_the_same_alone_and_in_company(pictures):
    network = UNetParser(SMALL).train()  # `parse` must not let batch norm mix the pictures
    together = network.parse(pictures)
    assert np.array_equal(together[1:2], network.parse(pictures[1:2]))
    assert network.training


def test_it_can_learn_a_map(pictures):
    network = UNetParser(SMALL, seed=1).train()
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    wanted = (images[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network(images), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(images).argmax(1) == wanted).float().mean() > 0.9


def test_file_gives_back_the_same_network(tmp_path, pictures):
    network = UNetParser(SMALL, seed=2)
    network.train()(torch.rand(4, 3, 32, 32))  # batch norm's statistics move
    checkpoints.save(network, tmp_path / "parser.safetensors")
    again = checkpoints.load(tmp_path / "parser.safetensors")
    assert np.array_equal(again.parse(pictures), network.parse(pictures))


def test_maps_are_the_argmax_of_the_upsampled_logits(pictures):
    network = UNetParser(SMALL, seed=4).eval()
    with torch.no_grad():
        x = resize(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1, 32)
        logits = F.interpolate(network(x), (40, 40), mode="bilinear")
    assert np.array_equal(network.parse(pictures, 40), logits.argmax(dim=1).numpy())


def test_sides_that_do_not_halve_are_refused_with_the_number():
    with pytest.raises(ValueError, match="multiples of 4"):
        UNetParser(SMALL)(torch.zeros(1, 3, 30, 32))


def test_embedded_size_is_about_a_megabyte_in_bfloat16():
    assert 0.8e6 < 2 * sum(p.numel() for p in UNetParser().parameters()) < 2e6
