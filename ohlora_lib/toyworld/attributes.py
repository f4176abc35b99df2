"""Attributes of a toy face and their joint distribution.

Attributes lie in 0..1 unless stated otherwise. Truth of the four filter properties: a face is
female where `gender` > 0.5, of good quality where `quality` > 0.5, old where `age` > 0.65, and
wears glasses where `glasses` > 0.5. "Left" and "right" are those of the image, except in `pose`:
a head turned to *its own* right (`pose` > 0) points its nose to the image's left and lowers the eye
on the image's right. Both published pose scores (correlation over the nose, slope of the eyes)
increase with `pose`.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr

from ohlora_lib.faces.properties import FILTER_PROPERTIES

OLD, GLASSES, GOOD, FEMALE = 0.65, 0.5, 0.5, 0.5


@dataclass(frozen=True)
class FaceAttributes:
    """One face. Editing one attribute (`dataclasses.replace`) changes nothing else in the image."""

    # expression
    eyes: float = 0.5  # opening of the lids; 0 narrow, never fully closed
    mouth: float = 0.3  # opening between the lips
    smile: float = 0.5  # corners up, mouth wider
    pose: float = 0.0  # -1..1: turn of the head; 1 is 33 degrees to its own right
    roll: float = 0.0  # degrees of roll beyond the one that goes with `pose`
    gaze: float = 0.0  # -1..1: where the irises look
    # filter properties (truth thresholds above)
    gender: float = 0.9  # larger is female
    age: float = 0.25  # larger is older
    glasses: float = 0.1
    quality: float = 0.95  # larger is a better image
    # face
    skin_tone: float = 0.25  # fair to deep
    skin_warmth: float = 0.5  # pink to golden
    face_width: float = 0.5
    face_length: float = 0.5
    jaw: float = 0.5  # narrow to broad
    eye_size: float = 0.5
    eye_spacing: float = 0.5
    eye_tilt: float = 0.5  # outer corners down to up
    iris: float = 0.3  # dark brown, brown, hazel, green, gray, blue
    brow_thickness: float = 0.5
    brow_arch: float = 0.5
    nose_width: float = 0.5
    nose_length: float = 0.5
    lips: float = 0.5  # thin to full
    makeup: float = 0.4
    beard: float = 0.0  # 0..0.15 shaven, stubble, full at 1
    # hair
    hair_color: float = 0.3  # lightness, black to platinum or white
    hair_warmth: float = 0.5  # ash to red
    hair_grey: float = 0.0  # pigment lost
    hair_length: float = 0.6  # cropped to past the frame's bottom
    curl: float = 0.3
    hair_volume: float = 0.5
    parting: float = 0.0  # -1..1: where the hair parts, image's left to right
    fringe: float = 0.0  # > 0.5: hair over the forehead
    sweep: float = 0.0  # > 0.5 and short: brushed up from the forehead
    hairline: float = 0.3  # low to receded
    # light, background, clothes
    light: float = 0.3  # -1..1: from the image's left to its right
    light_warmth: float = 0.5
    background_mean: float = 0.5
    background_std: float = 0.3
    background_hue: float = 0.6
    background_saturation: float = 0.3
    background_kind: float = 0.2  # gradient, bokeh, two-tone, texture, window
    clothes_kind: float = 0.2  # crew neck, V neck, shirt, turtleneck
    clothes_hue: float = 0.6
    clothes_lightness: float = 0.5
    glasses_kind: float = 0.2  # round, rectangular, cat-eye, half-rim
    defect_kind: float = 0.2  # what goes wrong when quality is low

    @property
    def is_female(self):
        return self.gender > FEMALE

    @property
    def is_old(self):
        return self.age > OLD

    @property
    def has_glasses(self):
        return self.glasses > GLASSES

    @property
    def is_good(self):
        return self.quality > GOOD

    def to_dict(self):
        """Name -> float, a table's row."""
        return asdict(self)


ATTRIBUTE_NAMES = tuple(field.name for field in fields(FaceAttributes))
UNIFORM = 8
"""Draws between 0 and 1, after the normal ones."""


def filter_truth(attributes):
    """Attributes (N, A) -> DataFrame of exact 0/1 labels: gender, quality, age, glass."""
    limits = {"gender": FEMALE, "quality": GOOD, "age": OLD, "glasses": GLASSES}
    columns = [ATTRIBUTE_NAMES.index(name) for name in limits]
    labels = np.asarray(attributes)[:, columns] > list(limits.values())
    return pd.DataFrame(labels.astype(int), columns=list(FILTER_PROPERTIES))


def sample_attributes(seed, index):
    """The attributes of face `index` of a seed: correlated as among people."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), int(index)])))
    return attributes_of(rng.standard_normal(len(ATTRIBUTE_NAMES)), rng.random(UNIFORM))


def attributes_of(normal, uniform):
    """The attributes that these draws (one per attribute name, and UNIFORM more) stand for."""
    z = dict(zip(ATTRIBUTE_NAMES, normal, strict=True))
    values = _who(z) | _face(z) | _surroundings(z)
    values |= _expression(z)
    values |= _adornment(z, uniform, values)
    values |= _hair(z, uniform, values)
    return FaceAttributes(**{name: float(value) for name, value in values.items()})


def texture_seed(seed, index):
    """The seed of face `index`'s textures (strands, irises, bokeh): apart from its attributes."""
    return int(np.random.SeedSequence([int(seed), int(index), 1]).generate_state(1, np.uint64)[0])


