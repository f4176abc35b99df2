"""A published NVAE file: recognized by its keys, read without running code, loaded in full."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from ohlora_lib.checkpoints import WeightsError, load, save
from ohlora_lib.checkpoints.layouts import recognize, shapes_of
from ohlora_lib.models.nvae import CELEBA_64, CELEBA_HQ_256, NVAE, QUICK, NVAEConfig

# Channels, z, groups (fine to coarse), cells, flows and mixtures of the generated file.
CHANNELS, LATENTS, GROUPS, CELLS, FLOWS, MIXTURES = 4, 2, (2, 1), 2, 1, 3
TINY = NVAEConfig(
    resolution=16,
    channels=CHANNELS,
    max_channels=16,
    groups=GROUPS,
    latents=LATENTS,
    mixtures=MIXTURES,
)


class PublishedKeys(dict):
    """Keys and random values as NVAE's training script writes them, built from its description
    alone, not from this project's network."""

    def __init__(self):
        super().__init__()
        self.rng = torch.Generator().manual_seed(1)
        one, two, four = CHANNELS, 2 * CHANNELS, 4 * CHANNELS
        self.value("prior_ftr0", four, 4, 4)
        self.conv("stem", one, 3, 3)
        self.encoder_cell("pre_process.0", one, one)
        self.encoder_cell("pre_process.1", one, two)
        cell, join = self.encoder_cell, lambda name, c: self.conv(f"{name}.conv", c, c, 1)
        tower = [(cell, two, two), (cell, two, two), (join, two)] * 2
        tower += [(cell, two, four), (cell, four, four), (cell, four, four)]
        for i, (make, *sizes) in enumerate(tower):
            make(f"enc_tower.{i}", *sizes)
        self.conv("enc0.1", four, four, 1)
        for i, channels in enumerate((four, two, two)):
            self.conv(f"enc_sampler.{i}", 2 * LATENTS, channels, 3)
            for number in (1, 2):
                self.flow(f"nf_cells.{i}.cell{number}")
            if i:
                self.conv(f"dec_sampler.{i - 1}.1", 2 * LATENTS, channels, 1)
        cell, fuse = self.decoder_cell, lambda name, c: self.conv(f"{name}.conv", c, c + LATENTS, 1)
        tower = [(fuse, four), (cell, four, two, 6)]
        tower += [(cell, two, two, 6), (cell, two, two, 6), (fuse, two)] * 2
        for i, (make, *sizes) in enumerate(tower):
            make(f"dec_tower.{i}", *sizes)
        self.decoder_cell("post_process.0", two, one, 3)
        self.decoder_cell("post_process.1", one, one, 3)
        self.conv("image_conditional.1", 10 * MIXTURES, one, 3)

    def value(self, key, *shape):
        self[key] = torch.randn(*shape, generator=self.rng)

    def conv(self, name, outputs, inputs, size, bias=True):
        self.value(f"{name}.weight", outputs, inputs, size, size)
        self.value(f"{name}.log_weight_norm", outputs, 1, 1, 1)
        if bias:
            self.value(f"{name}.bias", outputs)

    def norm(self, name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.value(f"{name}.{part}", channels)
        self[f"{name}.running_var"].abs_()
        self[f"{name}.num_batches_tracked"] = torch.tensor(123)

    def squeeze(self, name, channels):
        for layer, (outputs, inputs) in ((0, (4, channels)), (2, (channels, 4))):
            self.value(f"{name}.se.se.{layer}.weight", outputs, inputs)
            self.value(f"{name}.se.se.{layer}.bias", outputs)

    def encoder_cell(self, name, inputs, outputs):
        for step, channels in enumerate((inputs, outputs)):
            self.norm(f"{name}._ops.{step}.bn_act", channels)
            self.conv(f"{name}._ops.{step}.conv_0", outputs, channels, 3)
        self.squeeze(name, outputs)
        if inputs != outputs:
            for i in range(1, 5):
                self.conv(f"{name}.skip.conv_{i}", outputs // 4, inputs, 1)

    def decoder_cell(self, name, inputs, outputs, expansion):
        up, hidden = inputs != outputs, inputs * expansion
        layer = [f"{name}._ops.0.conv.{i + up}" for i in range(5)]
        self.norm(f"{layer[0]}.bn", inputs)
        for i, sizes in ((1, (inputs, 1)), (2, (1, 5))):
            self.value(f"{layer[i]}.conv.0.weight", hidden, sizes[0], sizes[1], sizes[1])
            self.norm(f"{layer[i]}.conv.1", hidden)
        self.value(f"{layer[3]}.weight", outputs, hidden, 1, 1)
        self.norm(f"{layer[4]}.bn", outputs)
        self.squeeze(name, outputs)
        if up:
            self.conv(f"{name}.skip.1", outputs, inputs, 1, bias=False)

    def flow(self, name):
        hidden = 6 * LATENTS
        self.conv(f"{name}.conv.convz.0", hidden, LATENTS, 3, bias=False)
        self.conv(f"{name}.conv.convz.2", hidden, 1, 5, bias=False)
        self.conv(f"{name}.mu.conv_0", LATENTS, hidden, 1)


@pytest.fixture(scope="module")
def keys():
    return PublishedKeys()


def write(path, state, **others):
    """The dict that NVAE's training script saves, with its options in a Namespace."""
    optimizer = torch.optim.Adamax([torch.nn.Parameter(torch.ones(2))])
    content = {
        "epoch": 90,
        "state_dict": dict(state),
        "optimizer": optimizer.state_dict(),
        "global_step": 1000,
        "args": Namespace(num_latent_scales=2, dataset="celeba_64", weight_decay_norm=0.1),
        "arch_instance": {"normal_enc": ["res_bnswish", "res_bnswish"]},
        "scheduler": {"T_max": 85, "_last_lr": [1e-4]},
        "grad_scalar": {"scale": 65536.0},
    }
    torch.save(content | others, path)
    return path


def test_published_file_is_recognized_and_every_value_is_loaded(tmp_path, keys):
    network = load(write(tmp_path / "checkpoint.pt", keys))
    assert isinstance(network, NVAE) and network.config == TINY and not network.training
    own = network.state_dict()
    kept = {key: value for key, value in keys.items() if "num_batches_tracked" not in key}
    assert all(torch.equal(own[key], value) for key, value in kept.items())
    assert all(key.endswith(".bias") and not own[key].any() for key in own.keys() - kept.keys())
    assert not any("mask" in key for key in own), "masks are not stored"
    with torch.no_grad():
        image = network.generate([1], temperature=0.7)
    assert image.shape == (1, 16, 16, 3)


def test_masks_apply_to_loaded_weights(tmp_path, keys):
    network = load(write(tmp_path / "checkpoint.pt", keys))
    first = network.nf_cells[0].cell1.conv["convz"][0]
    assert first.weight[:, :, 2].abs().min() > 0 and not first.kernel()[:, :, 2].any()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda s: s.pop("dec_tower.2._ops.0.conv.3.weight"), "conv.3.weight' is missing"),
        (lambda s: s.pop("pre_process.1.se.se.0.bias"), "se.se.0.bias' is missing"),
        (lambda s: s.update(other=torch.ones(1)), "'other' is unexpected in a NVAE"),
        (lambda s: s.update({"stem.weight": torch.ones(4, 1, 3, 3)}), "an NVAE for 1 colors"),
        (lambda s: s.pop("image_conditional.1.weight"), "holds no network this version can build"),
        (lambda s: s["enc0.1.weight"].fill_(float("nan")), "'enc0.1.weight' has NaN"),
    ],
)
def test_foreign_or_faulty_file_is_refused_in_one_line(tmp_path, keys, fault, says):
    state = {key: value.clone() for key, value in keys.items()}
    fault(state)
    with pytest.raises(WeightsError) as error:
        load(write(tmp_path / "checkpoint.pt", state))
    assert says in str(error.value) and "checkpoint.pt" in str(error.value)
    assert "\n" not in str(error.value)


class Harmful:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_options_beside_a_namespace_are_still_not_run(tmp_path, keys, capsys):
    for others in ({"hook": Harmful()}, {"args": Namespace(hook=Harmful())}):
        with pytest.raises(WeightsError, match=r"would run code .*: refused"):
            load(write(tmp_path / "checkpoint.pt", keys, **others))
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    [
        replace(CELEBA_64, groups=(2, 1, 1)),
        replace(CELEBA_HQ_256, groups=(1, 1, 1, 1, 1)),
        replace(QUICK, conditions=(), max_channels=96),
        replace(TINY, groups=(2,), max_channels=8, cells=1, flows=0),
    ],
)
def test_config_is_visible_in_the_shapes(config):
    with torch.device("meta"):
        shapes = shapes_of(NVAE(config).state_dict())
    assert recognize(shapes) == config


def test_conditional_network_rebuilds_itself_from_its_file(tmp_path):
    network = NVAE(replace(TINY, conditions=("mouth", "head")), seed=3)
    save(network, tmp_path / "nvae.safetensors")
    again = load(tmp_path / "nvae.safetensors")
    assert again.config == network.config
    own = again.state_dict()
    assert all(torch.equal(own[key], value) for key, value in network.state_dict().items())
