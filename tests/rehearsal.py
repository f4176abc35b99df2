"""Parts of a rehearsal of the paper scale: stand-ins for all published weights, reduced counts.

The test suite runs `published_filter` and stage 07 of `published_v8` with them; whole pipelines are
run by `python -m benchmarks.rehearsal`. The weights are random, by the recipes of the reference
data, so the results mean nothing; layouts, sizes and the flow of data are the real ones.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
import yaml

from ohlora_lib.checkpoints import CHECKPOINTS, layouts
from ohlora_lib.faces.properties import FILTER_PROPERTIES
from ohlora_lib.models.discriminator import DiscriminatorConfig
from ohlora_lib.models.facexformer import FaceXFormerConfig
from ohlora_lib.models.filter_cnn import FilterCNNConfig
from ohlora_lib.models.mtcnn import MTCNNConfig
from ohlora_lib.models.property_cnn import PropertyCNNConfig
from ohlora_lib.models.stylegan import GeneratorConfig
from ohlora_lib.steering.selection import Selection, write_selection
from tests.reference.golden import read_golden, seeded_network

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "reference" / "data"
RECIPES = {
    FaceXFormerConfig(): "facexformer",
    MTCNNConfig(): "mtcnn",
    PropertyCNNConfig(): "merged_property_cnn",
    DiscriminatorConfig(): "genforce_discriminator_256",
    DiscriminatorConfig(label_size=7, group_size=16): "ohlora_v8_discriminator_256",
    GeneratorConfig(): "genforce_generator_256",
    GeneratorConfig(label_size=7): "ohlora_v8_generator_256",
    GeneratorConfig(label_size=7, split_size=2048): "ohlora_v9_generator_256",
    **{FilterCNNConfig(filter=name): f"cnn_{name}" for name in FILTER_PROPERTIES},
}
"""Published layout -> the reference set whose seeded weights fill it."""
COUNTS = {
    "images": 64, "folds": 2, "test_images": 16, "population": 16, "epochs": 1, "eval_count": 1,
    "eval_images": 16, "test_latents": 2, "calibration_latents": 2, "confirmation_latents": 2,
    "confirmation_seeds": 1, "judge_population": 16, "max_selected": 2, "min_selected": 1,
    "shown": 1, "min_kept": 24, "faces": 32, "edited": 2, "rendered": 24, "count": 1,
}  # fmt: skip
LABELED = 32
CONSTANTS = {"labeled": LABELED, "filter_epochs": 1, "choices": 1, "images_v1": COUNTS["images"]}


def stand_in(config: object) -> torch.nn.Module:
    """A network of this published layout with seeded weights."""
    if config in RECIPES:
        return seeded_network(read_golden(REFERENCE, RECIPES[config]))
    torch.manual_seed(0)
    return layouts.build(config)  # a part of another one: property-cnn-7


def write_stand_ins(
    folder: Path,
    names: list[str] | None = None,
    networks: Mapping[object, torch.nn.Module] | None = None,
) -> list[Path]:
    """Files as the publishers wrote them, of these checkpoints (default: all).

    `networks`: config -> network for those that shall not have random weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    states = {config: network.state_dict() for config, network in (networks or {}).items()}
    contents = {}
    for name in names or CHECKPOINTS:
        checkpoint = CHECKPOINTS[name]
        if checkpoint.config not in states:
            states[checkpoint.config] = stand_in(checkpoint.config).state_dict()
        for part in checkpoint.parts:
            own = {
                key.removeprefix(part.prefix): value
                for key, value in states[checkpoint.config].items()
                if key.startswith(part.prefix)
            }
            others = [one.prefix for one in checkpoint.parts if one.prefix and one is not part]
            own = {k: v for k, v in own.items() if not k.startswith(tuple(others))}
            if part.inside:  # several networks in one file
                contents.setdefault(part.files[0], {})[part.inside] = own
            else:
                contents[part.files[0]] = own
    for file, content in contents.items():
        torch.save(content, folder / file)
    return [folder / file for file in contents]


