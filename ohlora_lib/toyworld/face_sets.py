"""Sets of rendered faces: rendered once in parallel, kept as memory-mapped arrays in data/.

The folder's name contains a digest of the renderer's code, so that a changed renderer makes new
faces.
"""

import ast
import contextlib
import hashlib
import shutil
from dataclasses import dataclass, replace
from functools import cache
from itertools import count as numbers
from pathlib import Path

import numpy as np
import torch

from ohlora_lib.compute.jobs import Job, run_jobs
from ohlora_lib.compute.workers import cpu_workers
from ohlora_lib.store import ROOT
from ohlora_lib.store.atomic import atomic_path
from ohlora_lib.toyworld import attributes
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, sample_attributes, texture_seed
from ohlora_lib.toyworld.renderer import render

PER_SHARD = 250
MOST_FACES = 1_000_000  # per set; rare faces are searched among the indices above
RARE = ("", "", "is_old", "has_glasses")  # of face i: RARE[i % 4]; every second "" gets defects
DEFECTS_BELOW = 0.72  # quality; above, the renderer draws none
CACHE = ROOT / "data" / "toyworld" / "faces"
PAIR_SEED, TRAIN_SEED, POOR_SEED, TEST_SEED = 20_030, 20_031, 20_032, 90_210
LABEL_SEED = 20_033
"""Seeds: pairs that train the generator; faces that train the other networks; faces with defects;
held-out test faces; rendered faces that are labeled together with generated ones."""


@dataclass(frozen=True)
class FaceSet:
    """Faces 0 to count - 1 of a seed.

    `shared_texture`: all use texture seed 0 (strands, bokeh), so that the attributes determine the
    image, as regression needs. `own_hair`: only strands differ nevertheless; shared ones would be
    drawn into all hair. `poor`: all have visible defects of any strength, as the usual one in
    twenty is too few to learn from. `rare`: of four faces one is old, one wears glasses, one has
    such defects, and one is an ordinary sample.
    """

    seed: int
    count: int
    size: int = 128
    shared_texture: bool = False
    poor: bool = False
    rare: bool = False
    own_hair: bool = False


@dataclass(frozen=True)
class Faces:
    """images (N, S, S, 3) uint8, maps (N, S, S) uint8, attributes (N, A) float32."""

    images: np.ndarray
    maps: np.ndarray
    attributes: np.ndarray
    name: str = ""  # identifies set and renderer

    def __len__(self):
        return len(self.images)

    def column(self, name: str) -> np.ndarray:
        """(N,) values of one attribute."""
        return self.attributes[:, ATTRIBUTE_NAMES.index(name)]

    def part(self, rows: slice | np.ndarray) -> "Faces":
        """Some rows."""
        return Faces(self.images[rows], self.maps[rows], self.attributes[rows], self.name)

    def with_others(self, others: "Faces") -> "Faces":
        """Both sets together, in memory."""
        parts = ((getattr(self, part), getattr(others, part)) for part in PARTS)
        return Faces(*(np.concatenate(pair) for pair in parts), self.name)

    def pick(self, count: int, rng: np.random.Generator) -> "Faces":
        """`count` random rows (with repetition), sorted, in memory."""
        return self.part(np.sort(rng.integers(len(self), size=count)))


PARTS = ("images", "maps", "attributes")


def load_faces(wanted: FaceSet, cache: Path = CACHE, workers: int | None = None) -> Faces:
    """The faces of a set; they are rendered first if needed, and an interrupted run resumes."""
    folder = _finished(wanted, cache)
    if folder is None:
        folder = cache / f"{renderer_digest()}-{_name(wanted)}"
        _render_all(wanted, folder, workers)
    arrays = (np.load(folder / f"{part}.npy", mmap_mode="r")[: wanted.count] for part in PARTS)
    return Faces(*arrays, name=f"{renderer_digest()}-{_name(wanted)}")


