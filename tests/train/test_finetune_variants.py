"""The variants: published layers by position, and starts that keep what the networks know."""

import pytest
import torch

from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.train.finetune_variants import VARIANTS, freeze_table, start

SMALL = GeneratorConfig(resolution=16, fmaps_base=64, fmaps_max=8)
CRITIC = DiscriminatorConfig(resolution=16, fmaps_base=64, fmaps_max=8)


def thin(resolution):
    """A discriminator of that resolution with one channel or two."""
    return Discriminator(
        DiscriminatorConfig(resolution=resolution, fmaps_base=resolution, fmaps_max=2)
    )


@pytest.mark.parametrize(
    ("variant", "generator", "discriminator"),
    [
        (VARIANTS["v1"], {"mapping"}, {"layer12", "layer13", "layer14"}),
        (
            VARIANTS["v8"],
            {"mapping", "layer0", "layer1", "output0"},
            {"layer12", "layer13", "layer14"},
        ),
        (
            VARIANTS["v9"],
            {"mapping", *(f"layer{i}" for i in range(6)), "output0", "output1", "output2"},
            {*(f"layer{i}" for i in range(8, 15)), "input5", "input6"},
        ),
    ],
)
def test_variants_name_the_published_layers_at_256_px(variant, generator, discriminator):
    """The layer names of the published training code."""
    names = {part.removeprefix("synthesis.").rstrip(".") for part in variant.generator_parts()}
    assert names == generator
    assert {part.rstrip(".") for part in variant.discriminator_parts(thin(256))} == discriminator


def test_variants_keep_their_distance_from_the_score_at_128_px():
    assert VARIANTS["v8"].discriminator_parts(thin(128)) == ("layer10.", "layer11.", "layer12.")


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_preserving_start_draws_and_scores_as_before(variant):
    generator, discriminator = Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2)
    new, critic = start(variant, generator, discriminator, preserving=True)
    z, label = torch.randn(4, 512), torch.zeros(4, 7)
    with torch.no_grad():
        w, before = new.mapping(z, label), generator.mapping(z)
        # FineTune-v9 adds a second branch, which starts weak.
        assert torch.allclose(w, before, rtol=1e-3, atol=1e-2 if variant.split_mapping else 1e-5)
        images = generator(z)
        scores = critic(images, label), discriminator(images)
    assert torch.allclose(*scores, atol=1e-5)


def test_preserving_start_hardly_heeds_the_label_at_first():
    new, _ = start(
        VARIANTS["v1"], Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2), preserving=True
    )
    z, label = torch.randn(8, 512), torch.randn(8, 7)
    with torch.no_grad():
        change = new.mapping(z, label) - new.mapping(z, 0 * label)
        assert change.std() < 0.02 * new.mapping(z, label).std()


def test_published_start_draws_other_faces():
    generator = Generator(SMALL, seed=1)
    new, _ = start(VARIANTS["v1"], generator, Discriminator(CRITIC, seed=2), preserving=False)
    z = torch.randn(4, 512)
    with torch.no_grad():
        difference = new.mapping(z, torch.zeros(4, 7)) - generator.mapping(z)
        assert difference.std() > 0.1 * generator.mapping(z).std()


def test_second_variant_continues_where_the_first_stopped():
    first = start(VARIANTS["v1"], Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))
    for old, new in zip(first, start(VARIANTS["v8"], *first), strict=True):
        for key, value in old.state_dict().items():
            assert torch.equal(value, new.state_dict()[key])


def test_only_the_named_layers_train():
    generator, discriminator = start(
        VARIANTS["v8"], Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2)
    )
    learning = {
        name.rsplit(".", 2)[0]
        for name, p in generator.synthesis.named_parameters()
        if p.requires_grad
    }
    assert {name.split(".")[0] for name in learning} == {"layer0", "layer1", "output0"}
    assert all(parameter.requires_grad for parameter in generator.mapping.parameters())
    assert not any(p.requires_grad for p in discriminator.layer3.parameters())


def test_freeze_table_counts_parameters_and_names_the_trained_layers():
    networks = start(VARIANTS["v8"], Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))
    table = freeze_table(*networks)
    for name, network in zip(table.index, networks, strict=True):
        parameters = list(network.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        assert table.loc[name, "trained"] == trained
        assert table.loc[name, "frozen"] == sum(p.numel() for p in parameters) - trained > 0
    assert table.loc["generator", "trained layers"] == "mapping, layer0, layer1, output0"
    assert table.loc["discriminator", "trained layers"] == "layer4, layer5, layer6"


def test_new_branch_of_v9_has_the_published_spread():
    generator, _ = start(VARIANTS["v9"], Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))
    state = generator.state_dict()
    new = torch.cat([v.flatten() for k, v in state.items() if k.startswith("mapping.dense_new")])
    assert new.std().item() == pytest.approx(0.15, rel=0.01)
