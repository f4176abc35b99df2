"""Retouching: what may change does, what may not does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ohlora_lib.gai_p3 import retouch
from ohlora_lib.gai_p3.retouch import Limits, Retoucher, RetouchPlan
from tests.gai_p3.networks import SIDE, conditions, judge, noisy_faces, trained_nvae

SEEDS, GIVEN = np.arange(5), conditions(5)
PLAN = RetouchPlan(steps=4, step_size=0.5, noise=0.05, cells=0.1)
NO_LIMITS = Limits(condition=np.inf, appearance=np.inf, changed=1.0)


@pytest.fixture(scope="module")
def network():
    return trained_nvae()


@pytest.fixture(scope="module")
def retoucher(network):
    return Retoucher(network, judge(), None, NO_LIMITS)


def moved_noise(retoucher, plan):
    """Noise before and after the search, and the cells."""
    start = retoucher.network.noise_of(SEEDS)
    x = retoucher.network.decode(start, GIVEN).mean().detach()
    cells = retoucher._cells(x, SEEDS, plan)
    given = start, GIVEN, cells, x, SEEDS, plan
    if plan.search == "resample":
        return start, retoucher._resample(*given), cells
    return start, retoucher._langevin(*given)[0], cells


@pytest.mark.parametrize("search", ["langevin", "resample"])
def test_noise_outside_the_cells_and_in_coarse_groups_is_frozen(retoucher, search):
    start, moved, cells = moved_noise(retoucher, replace(PLAN, search=search))
    assert 0 < cells.mean() < 0.9
    for before, after in zip(start, moved, strict=True):
        size = before.shape[-1]
        if size <= PLAN.frozen:
            assert torch.equal(before, after)
            continue
        inside = retoucher_mask(cells, size).expand_as(before) > 0
        assert torch.equal(before[~inside], after[~inside])
        if search == "langevin":
            assert (before[inside] != after[inside]).float().mean() > 0.95


def retoucher_mask(cells, size):
    return retouch.resized_cells(cells, size)


def test_planted_defect_an_open_mask_is_noticed(retoucher):
    """The check above fails if nothing is masked."""
    start, moved, _ = moved_noise(retoucher, replace(PLAN, where="everywhere"))
    assert all((b != a).all() for b, a in zip(start[1:], moved[1:], strict=True))


def test_moved_noise_gets_its_old_norm_inside_the_cells_alone(retoucher):
    start, moved, cells = moved_noise(retoucher, PLAN)
    for before, further in zip(start[1:], moved[1:], strict=True):
        mask = retoucher_mask(cells, before.shape[-1])
        after = retouch.same_norm(before, 3 * further, mask)
        outside = (mask == 0).expand_as(before)
        assert torch.equal(before[outside], after[outside])
        norms = [(mask * each).flatten(1).norm(dim=1) for each in (before, after)]
        torch.testing.assert_close(*norms)


def test_feathered_changes_stay_in_the_cells(retoucher):
    found = retoucher(SEEDS, GIVEN, PLAN)
    inside = found.cells.repeat(SIDE // 16, 1).repeat(SIDE // 16, 2) > 0
    change = np.abs(found.candidate.astype(int) - found.before).max(-1)
    assert change[inside].max() > 0 and change[~inside].max() == 0
    whole = retoucher(SEEDS, GIVEN, replace(PLAN, feather=False))
    outside = np.abs(whole.candidate.astype(int) - whole.before).max(-1)[~inside]
    assert outside.max() > 0


def test_steps_follow_the_guide_and_random_cells_less(network):
    plan = RetouchPlan(steps=12, step_size=20.0, noise=1e-6, hold_appearance=0.0, cells=0.1)
    retoucher = Retoucher(network, judge(), None, NO_LIMITS)

    def gain(**changes):
        found = retoucher(np.arange(12), conditions(12), replace(plan, **changes))
        return (found.candidate_log_odds - found.before_log_odds).mean()

    assert gain() > 0
    assert gain(search="pixels") > gain()
    assert gain(where="elsewhere") < gain()


@pytest.mark.parametrize("held", ["conditions", "appearance"])
def test_holding_pulls_toward_what_was_there(network, held):
    """A guide without an opinion, and a start that is darker than the face to hold."""
    guide = judge()
    with torch.no_grad():
        guide.decide.weight.zero_()

    def measure(images):  # the mean brightness, planted as all five conditions
        return images.mean((1, 2, 3))[:, None].expand(-1, 5)

    sharp = replace(NO_LIMITS, condition_spread=(0.02,) * 5, appearance_spread=0.2)
    given = Retoucher(network, guide, measure, sharp)
    start = network.noise_of(SEEDS)
    first = network.decode(start, GIVEN).mean().detach()
    wanted, cells = first + 0.2, torch.ones(5, 1, 16, 16)
    weights = {"hold_conditions": 0.0, "hold_appearance": 0.0} | {f"hold_{held}": 1.0}

    def error(**changes):
        plan = replace(PLAN, steps=10, step_size=1.0, noise=1e-9, **weights | changes)
        moved, _ = given._langevin(start, GIVEN, cells, wanted, SEEDS, plan)
        made = network.decode(moved, GIVEN).mean().detach()
        return (made - wanted).mean((1, 2, 3)).abs().mean()

    assert error() < 0.97 * error(**{f"hold_{held}": 0.0})


# Acceptance


def test_worse_candidates_are_refused_by_their_odds():
    before, after = np.zeros(4), np.array([1.0, -100.0, -1.0, -1.0])
    lots = np.array([0.999, 1e-9, 0.36, 0.37])  # e^-1 = 0.368
    assert retouch.accepted(before, after, lots).tolist() == [True, False, True, False]


@pytest.mark.parametrize("limit", [{"changed": 0.0}, {"appearance": 0.0}, {"condition": 0.0}])
def test_results_beyond_a_limit_are_not_taken(network, limit):
    def measure(images):
        return images.mean((2, 3)).repeat(1, 2)[:, :5]

    limits = replace(NO_LIMITS, **limit)
    plan = replace(PLAN, step_size=20.0, search="pixels", pixel_step=9.0)
    found = Retoucher(network, judge(), measure, limits)(SEEDS, GIVEN, plan)
    assert not found.within_limits.any() and not found.taken.any()
    np.testing.assert_array_equal(found.after, found.before)
    free = Retoucher(network, judge(), measure, NO_LIMITS)(SEEDS, GIVEN, plan)
    assert free.taken.all() and (free.after == free.candidate).all()


def test_a_move_beyond_a_limit_is_halved_until_it_is_within(network):
    limits, plan = replace(NO_LIMITS, appearance=0.0), replace(PLAN, halvings=2)
    retoucher = Retoucher(network, judge(), None, limits)
    x = torch.zeros(3, 3, SIDE, SIDE)
    far = torch.tensor([0.1, 0.3, 0.9])[:, None, None, None].expand_as(x)

    def distance(limit, halvings=2):
        within = replace(retoucher, limits=replace(limits, appearance=limit))
        made = within._shortened(x, lambda part: part * far, replace(plan, halvings=halvings))
        return made[:, 0, 0, 0].tolist()

    unit = float(retouch.appearance(far[:1] * 10).flatten(1).norm())  # of a change by 1
    assert distance(0.2 * unit) == pytest.approx([0.1, 0.15, 0.225])
    assert distance(0.2 * unit, halvings=0) == pytest.approx([0.1, 0.3, 0.9])
    assert distance(2.0 * unit) == pytest.approx([0.1, 0.3, 0.9])


def test_limits_are_in_units_of_the_faces_spread():
    images = noisy_faces(40)
    images[:, :, :, 0] = np.linspace(50, 200, 40)[:, None, None]
    limits = Limits.of(images, lambda x: x.mean((2, 3)).repeat(1, 2)[:, :5], changed=0.1)
    red, green = limits.condition_spread[:2]
    assert red == pytest.approx(np.linspace(50, 200, 40).std(ddof=1) / 127.5, rel=0.02)
    assert green < 0.05 and limits.changed == 0.1


# Ablations


def test_random_cells_have_the_same_area(retoucher):
    x = retoucher.network.decode(retoucher.network.noise_of(SEEDS), GIVEN).mean().detach()
    marked = retoucher._cells(x, SEEDS, PLAN)
    moved = retoucher._cells(x, SEEDS, replace(PLAN, where="elsewhere"))
    assert torch.equal(marked.sum((1, 2, 3)), moved.sum((1, 2, 3)))
    assert not torch.equal(marked, moved)


def test_more_draws_are_never_worse_by_the_guide(retoucher):
    odds = [
        retoucher(SEEDS, GIVEN, replace(PLAN, search="resample", tries=tries)).candidate_log_odds
        for tries in (1, 6)
    ]
    assert (odds[1] >= odds[0] - 1e-3).all() and (odds[1] > odds[0] + 1e-3).any()  # 8-bit rounding


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"search": "luck"}, "search 'luck': must be one of langevin, resample, pixels"),
        ({"cells": 0.0}, "cells 0.0: must be above 0"),
        ({"steps": 0}, "steps 0: must be above 0"),
        ({"step_size": float("nan")}, "step_size nan"),
    ],
)
def test_impossible_plans_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RetouchPlan(**wrong)


# Batches


def test_batches_on_disk_are_kept_and_a_face_is_the_same_in_any(retoucher, tmp_path, monkeypatch):
    monkeypatch.setattr(retouch, "BATCH", 2)
    found = retouch.retouch_faces(retoucher, SEEDS, GIVEN, PLAN, tmp_path / "all")
    alone = retoucher(SEEDS[2:3], GIVEN[2:3], PLAN)
    assert np.abs(found.candidate[2:3].astype(int) - alone.candidate).max() <= 2
    files = sorted((tmp_path / "all").glob("*.npz"))
    assert len(files) == 3
    files[1].unlink()
    times = [files[i].stat().st_mtime_ns for i in (0, 2)]
    again = retouch.retouch_faces(retoucher, SEEDS, GIVEN, PLAN, tmp_path / "all")
    assert [files[i].stat().st_mtime_ns for i in (0, 2)] == times
    np.testing.assert_array_equal(found.after, again.after)