def _finished(wanted: FaceSet, cache: Path) -> Path | None:
    """The smallest finished set that contains it: a larger set begins with the same faces."""
    sets = cache.glob(f"{renderer_digest()}-{_name(wanted, '*')}")
    whole = [one for one in sets if all((one / f"{part}.npy").exists() for part in PARTS)]
    sizes = {int(one.name.split("-")[2]): one for one in whole}
    enough = [size for size in sizes if size >= wanted.count]
    return sizes[min(enough)] if enough else None


def as_images(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float in -1..1, channels last."""
    return torch.tensor(pixels, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def renderer_digest() -> str:
    """Eight characters that change with the renderer's code, not with comments or docstrings."""
    code = hashlib.sha256()
    for path in sorted(Path(attributes.__file__).parent.glob("*.py")):
        if path.name not in ("__init__.py", "dataset.py"):
            code.update(_code_only(path.read_text()).encode())
    return code.hexdigest()[:8]


def _code_only(source: str) -> str:
    """The code without formatting, comments and bare strings (docstrings)."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [
                line
                for line in body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return ast.dump(tree)


def _name(wanted: FaceSet, count: str = "") -> str:
    texture = "shared" if wanted.shared_texture else "own"
    texture += "_own_hair" * wanted.own_hair
    kind = "-poor" * wanted.poor + "-rare" * wanted.rare
    return f"{wanted.seed}-{count or wanted.count}-{wanted.size}-{texture}{kind}"


def _render_all(wanted: FaceSet, folder: Path, workers: int | None) -> None:
    jobs = []
    for start in range(0, wanted.count, PER_SHARD):
        task = (wanted, start, min(start + PER_SHARD, wanted.count))
        jobs.append(Job(folder / "shards" / f"{start:06d}.npz", task))
    with cpu_workers(workers) if len(jobs) > 1 else contextlib.nullcontext() as executor:
        shards = run_jobs(_render_shard, jobs, f"faces {_name(wanted)}", executor)
    for part in PARTS:
        _join(shards, part, wanted.count, folder / f"{part}.npy")
    shutil.rmtree(folder / "shards")


def _render_shard(task, path: Path) -> None:
    wanted, start, end = task
    drawn = [_render_one(wanted, index) for index in range(start, end)]
    values = [list(face.attributes.to_dict().values()) for face in drawn]
    np.savez(
        path,
        images=np.stack([face.image for face in drawn]),
        maps=np.stack([face.parse_map for face in drawn]),
        attributes=np.array(values, np.float32),
    )


def _render_one(wanted: FaceSet, index: int):
    kind = RARE[index % len(RARE)] if wanted.rare else ""
    people = (sample_attributes(wanted.seed, index + draw * MOST_FACES) for draw in numbers())
    face = next(one for one in people if not kind or getattr(one, kind))
    if wanted.poor or (wanted.rare and not kind and index % 2):
        drawn = np.random.default_rng([wanted.seed, index, 2]).random()
        face = replace(face, quality=float(DEFECTS_BELOW * drawn))
    texture, hair = texture_seeds(wanted, index)
    return render(face, texture, wanted.size, hair)


def texture_seeds(wanted: FaceSet, index: int) -> tuple[int, int]:
    """The seeds of a face's textures and of those of its hair."""
    own = texture_seed(wanted.seed, index)
    texture = 0 if wanted.shared_texture else own
    return texture, own if wanted.own_hair else texture


def _join(shards: list[Path], part: str, count: int, path: Path) -> None:
    """One array file from the shards', without holding all of it in memory."""
    with np.load(shards[0]) as first:
        shape, dtype = (count, *first[part].shape[1:]), first[part].dtype
    with atomic_path(path) as temporary:
        whole = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        for i, shard in enumerate(shards):
            with np.load(shard) as content:
                whole[i * PER_SHARD : (i + 1) * PER_SHARD] = content[part]
        whole.flush()
