"""Notebook 09 on an untrained generator: every branch of its selection and export."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ohlora_lib import OhLora
from ohlora_lib.models.pixels import enlarged
from ohlora_lib.steering.method import Method, write_methods
from ohlora_lib.steering.method_spec import MethodSpec
from tests.notebooks.page import Page, runner


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runner(tmp_path_factory.mktemp("09"))


@pytest.fixture(scope="module")
def page(run):
    return run("default")


def test_if_nothing_fits_the_next_best_are_selected_and_the_page_says_so(page):
    table = page.scope["table"]
    assert not table["fits"].any() and table["selected"].sum() == 2
    assert "2 of the 2 selected latents do not meet all rules: 0 picked by a person" in page.text
    sentence, headline, picture = page.findings[0]
    assert sentence.startswith("Of 3 new latents steered by 'ridge, calibrated, recentered'")
    assert sentence.endswith("2 are selected, 2 of which do not meet all rules.")
    assert headline["tested"] == "3" and headline["selected"] == "2" and picture == "in_use"
    assert set(page.shown) > {"funnel", "chosen", "in_use"}


def test_everything_is_exported_best_latent_first(run, page):
    """The untrained generator's scores do not vary, so the ranks are set here."""
    table = page.scope["table"].assign(selected=True, sum_corr=[1.0, 3.0, 2.0])
    ranked = run("ranked", first="faces", before=page, table=table)
    assert {path.name for path in ranked.folder.iterdir()} == {
        "ohlora_z_vectors.csv", "ohlora_w_group_names.csv", "oh_lora.safetensors"
    }  # fmt: skip
    saved = pd.read_csv(ranked.folder / "ohlora_w_group_names.csv")
    assert saved["case"].tolist() == [1, 2, 0]
    assert saved["group_name"].str.fullmatch("[hl]{3}").all()
    z = pd.read_csv(ranked.folder / "ohlora_z_vectors.csv").to_numpy(np.float32)
    assert z.shape == (3, 519) and not z[:, 512:].any()
    assert np.array_equal(z[:, :512], page.scope["candidates"].z[[1, 2, 0]])
    assert list(ranked.shown)[:3] == ["chosen", "expressions_1", "expressions_2"]
    lora = OhLora.load(ranked.folder / "oh_lora.safetensors")
    neutral = ranked.scope["neutral"]
    drawn = [
        enlarged(np.asarray(lora.image(face=face))[None], neutral[0].shape[0])[0]
        for face in range(3)
    ]
    distances = [[np.abs(image.astype(int) - other).mean() for other in neutral] for image in drawn]
    assert np.argmin(distances, axis=1).tolist() == [0, 1, 2] and np.diag(distances).max() < 1


def test_with_no_selected_latent_the_page_is_complete_and_states_the_remedy(run, page):
    empty = run("empty", first="rule", before=page, min_selected=0)
    assert [path.name for path in empty.folder.iterdir()] == ["selection.parquet"]
    assert set(empty.shown) == {"funnel"}
    assert "increase `test_latents` or `min_selected`" in empty.text
    assert empty.findings[0][1]["selected"] == "0" and empty.findings[0][2] == "funnel"


def test_a_pick_overrides_the_rules_and_the_page_says_so(run, page, tmp_path):
    picks = tmp_path / "picks.csv"
    picks.write_text("idx,chosen\n1,1\n")
    picked = run("picked", first="rule", before=page, min_selected=0, picks=str(picks))
    assert picked.scope["table"].query("selected")["idx"].tolist() == [1]
    assert "1 of the 1 selected latents do not meet all rules: 1 picked by a person" in picked.text
    picks.write_text("idx,chosen\n1,0\n")
    none = run("none", first="rule", before=page, min_selected=0, picks=str(picks))
    assert f"set `chosen` to 1 in {picks}" in none.text


def test_a_saved_selection_is_tested_again(run, page):
    again = run("again", first="latents", before=page, selection=str(page.folder))
    assert again.findings[0][0].startswith("Of 2 saved latents")
    saved = pd.read_csv(page.folder / "ohlora_w_group_names.csv").set_index("case")
    table = again.scope["table"].set_index("idx").loc[saved.index]
    for name in ("eyes_corr", "mouth_corr", "pose_corr"):
        assert np.allclose(table[f"cnn_{name}"], saved[name], atol=0.02, equal_nan=True)


def test_the_best_method_of_notebook_08_is_used_with_its_calibration(run, page, tmp_path):
    """Ranked by the parser first: 'ridge' passes there, the calibrated method on the CNN only."""
    scope = page.scope
    spec = MethodSpec("ridge", calibrated=True)
    plain = Method.build(MethodSpec("ridge"), scope["directions"])
    slow = Method(spec, plain.directions, factors=(0.5, 0.25, 2.0))
    write_methods(tmp_path / "methods.json", [plain, slow], scope["meters"])
    results = scope["results"].assign(part="test")
    for meter, rows in (("parser", "ridge"), ("cnn", slow.name)):
        good = results.filter(regex=f"^{meter}_.*_corr$").columns
        results = results.assign(**dict.fromkeys(good, 0.5))
        tables = [results.assign(method=name) for name in (slow.name, "ridge")]
        tables[[slow.name, "ridge"].index(rows)][list(good)] = 0.99
        pd.concat(tables).to_parquet(tmp_path / "passes.parquet")
        scope = dict(scope)
        given = {"tests_folder": str(tmp_path), "method": None}
        chosen = Page(tmp_path / "09", **given)
        chosen.scope |= scope | given | {"say": chosen.said.append, "inside_root": Path}
        chosen.run("method", "method")
        assert chosen.scope["steering"].name == rows
    assert chosen.scope["steering"].factors == (0.5, 0.25, 2.0)
    assert json.loads((tmp_path / "methods.json").read_text())[1]["factors"] == [0.5, 0.25, 2.0]
