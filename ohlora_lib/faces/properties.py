"""Names of the properties of a face, each list in the order of the published files."""

EXPRESSION = ("eyes", "mouth", "pose")
"""What Oh-LoRA's expression is steered by, in the order of every request."""

PROPERTIES = (
    "eyes",
    "hair_color",
    "hair_length",
    "mouth",
    "pose",
    "background_mean",
    "background_std",
    "hairstyle",
)
"""The eight property scores, in the order of the merged property CNN's outputs."""

LABEL_PROPERTIES = PROPERTIES[:7]
"""The label of a conditional generator: the scores that existed when FineTune-v1 was trained."""

FILTER_PROPERTIES = ("gender", "quality", "age", "glass")
"""What the filter CNNs predict, as probabilities: female, good quality, old, wears glasses."""

GROUP_PROPERTIES = ("hair_color", "hair_length", "background_mean", "hairstyle")
"""What latents are grouped by: VectorFind-v7 used the first three (8 groups), v8 and v9 all four
(16 groups)."""

V7_GROUP_PROPERTIES = GROUP_PROPERTIES[:3]
