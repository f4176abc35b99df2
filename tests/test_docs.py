"""The hand-written documents agree with the code."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from ohlora_lib.checkpoints import resolver
from ohlora_lib.faces.concept import FITS, concept_conditions
from ohlora_lib.faces.properties import FILTER_PROPERTIES, PROPERTIES
from ohlora_lib.runner.costs import Cost
from ohlora_lib.runner.pipeline import Pipeline
from ohlora_lib.steering.comparison import METERS
from ohlora_lib.steering.method_spec import DIRECTIONS
from ohlora_lib.steering.selection import Z_VECTORS, group_names_file
from ohlora_lib.toyworld import face_sets
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, filter_truth, sample_attributes
from ohlora_lib.toyworld.defects import KINDS
from ohlora_lib.train.finetune_variants import VARIANTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GLOSSARIES = [DOCS / "glossary.md", DOCS / "glossary.ko.md"]


def terms(path):
    """Term -> its sentences; the Korean term in brackets after it is left out."""
    entry = r"^### (.+?)(?: \([^)]*[가-힣][^)]*\))?\n\n(.+)$"
    return dict(re.findall(entry, path.read_text(), re.MULTILINE))


def test_both_glossaries_have_the_same_terms_in_order_each_with_sentences():
    english, korean = map(terms, GLOSSARIES)
    assert list(english) == list(korean) == sorted(english, key=str.lower)
    assert all(sentence.endswith(".") for sentence in [*english.values(), *korean.values()])
    assert all(re.search("[가-힣]", sentence) for sentence in korean.values())
    assert english.keys() == set(re.findall(r"^### (.+)$", GLOSSARIES[0].read_text(), re.M))


@pytest.mark.parametrize("path", GLOSSARIES, ids=lambda path: path.stem)
def test_glossary_has_every_code_name_of_the_pages(path):
    codes = {*PROPERTIES, *FILTER_PROPERTIES, *DIRECTIONS, *METERS.values()}
    codes |= {f"FineTune-{name}" for name in VARIANTS} | {"mapping_split1", "mapping_split2"}
    codes |= {"svm_ms2", "hhlh", "calibrated", "recentered"}
    assert codes - terms(path).keys() == set()


def test_data_card_states_the_shares_and_the_seeds_of_the_renderer():
    card = (DOCS / "data_card.md").read_text()
    faces = np.array([list(sample_attributes(1, i).to_dict().values()) for i in range(4000)])
    truth = filter_truth(faces)
    shares = {
        "female": truth["gender"],
        "old": truth["age"],
        "with glasses": truth["glass"],
        "poor quality": 1 - truth["quality"],
        "fits the concept": concept_conditions(truth)[FITS],
    }
    for name, values in shares.items():
        stated = int(re.search(rf"^\| {name}.*\| (\d+)% \|$", card, re.MULTILINE)[1])
        assert stated / 100 == pytest.approx(values.mean(), abs=0.02), name
    assert (
        f"{len(ATTRIBUTE_NAMES)} numbers" in card and f"{len(ATTRIBUTE_NAMES)} attributes" in card
    )
    seeds = {name for name in vars(face_sets) if name.endswith("_SEED")}
    assert seeds == set(re.findall(r"^\| `(\w+_SEED)`", card, re.MULTILINE))
    assert ", ".join(KINDS) in card


def test_citation_names_this_version_and_the_same_works_as_the_bibliography():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    bibliography = (DOCS / "citation.bib").read_text()
    assert f"version = {{{project['version']}}}" in bibliography
    addresses = {one["url"].rsplit("/", 1)[-1] for one in citation["references"]}
    assert all(address in bibliography for address in addresses)
    assert bibliography.count("@") == len(citation["references"]) + 1


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_readme_has_the_five_commands_to_the_pages_of_the_published_weights(name):
    """They fetch exactly the weights and the selection that the pipeline names."""
    block = re.search(r"```bash\n(\S+ published_v8.*?)```", (ROOT / name).read_text(), re.DOTALL)[1]
    lines = block.replace("\\\n", "").splitlines()
    commands = [line.partition("  #")[0].split() for line in lines]
    stages = Pipeline.load("published_v8", "paper").stages
    assert len(commands) == 5 and commands[0][-1] == "--dry-run"
    assert sorted(commands[1][4:]) == sorted(set().union(*(stage.weights for stage in stages)))
    folder, address = commands[2][4], commands[2][-1].replace('"', "")
    assert folder in [stage.parameters.get("selection") for stage in stages]
    assert {Z_VECTORS, group_names_file()} == {
        re.sub(r"\{.*\}", part, address).rpartition("/")[2]
        for part in re.search(r"\{(.*)\}", address)[1].split(",")
    }
    assert [one[-1] for one in commands[3:]] == ["smoke", "paper"]


@pytest.mark.parametrize("name", ["published_weights.md", "published_weights.ko.md"])
def test_page_of_the_published_weights_states_what_dry_run_estimates(name, monkeypatch):
    monkeypatch.setattr(resolver, "SPEED", ROOT / "nothing")  # not this machine's speed
    pipeline = Pipeline.load("published_v8", "paper")
    cost = sum((one.on(2) for one in pipeline.costs(2).values()), Cost())
    text = (DOCS / name).read_text()
    assert re.search(rf"{cost.seconds / 3600:.0f} ?(hours|시간)", text)
    assert f"{cost.disk / 1e9:.1f} GB" in text and f"{cost.memory / 1e9:.1f} GB" in text
