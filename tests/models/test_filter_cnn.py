import numpy as np
import pytest
import torch

from ohlora_lib.models.filter_cnn import FILTERS, FilterCNN, FilterCNNConfig, filter_input

PUBLISHED = {"gender": 5_845_697, "quality": 6_828_481, "age": 7_418_561, "glass": 3_682_753}


@pytest.mark.parametrize("name", FILTERS)
def test_published_network_has_the_published_number_of_values(name):
    with torch.device("meta"):
        network = FilterCNN(FilterCNNConfig(filter=name))
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == PUBLISHED[name]
    assert "fc_final.0.weight" in network.state_dict()


@pytest.mark.parametrize(
    "name, rows, columns",
    [
        ("gender", (0, 256), (0, 256)),
        ("quality", (0, 64), (64, 192)),
        ("age", (0, 128), (0, 256)),
        ("glass", (80, 128), (64, 192)),
    ],
)
def test_each_filter_sees_the_published_crop(name, rows, columns):
    place = torch.arange(256 * 256).view(1, 1, 256, 256)
    crop = FILTERS[name].crop(place)
    assert torch.equal(crop, place[..., rows[0] : rows[1], columns[0] : columns[1]])


@pytest.mark.parametrize("name", FILTERS)
def test_small_worlds_give_a_probability_that_agrees_with_its_log_odds(name):
    torch.manual_seed(0)
    network = FilterCNN(FilterCNNConfig(resolution=64, width=1 / 16, padding=1, filter=name)).eval()
    rng = np.random.default_rng(0)
    images = filter_input(rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    with torch.no_grad():
        probability, logits = network(images), network.logits(images)
    assert probability.shape == (3, 1)
    torch.testing.assert_close(torch.logit(probability), logits, atol=1e-5, rtol=0)


def test_input_runs_from_zero_to_one():
    image = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    assert filter_input(image).flatten().tolist() == pytest.approx([0, 1, 0.2])


def test_an_unknown_filter_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown filter CNN 'beard': choose from gender, quality"):
        FilterCNNConfig(filter="beard")
