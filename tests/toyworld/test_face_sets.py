"""Sets of rendered faces: rare kinds in turn, and no face is rendered twice."""

import numpy as np
import pytest

from ohlora_lib.toyworld import face_sets as training_faces
from ohlora_lib.toyworld.attributes import ATTRIBUTE_NAMES, filter_truth
from ohlora_lib.toyworld.face_sets import FaceSet, load_faces


@pytest.fixture
def rare(monkeypatch):
    """(12, A) attributes of a rare set's faces; nothing is drawn."""
    monkeypatch.setattr(training_faces, "render", lambda face, *_: face)
    wanted = FaceSet(5, 12, rare=True)
    drawn = [training_faces._render_one(wanted, index) for index in range(12)]
    return np.array([list(face.to_dict().values()) for face in drawn], np.float32)


def test_rare_set_has_old_people_glasses_and_defects_in_turn(rare):
    truth = filter_truth(rare)
    assert truth["age"][2::4].all() and truth["glass"][3::4].all()
    assert (rare[1::4, ATTRIBUTE_NAMES.index("quality")] < training_faces.DEFECTS_BELOW).all()
    assert len(np.unique(rare[:, 0])) == 12, "all are different people"


def test_fewer_faces_come_from_a_larger_set_of_the_same_kind(tmp_path, monkeypatch):
    larger = load_faces(FaceSet(5, 6, size=128), tmp_path, workers=1)
    rendered = []
    monkeypatch.setattr(training_faces, "_render_all", lambda wanted, *_: rendered.append(wanted))
    fewer = load_faces(FaceSet(5, 4, size=128), tmp_path)
    assert np.array_equal(fewer.images, larger.images[:4]) and not rendered
    assert fewer.name != larger.name, "a training knows which faces it had"
    for other in (FaceSet(5, 7), FaceSet(5, 4, poor=True), FaceSet(5, 4, rare=True), FaceSet(6, 4)):
        with pytest.raises(FileNotFoundError):
            load_faces(other, tmp_path)
    assert len(rendered) == 4


def test_the_digest_changes_with_code_only():
    code = training_faces._code_only
    plain = 'def f(x):\n    """Doc."""\n    return x + 1\n\n\nA = 2\n"""About A."""\n'
    assert code(plain) == code("# Comment\ndef f(x): return x + 1\nA = 2\n")
    assert code(plain) != code(plain.replace("x + 1", "x + 2"))
    assert code(plain) != code(plain.replace("A = 2", "A = 3"))


def test_poor_faces_have_defects_of_any_strength_and_only_they(monkeypatch):
    monkeypatch.setattr(training_faces, "render", lambda face, texture, *_: (face, texture))
    column = ATTRIBUTE_NAMES.index("quality")
    drawn = [training_faces._render_one(FaceSet(5, 40, poor=True), i) for i in range(40)]
    quality = np.array([list(face.to_dict().values())[column] for face, _ in drawn])
    assert 0.6 < quality.max() < 0.72 and quality.min() < 0.1
    shared = FaceSet(5, 4, shared_texture=True)
    assert [training_faces._render_one(shared, i)[1] for i in range(4)] == [0] * 4
    assert len({texture for _, texture in drawn}) == 40


def test_held_out_faces_share_no_seed_with_training_faces():
    seeds = [
        training_faces.PAIR_SEED,
        training_faces.TRAIN_SEED,
        training_faces.POOR_SEED,
        training_faces.LABEL_SEED,
        training_faces.TEST_SEED,
    ]
    # The embedded weights were trained on faces of the first three, their quality is of the last.
    assert seeds == [20030, 20031, 20032, 20033, 90210]
