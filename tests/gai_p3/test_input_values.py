"""Labels of conditions, the ordinal loss, and the regressors' training."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ohlora_lib.gai_p3 import input_values as values
from ohlora_lib.gai_p3.collect import Collection
from ohlora_lib.models.condition_cnn import ConditionCNNConfig
from ohlora_lib.models.nvae import CONDITIONS
from ohlora_lib.store import StoreError

NAMES = list(CONDITIONS)
SMALL = values.ValuesPlan(epochs=6, batch=8, network=ConditionCNNConfig(32, width=1 / 8))


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Starting processes would take most of the time."""
    monkeypatch.setattr(values, "workers", lambda device: nullcontext())


def truth(count=300, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.random((count, 5)), columns=NAMES)


@pytest.fixture
def table():
    names = ["female/2.png", "female/1.png", "male/1.png", "female/3.png", "female/1_0.840.png"]
    kinds = ["female", "female", "male", "female", "female"]
    return pd.DataFrame({"kind": kinds, "name": names, "ratio": [1, 1, 1, 1, 0.84]})


def test_women_are_taken_by_name_order_originals_only(table):
    assert values.women_by_name(table, 2).tolist() == [1, 0]
    assert values.women_by_name(table, 9).tolist() == [1, 0, 3]


def test_the_hand_labels_thirds_and_slips_to_a_neighbor():
    true = truth()
    exact = values.simulated_hand(true, slips=0)
    np.testing.assert_array_equal(exact, np.floor(true * 3).clip(0, 2) / 2)
    slipped = values.simulated_hand(true, seed=1, slips=0.1)
    differ = (slipped - exact).abs().to_numpy()
    assert set(np.unique(differ)) == {0, 0.5}
    assert 0.06 < (differ > 0).mean() < 0.14


def test_labels_survive_the_authors_format(table, tmp_path):
    labels = values.simulated_hand(truth(2), slips=0).set_axis([1, 3])
    values.write_labels(labels, table, tmp_path)
    written = pd.read_csv(tmp_path / "eyes.csv")
    assert written.columns.tolist() == ["gender", "img_id", "path", "value"]
    pd.testing.assert_frame_equal(values.read_labels(tmp_path, table), labels, check_names=False)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("female/1.png", 0.3, r"eyes.csv: female/1.png has 0.3: must be 0, 0.5 or 1"),
        ("female/9.png", 0.5, r"eyes.csv: female/9.png is no image of the collection"),
        ("female/2.png", 0.5, r"eyes.csv: female/2.png is labeled twice"),
        (None, None, r"female/1.png has no value: add its row"),
    ],
)
def test_wrong_labels_are_named(table, tmp_path, path, value, message):
    for name in NAMES:
        rows = [("female/2.png", 0.5), ("female/1.png", 1.0)]
        if name == "eyes":
            rows = [rows[0], *([(path, value)] if path else [])]
        pd.DataFrame(rows, columns=["path", "value"]).to_csv(tmp_path / f"{name}.csv")
    with pytest.raises(StoreError, match=message):
        values.read_labels(tmp_path, table)


def test_ordinal_loss_is_least_at_the_labels_third():
    grid = torch.linspace(-0.5, 1.5, 201)
    for label, best in ((0.0, -0.5), (0.5, 0.5), (1.0, 1.5)):
        losses = [
            values.ordinal_loss(v[None], torch.tensor([label]), torch.tensor(12.0)).item()
            for v in grid
        ]
        assert grid[int(np.argmin(losses))].item() == pytest.approx(best, abs=0.02)


def test_expected_labels():
    found = values.expected_labels(np.array([[0.0, 0.5, 1.0]]), np.array([60.0, 60.0, 0.0]))
    np.testing.assert_allclose(found, [[0, 0.5, 1]], atol=1e-4)


def gray_faces(count, seed):
    """Faces whose brightness is the value of all conditions; mirroring changes nothing."""
    level = np.random.default_rng(seed).random(count)
    images = np.broadcast_to((255 * level)[:, None, None, None], (count, 32, 32, 3))
    return images.astype(np.uint8), np.repeat(level[:, None], 5, 1)


