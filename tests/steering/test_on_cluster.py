"""All sharded work, on a cluster of 1, 2 and 4 workers: the bytes that processes here write."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch

from ohlora_lib.compute import cluster
from ohlora_lib.compute import workers as workers_module
from ohlora_lib.compute.cluster import Cluster, Setup
from ohlora_lib.compute.workers import cpu_workers, workers
from ohlora_lib.measure import segmentation
from ohlora_lib.measure.scores import SECOND
from ohlora_lib.measure.segmentation import segment, segmentation_scores
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.steering import samples
from ohlora_lib.steering.calibrate import calibrate_methods
from ohlora_lib.steering.control_test import LatentSet, control_test
from ohlora_lib.steering.generate import generate_images
from ohlora_lib.steering.method import Method
from ohlora_lib.steering.method_spec import MethodSpec
from ohlora_lib.steering.ridge import fit_ridge
from ohlora_lib.steering.samples import sample_faces, sample_latents
from ohlora_lib.steering.sampling import BLOCK, Sampler, latents
from ohlora_lib.store.tables import write_table
from ohlora_lib.toyworld import dataset, face_sets
from ohlora_lib.toyworld.dataset import make_faces
from ohlora_lib.toyworld.face_sets import FaceSet, load_faces
from tests.steering.conftest import SIZE
from tests.steering.test_samples import Brightness, StripeParser

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def headless(monkeypatch):
    monkeypatch.setenv("OHLORA_HEADLESS", "1")


def work(folder, planted_sampler, meters, sampled):
    """Every stage's shards, at the least size: more than one shard each."""
    sampler = Sampler(Generator(GeneratorConfig(16, fmaps_base=128, fmaps_max=16), seed=1).eval())
    sample_latents(sampler, Brightness(), folder / "07", seed=5, count=BLOCK + 6)
    w = sampler.vectors(latents(3, range(BLOCK + 6), sampler.z_size))
    images = generate_images(sampler, w, folder / "01")
    with workers(CPU) as pool:
        found = segment(images, np.arange(12), folder / "03", StripeParser(), pool)
    write_table(segmentation_scores(found, SECOND), folder / "04.parquet")
    sample_faces(sampler, StripeParser(), folder / "06", 2, BLOCK + 6)
    method = Method(MethodSpec("ridge", calibrated=True), fit_ridge(*sampled).directions)
    z = latents(4, range(8), SIZE)
    (method,) = calibrate_methods([method], planted_sampler, meters, z, folder=folder / "08c")
    tested = LatentSet.from_seed(3, range(10), SIZE)
    with workers(CPU) as pool:
        control_test([method], planted_sampler, meters, tested, None, pool, folder / "08")
    make_faces(folder / "toy", seed=5, count=6, size=64)
    load_faces(FaceSet(5, 6, size=64), folder / "sets")


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files}  # fmt: skip


def test_any_number_of_workers_writes_the_same_bytes(
    sampler, meters, sampled, tmp_path, monkeypatch
):
    sizes = [(samples, "PART", BLOCK), (segmentation, "SHARD", 8)]
    for module, name, size in [*sizes, (dataset, "PER_SHARD", 4), (face_sets, "PER_SHARD", 4)]:
        monkeypatch.setattr(module, name, size)
    todo = partial(work, planted_sampler=sampler, meters=meters, sampled=sampled)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(workers_module, "processes", lambda count=None: nullcontext(pool))
        todo(tmp_path / "here")  # as one worker process does it
    torch.set_num_threads(threads)
    expected = digests(tmp_path / "here")
    assert len(expected) > BLOCK + 6 + 2 * 12  # images, class maps and faces, beside tables
    with cluster.local(1) as made:
        for count in (1, 2, 4):
            made.scale(count)
            with cluster.connected(made.scheduler_address):
                cluster.current().client().wait_for_workers(count)
                todo(tmp_path / str(count))
            assert digests(tmp_path / str(count)) == expected, count
        # As with workers on machines that see no folder of this one.
        with cluster.connected(made.scheduler_address) as setup:
            apart = Cluster(Setup(**{**vars(setup), "shared": False}))
            monkeypatch.setattr(cluster, "current", lambda: apart)
            with cpu_workers() as pool:
                assert pool is apart
            todo(tmp_path / "apart")
            assert digests(tmp_path / "apart") == expected
            assert apart.received > 1e5
            apart.close()
