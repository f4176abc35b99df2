"""Sampling, directions, calibration and control test take any generator: here a DCGAN."""

from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ohlora_lib.faces.properties import EXPRESSION, PROPERTIES
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.steering.calibrate import calibrate
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.fit import DirectionSet, fit_directions
from ohlora_lib.steering.groups import median_grouping
from ohlora_lib.steering.meters import MeterSet, Reading, StandardizedMeter
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.samples import sample_latents
from ohlora_lib.steering.sampling import latents

Z = 40


class Dcgan(nn.Module):
    """Radford et al.'s generator, narrow, at 32 px, with seeded weights."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        sizes = (Z, 32, 16, 8)
        blocks = [
            layer
            for k, (inputs, outputs) in enumerate(pairwise(sizes))
            for layer in (
                nn.ConvTranspose2d(inputs, outputs, 4, 1 + (k > 0), int(k > 0), bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )
        ]
        self.first, self.rest = nn.Sequential(*blocks[:3]), nn.Sequential(*blocks[3:])
        self.last = nn.ConvTranspose2d(sizes[-1], 3, 4, 2, 1)
        nn.init.normal_(self.last.weight, 0, 0.3)


class DcganSampler:
    """Its layers: z, and `features`, the output of the first block."""

    def __init__(self, seed: int = 0):
        self.generator = Dcgan(seed).eval()

    z_size = Z

    @cached_property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def vectors(self, z, layer="features", label=None):
        if layer == "z":
            return np.asarray(z, np.float32)
        with torch.inference_mode():
            return self.generator.first(torch.tensor(z)[:, :, None, None]).flatten(1).numpy()

    def images(self, vectors, layer="features", unedited=None, styles=None):
        if layer == "z":
            vectors = self.vectors(vectors)
        with torch.inference_mode():
            features = torch.tensor(vectors).reshape(-1, 32, 4, 4)
            return to_uint8(torch.tanh(self.generator.last(self.generator.rest(features))))


class Patches:
    """A meter: each property is the mean of a patch in one color channel."""

    properties = PROPERTIES

    def __call__(self, images):
        places = [(4 * (k % 4) + 8, 8 * (k // 4) + 8, k % 3) for k in range(len(PROPERTIES))]
        scores = [images[:, y : y + 6, x : x + 6, c].mean((1, 2)) for y, x, c in places]
        return Reading(np.stack(scores, 1), np.ones(images.shape[:3], bool))


class Nobody:
    """An identity meter for pictures of nobody."""

    filters = ("gender", "quality", "age", "glass")

    def __call__(self, images):
        return np.full((len(images), 4), 0.5), images.reshape(len(images), -1)[:, ::97] / 255.0


@pytest.mark.parametrize("layer", ["features", "z"])
def test_a_seeded_dcgan_passes_from_samples_to_the_control_test(tmp_path, layer):
    sampler, meter = DcganSampler(), Patches()
    sample = sample_latents(sampler, meter, tmp_path, seed=1, count=3000, layer=layer)
    population = sampler.images(sampler.vectors(latents(2, range(256), Z), layer), layer)
    standardized = StandardizedMeter.fit(meter, meter(population).scores)
    meters = MeterSet(standardized, standardized, Nobody(), background=50.0)
    raw = sample.scores[list(PROPERTIES)]
    scores = pd.DataFrame(standardized.standardize(raw.to_numpy()), columns=raw.columns)
    grouping = median_grouping(scores, ("hair_color",))
    fitted = fit_directions(["svm", "ridge"], sample.vectors, scores, grouping)
    directions = DirectionSet(layer, grouping, {k: f.directions for k, f in fitted.items()})
    specs = [
        MethodSpec("svm", calibrated=True),
        MethodSpec("ridge", calibrated=True, recentered=True),
    ]
    z = latents(3, range(8), Z)
    methods = [
        calibrate(Method.build(spec, directions), sampler, meters, sampler.vectors(z, layer))
        for spec in specs
    ]
    test = control_test(methods, sampler, meters, LatentSet.from_seed(4, range(16), Z)).table
    columns = [f"cnn_{name}_corr" for name in EXPRESSION]
    for method in methods:
        tested = test[test["method"] == method.name]
        assert (tested[columns].median() > 0.8).all() and tested["idx"].tolist() == list(range(16))
