"""The forms: published layers by position, and starts that keep what the networks know."""

import pytest
import torch

from ohlora_lib.models.discriminator import Discriminator, DiscriminatorConfig
from ohlora_lib.models.stylegan import Generator, GeneratorConfig
from ohlora_lib.train.finetune_forms import FORMS, V1, V8, V9, start

SMALL = GeneratorConfig(resolution=16, fmaps_base=64, fmaps_max=8)
CRITIC = DiscriminatorConfig(resolution=16, fmaps_base=64, fmaps_max=8)


def thin(resolution):
    """A discriminator of that resolution with one channel or two."""
    return Discriminator(
        DiscriminatorConfig(resolution=resolution, fmaps_base=resolution, fmaps_max=2)
    )


@pytest.mark.parametrize(
    ("form", "generator", "discriminator"),
    [
        (V1, {"mapping"}, {"layer12", "layer13", "layer14"}),
        (V8, {"mapping", "layer0", "layer1", "output0"}, {"layer12", "layer13", "layer14"}),
        (
            V9,
            {"mapping", *(f"layer{i}" for i in range(6)), "output0", "output1", "output2"},
            {*(f"layer{i}" for i in range(8, 15)), "input5", "input6"},
        ),
    ],
)
def test_forms_name_the_published_layers_at_256_px(form, generator, discriminator):
    """As golden/README.md lists them."""
    names = {part.removeprefix("synthesis.").rstrip(".") for part in form.generator_parts()}
    assert names == generator
    assert {part.rstrip(".") for part in form.discriminator_parts(thin(256))} == discriminator


def test_forms_keep_their_distance_from_the_score_at_128_px():
    assert V8.discriminator_parts(thin(128)) == ("layer10.", "layer11.", "layer12.")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_kept_start_draws_and_scores_as_before(form):
    generator, discriminator = Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2)
    new, critic = start(form, generator, discriminator, keep=True)
    z, label = torch.randn(4, 512), torch.zeros(4, 7)
    with torch.no_grad():
        w, before = new.mapping(z, label), generator.mapping(z)
        # FineTune-v9 adds a second branch, which starts weak.
        assert torch.allclose(w, before, rtol=1e-3, atol=1e-2 if form.split else 1e-5)
        images = generator(z)
        scores = critic(images, label), discriminator(images)
    assert torch.allclose(*scores, atol=1e-5)


def test_kept_start_hardly_heeds_the_label_at_first():
    new, _ = start(V1, Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2), keep=True)
    z, label = torch.randn(8, 512), torch.randn(8, 7)
    with torch.no_grad():
        change = new.mapping(z, label) - new.mapping(z, 0 * label)
        assert change.std() < 0.02 * new.mapping(z, label).std()


def test_published_start_draws_other_faces():
    generator = Generator(SMALL, seed=1)
    new, _ = start(V1, generator, Discriminator(CRITIC, seed=2), keep=False)
    z = torch.randn(4, 512)
    with torch.no_grad():
        difference = new.mapping(z, torch.zeros(4, 7)) - generator.mapping(z)
        assert difference.std() > 0.1 * generator.mapping(z).std()


def test_second_form_goes_on_where_the_first_stopped():
    first = start(V1, Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))
    for old, new in zip(first, start(V8, *first), strict=True):
        for key, value in old.state_dict().items():
            assert torch.equal(value, new.state_dict()[key])


def test_only_what_the_form_names_learns():
    generator, discriminator = start(V8, Generator(SMALL, seed=1), Discriminator(CRITIC, seed=2))
    learning = {
        name.rsplit(".", 2)[0]
        for name, p in generator.synthesis.named_parameters()
        if p.requires_grad
    }
    assert {name.split(".")[0] for name in learning} == {"layer0", "layer1", "output0"}
    assert all(parameter.requires_grad for parameter in generator.mapping.parameters())
    assert not any(p.requires_grad for p in discriminator.layer3.parameters())