def copy_repository(root: Path) -> None:
    """What a run needs, at `root`."""
    skipped = shutil.ignore_patterns("__pycache__", ".git", ".venv", "data", "reports")
    shutil.copytree(ROOT, root, ignore=skipped, dirs_exist_ok=True)


def reduce_counts(root: Path, **counts: int) -> None:
    """Set the counts of all pipelines at paper scale to the least that works, or to these."""
    counts = COUNTS | counts
    kept = counts["min_kept"] / counts["images"]  # random CNNs agree on no image
    for path in (root / "pipelines").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        if isinstance(declared := content.get("constants", ""), dict):
            declared.update({k: v for k, v in CONSTANTS.items() if k in declared})
            declared.update({"kept": kept} if "kept" in declared else {})
        for stage in content["stages"]:
            paper = stage.setdefault("scales", {}).setdefault("paper", {})
            declared = stage.get("parameters", {}).keys() | paper.keys()
            declared |= {key for scale in stage["scales"].values() for key in scale or ()}
            given = {**stage.get("parameters", {}), **paper}
            none = {k for k, v in given.items() if v == 0 and k != "epochs"}  # 0 epochs: as planned
            paper.update({k: v for k, v in counts.items() if k in declared - none})
            if "cutoffs" in declared:
                paper["min_kept"] = counts["min_kept"]
            if "directions" in declared:
                paper["images"] = 256  # the least of notebook 07
            if "selection.parquet" in stage.get("outputs", ()):
                paper["test_latents"] = 1
            given = {**stage.get("parameters", {}), **paper}
            if methods := given.get("methods"):
                paper["methods"] = [methods[0], methods[-1]]
                paper["confirmed"] = given["confirmed"][:1]
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def write_labels(root: Path) -> None:
    """Labels by nobody, for the stages that need a person's."""
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(rng.integers(0, 2, (LABELED, 4)), columns=list(FILTER_PROPERTIES))
    labels.insert(0, "idx", np.arange(LABELED))
    (root / "data/labels").mkdir(parents=True, exist_ok=True)
    for name in ("ohlora_v3_original", "ohlora_v3_finetune_v1"):
        labels.to_csv(root / f"data/labels/{name}.csv", index=False)


def write_choices(root: Path) -> None:
    """Selected latents by nobody, for the stages that test those of the original project."""
    rng = np.random.default_rng(1)
    for path in (root / "pipelines").glob("*.yaml"):
        fitted = {}
        for stage in yaml.safe_load(path.read_text())["stages"]:
            given = stage.get("parameters", {})
            if "group_bits" in given:
                fitted = given  # the directions that the next stages test
            if "selection" in given:
                name = "".join(rng.choice(["h", "l"], fitted["group_bits"]))
                info = pd.DataFrame({"case": [3], "vector_no": 0, "group_name": name})
                z = rng.standard_normal((1, GeneratorConfig().z_size), np.float32)
                label = np.zeros((1, 7), np.float32)
                folder = root / given["selection"]
                write_selection(Selection(z, label, info), folder, fitted["layer"])


def toy_statements(root: Path, system: str) -> list[str]:
    """Lines of a system's pages that speak of the toy world, except the notebooks' own texts."""
    texts = set()
    for path in (root / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts.update(line.strip() for cell in cells for line in cell.source.splitlines())
    found = []
    for page in sorted((root / "reports" / system).glob("*.md")):
        for line in page.read_text().splitlines():
            if re.search(r"\btoy\b", line, re.IGNORECASE) and line.strip() not in texts:
                found.append(f"{page.name}: {line.strip()}")
    return found


def command(*arguments: str, scale: str = "paper") -> list[str]:
    """The runner of a copy."""
    return [sys.executable, "-m", "ohlora_lib.runner.run", *arguments, "--scale", scale]


def run(root: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the copy's runner."""
    return subprocess.run(command(*arguments), cwd=root, **options)
