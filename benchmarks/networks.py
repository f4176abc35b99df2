"""The networks that benchmarks share: of the toy world's size, from the embedded weights."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from ohlora_lib import checkpoints
from ohlora_lib.measure.parse import load_parser
from ohlora_lib.models import precision
from ohlora_lib.models.cpu.fused import fuse_for_inference
from ohlora_lib.models.property_cnn import PropertyCNN
from ohlora_lib.models.stylegan import Generator
from ohlora_lib.steering.directions import LinearDirections
from ohlora_lib.steering.meters import CnnMeter, MeterSet, ParserMeter
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.sampling import Sampler, latents
from ohlora_lib.train.regressor import SMALL_PLAN


@cache
def toy_sampler() -> Sampler:
    """The embedded generator, 128 px."""
    return Sampler(precision.place(checkpoints.load("original").eval()))


@cache
def narrow_sampler() -> Sampler:
    """A generator of the same size of images and vectors with a quarter of the feature maps."""
    config = replace(toy_sampler().generator.config, fmaps_base=1024, fmaps_max=32)
    return Sampler(precision.place(Generator(config, seed=1).eval()))


@cache
def toy_cnn() -> CnnMeter:
    """A property CNN of the toy world's size; its weights are random, which costs the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same in every process, or a sample is not resumed
        return CnnMeter(PropertyCNN(SMALL_PLAN.network).eval())


@cache
def toy_meters() -> MeterSet:
    """The meters of the control test."""
    sampler = toy_sampler()
    population = sampler.images(sampler.vectors(latents(1, range(16), sampler.z_size)))
    annotator = precision.place(fuse_for_inference(checkpoints.load("annotator")))
    return MeterSet.fit(toy_cnn(), ParserMeter(load_parser()), annotator, population)


def some_method() -> Method:
    """Directions of random length."""
    steps = np.random.default_rng(0).normal(0, 0.05, (1, 3, 512)).astype(np.float32)
    return Method(MethodSpec("svm all"), LinearDirections(steps))
