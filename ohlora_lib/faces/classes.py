"""Classes of a face's parse map, in FaceXFormer's order (LaPa). Left and right are the image's."""

BACKGROUND, SKIN, LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE = range(6)
NOSE, UPPER_LIP, INNER_MOUTH, LOWER_LIP, HAIR = range(6, 11)

CLASS_NAMES = (
    "background",
    "skin",
    "left brow",
    "right brow",
    "left eye",
    "right eye",
    "nose",
    "upper lip",
    "inner mouth",
    "lower lip",
    "hair",
)
"""The name of each class id."""

MIRRORED = (0, 1, 3, 2, 5, 4, 6, 7, 8, 9, 10)
"""Class id -> its class id in the mirrored image."""