def _unit(z, mean, std):
    """A Gaussian value clipped to 0..1."""
    return np.clip(mean + std * z, 0, 1)


def _who(z):
    """The four filter properties: about 55 % female, 14 % old, 9 % with glasses, 5 % poor."""
    gender = expit(4.5 * (z["gender"] + 0.13))
    age = 0.06 + 0.9 * ndtr(z["age"] - 0.2 - 0.15 * (gender - 0.5)) ** 1.8
    glasses = ndtr(0.9 * z["glasses"] + 0.55 * (age - 0.35) - 0.25 * (gender - 0.5) - 1.2)
    poor = expit(3.2 * (z["quality"] + 1.65))
    return {"gender": gender, "age": age, "glasses": glasses, "quality": poor}


def _expression(z):
    """Eyes, mouth and pose are nearly Gaussian; a smile opens the mouth and narrows the eyes."""
    smile = 0.55 * z["smile"]
    mouth = 0.8 * z["mouth"] + 0.6 * z["smile"]
    return {
        "smile": _unit(smile, 0.6, 0.4),
        "mouth": _unit(mouth, 0.45, 0.21),
        "eyes": _unit(0.97 * z["eyes"] - 0.24 * z["smile"], 0.52, 0.19),
        "pose": np.clip(0.38 * z["pose"], -1, 1),
        "roll": np.clip(0.7 * z["roll"], -3, 3),
        "gaze": np.clip(0.3 * z["gaze"], -1, 1),
    }


def _face(z):
    """Shape and skin, independent of gender and age; dark skin makes dark eyes more likely."""
    tone = ndtr(z["skin_tone"]) ** 1.7
    dark_eyed = 0.55 * (tone > 0.5) + 0.2 * tone
    shape = ("face_width", "face_length", "jaw", "eye_size", "eye_spacing", "eye_tilt", "brow_arch")
    values = {name: _unit(z[name], 0.5, 0.18) for name in (*shape, "nose_width", "nose_length")}
    values |= {name: _unit(z[name], 0.5, 0.2) for name in ("brow_thickness", "lips")}
    values["lips"] = np.clip(values["lips"] + 0.2 * tone, 0, 1)
    return values | {
        "skin_tone": tone,
        "skin_warmth": _unit(z["skin_warmth"], 0.5, 0.22),
        "iris": np.clip(ndtr(z["iris"]) * (1 - dark_eyed), 0, 1),
    }


def _adornment(z, extra, who):
    """Make-up is more likely for women, beards for men."""
    female, male = who["gender"], 1 - who["gender"]
    grown = extra[0] < 0.5
    beard = ndtr(z["beard"]) * grown * np.clip(1.6 * male - 0.5, 0, 1)
    return {
        "makeup": np.clip(female * (0.45 + 0.25 * z["makeup"]), 0, 1),
        "beard": np.clip(beard, 0, 1),
        "glasses_kind": extra[1],
        "defect_kind": extra[2],
    }


def _hair(z, extra, who):
    """Length depends on gender, gray on age; short hair shows less curl."""
    female, age, tone = who["gender"], who["age"], who["skin_tone"]
    womanly = expit(12 * (female - 0.5))  # lengths between short and long are rare
    length = _unit(z["hair_length"], 0.12 + 0.61 * womanly, 0.07 + 0.07 * womanly)
    gray = np.clip(3.2 * (age - 0.5) + 0.28 * z["hair_grey"] * (age > 0.4), 0, 1)
    color = ndtr(z["hair_color"]) * (1 - 0.8 * tone)
    shows = np.clip((length - 0.1) / 0.3, 0, 1)
    curl = _unit(z["curl"], 0.33 + shows * (0.02 + 0.25 * tone), 0.05 + 0.2 * shows)
    short = length < 0.3
    return {
        "hair_length": length,
        "hair_grey": gray,
        "hair_color": np.clip(0.06 + 0.84 * color + gray * (0.78 - 0.7 * color), 0, 1),
        "hair_warmth": _unit(z["hair_warmth"], 0.5, 0.25),
        "curl": curl,
        "hair_volume": _unit(z["hair_volume"], 0.5, 0.2),
        "parting": np.clip(0.6 * z["parting"], -1, 1),
        "fringe": extra[3] ** 2 if not short else 0.7 * extra[3],
        "sweep": extra[4] if short else 0.0,
        "hairline": _unit(z["hairline"], 0.3 + 0.35 * age * (1 - female), 0.15),
    }


def _surroundings(z):
    """Light, background and clothes: independent of everything else."""
    uniform = ("background_hue", "background_kind", "clothes_kind", "clothes_hue")
    values = {name: ndtr(z[name]) for name in uniform}
    return values | {
        "light": np.clip(0.5 * z["light"], -1, 1),
        "light_warmth": _unit(z["light_warmth"], 0.5, 0.2),
        "background_mean": _unit(z["background_mean"], 0.52, 0.22),
        "background_std": _unit(z["background_std"], 0.35, 0.22),
        "background_saturation": 0.8 * ndtr(z["background_saturation"]) ** 1.6,
        "clothes_lightness": _unit(z["clothes_lightness"], 0.5, 0.25),
    }