@pytest.mark.parametrize("loss", ["ordinal", "squared"])
def test_regressors_learn_from_labels_and_finished_ones_are_kept(tmp_path, loss):
    images, level = gray_faces(80, 0)
    labels = values.simulated_hand(pd.DataFrame(level, columns=NAMES), slips=0)
    plan = replace(SMALL, loss=loss)
    network, curves = values.train_regressors(tmp_path / "r", images, labels, plan)
    assert len(curves) == 5 * plan.epochs
    assert (network.sharpness > 0).all() == (loss == "ordinal")
    test, true = gray_faces(64, 1)
    r = values.agreement(network.measure(test), pd.DataFrame(true, columns=NAMES))["r"]
    assert r.drop("head").min() > 0.8  # a mirrored head would have the opposite label
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").glob("*.pt")}
    again, _ = values.train_regressors(tmp_path / "r", images, labels, plan)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "r").glob("*.pt")}
    np.testing.assert_array_equal(again.measure(test), network.measure(test))


def raw_values(loss, path, test):
    """What the regressor of the background says about `test`, unclipped, after a short training."""
    images, level = gray_faces(160, 2)
    labels = values.simulated_hand(pd.DataFrame(level, columns=NAMES), slips=0)
    plan = replace(SMALL, loss=loss, epochs=20)
    nobody = np.zeros(160, bool)
    nobody[0] = True
    task = values.ValuesTask(
        "background", images, labels["background"].to_numpy(np.float32), nobody, plan, 0, "cpu"
    )
    values.train_regressor(task, path)
    content = torch.load(path, weights_only=True)
    tower = values.ScoreTower(values.TOWERS["background"], plan.network, hidden=128).eval()
    tower.load_state_dict(content["tower"])
    with torch.no_grad():
        return tower(torch.from_numpy(test).permute(0, 3, 1, 2) / 127.5 - 1)[:, 0].tolist()


def test_ordinal_values_go_on_where_labels_stop(tmp_path):
    """Between two faces of the same label, a regressor of the label changes less."""
    levels = np.array([4, 60, 195, 251], np.float32)[:, None, None, None]
    test = np.tile(levels, (1, 32, 32, 3))
    inside = {}
    for loss in ("ordinal", "squared"):
        first, second, third, fourth = raw_values(loss, tmp_path / f"{loss}.pt", test)
        inside[loss] = (second - first + fourth - third) / (fourth - first)
    assert inside["ordinal"] > inside["squared"] + 0.05


def test_calibration_removes_scale_and_shift():
    torch.manual_seed(0)
    network = values.ConditionCNN(ConditionCNNConfig(32, width=1 / 16)).eval()
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    with torch.no_grad():
        for tower in network.towers.values():
            tower.fc_final.weight *= 0.2
            tower.fc_final.bias.fill_(0.5)  # within 0 … 1
    true = np.clip(0.3 + 0.5 * network.measure(images), 0, 1)
    values.calibrate(network, images, true)
    np.testing.assert_allclose(network.measure(images), true, atol=1e-4)
    values.calibrate(network, images, 1 - true)  # the values fall where this truth rises
    np.testing.assert_allclose(network.measure(images), true, atol=1e-4)


def test_too_few_labels_are_refused(tmp_path):
    images, level = gray_faces(19, 0)
    with pytest.raises(ValueError, match="20 or more"):
        values.train_regressors(tmp_path, images, pd.DataFrame(level, columns=NAMES), SMALL)


def test_agreement():
    true = truth(50)
    found = values.agreement(0.5 * true.to_numpy() + 0.1, true)
    np.testing.assert_allclose(found["r"], 1)
    np.testing.assert_allclose(found["slope"], 0.5)
    constant = values.agreement(np.full((50, 5), 0.3), true)
    assert constant["r"].isna().all()


def test_the_generator_learns_originals_or_variants_too(table, tmp_path):
    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    collection = Collection.write(tmp_path, images, table.assign(source=[0, 1, 2, 3, 1]))
    given = truth(3).assign(row=[0, 3, 4])
    shown = [values.training_faces(collection, given, both) for both in (False, True)]
    assert [one.images.ravel()[::3].tolist() for one in shown] == [[0, 3], [0, 3, 4]]
    np.testing.assert_allclose(shown[0].conditions, given[NAMES][:2], rtol=1e-6)
