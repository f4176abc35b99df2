"""Compare the face networks with the arrays of a golden set."""

import re

import cv2
import torch
import torch.nn.functional as F

from ohlora_lib.models.facexformer import (
    FaceXFormer,
    crop_face,
    face_images,
    face_input,
    widened_box,
)
from ohlora_lib.models.filter_cnn import FilterCNN, filter_input
from ohlora_lib.models.mtcnn import MTCNN, pyramid
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.property_cnn import PropertyCNN, property_input
from tests.reference.golden import (
    BOX,
    EXACT,
    HALF,
    IMAGE,
    SCORE,
    Golden,
    captured,
    image_input,
    seeded_input,
)

STEP = re.compile(r"(?:(?P<branch>\w+?)_)?(?P<step>(?:conv|pool|fc)\d+|flat)_img(?P<image>\d+)\w*")
"""As in `eyes_pool3_img0_first16`: the branch, its step, the image."""


def compare_score_cnn(golden: Golden, network: PropertyCNN | FilterCNN) -> None:
    """The property CNN and the filter CNNs: scores, and the steps of single images."""
    images = image_input(golden)
    is_filter = isinstance(network, FilterCNN)
    images = filter_input(images) if is_filter else property_input(images)
    if is_filter:
        golden.compare("prob", network(images), SCORE)
        golden.compare("logit", network.logits(images), 4 * SCORE)  # the sigmoid's slope is 1/4
    for name in golden.arrays:
        if re.fullmatch(r"scores(_first\d+)?", name) and not is_filter:
            golden.compare(name, network(images[: len(golden.arrays[name])]), SCORE)
        elif step := STEP.fullmatch(name):
            module = _step_module(step["branch"], step["step"])
            with captured(network, module) as outputs:
                network(images[int(step["image"]) :][:1])
            golden.compare(name, outputs[module][0], IMAGE, part=True)


def _step_module(branch: str | None, step: str) -> str:
    """`hairstyle_bottom_left`, `flat` -> its module, `hairstyle_score_cnn.bottom_left_cnn`."""
    if branch is None:
        return step
    outer, _, tower = branch.partition("_bottom_")
    path = [f"{outer}_score_cnn"] + ([f"bottom_{tower}_cnn"] if tower else [])
    return ".".join(path if step == "flat" else [*path, step])


def compare_mtcnn(golden: Golden, network: MTCNN) -> None:
    """The three nets on fixed tensors, then the whole detection of each image."""
    fields = {"pnet": ["reg", "prob"], "rnet": ["reg", "prob"], "onet": ["reg", "points", "prob"]}
    for net, names in fields.items():
        outputs = network.get_submodule(net)(seeded_input(golden, net))
        for name, ours in zip(names, outputs, strict=True):
            golden.compare(f"{net}_{name}", ours, SCORE)
    images = image_input(golden, "detect")
    for number in range(len(images)):
        if f"detect{number}_boxes" in golden.arrays:
            _compare_detection(golden, network, images[number : number + 1], f"detect{number}_")
    for name in golden.arrays:
        if scale := re.fullmatch(r"area_resize_([\d.]+)", name):
            height, width = images.shape[1:3]
            size = (int(height * float(scale[1]) + 1), int(width * float(scale[1]) + 1))
            smaller = F.interpolate(channels_first(images[:1]), size, mode="area")
            golden.compare(name, smaller, IMAGE, part=True)
        elif side := re.fullmatch(r"pyramid_(scales|sizes)_(\d+)", name):
            scales = pyramid(int(side[2]), int(side[2]), network.config)
            sizes = [int(int(side[2]) * scale + 1) for scale in scales]
            golden.compare(name, scales if side[1] == "scales" else sizes, 1e-12)


def _compare_detection(golden: Golden, network: MTCNN, image, prefix: str) -> None:
    with captured(network, "rnet", "onet", part=-1) as outputs:
        (detection,) = network(image)
    for net, scores in outputs.items():
        golden.compare(f"{prefix}n_{net}", len(scores), EXACT)
        golden.compare(f"{prefix}{net}_scores", scores[:, 1], SCORE)
    golden.compare(f"{prefix}boxes", detection.boxes, BOX)
    golden.compare(f"{prefix}probs", detection.probabilities, SCORE)
    golden.compare(f"{prefix}points", detection.points, BOX)


def compare_facexformer(golden: Golden, network: FaceXFormer) -> None:
    """From the image and its box to every head."""
    number = re.search(r"image (\d+)", golden.manifest["inputs"]["image"])
    image = image_input(golden, "image")[int(number[1]) if number else 0]
    faces = _compare_preparation(golden, image)
    stages = _stages(network)
    with captured(network, *stages, *DECODER) as outputs:
        reading = network(faces)
    golden.compare("seg_logits", reading.parse[0], IMAGE, part=True)
    _compare_parse_map(golden, reading.parse[0])
    for name in reading._fields[1:]:
        golden.compare(f"head_{name}", getattr(reading, name), IMAGE)
    golden.compare("transformer_tokens", outputs["face_decoder.transformer"][0], IMAGE)
    maps = {name: outputs[module].permute(0, 3, 1, 2) for module, name in stages.items()}
    maps["fused"] = network.fuse([outputs[module] for module in list(stages)[1:]])
    maps["upscaled"] = outputs["face_decoder.output_upscaling"]
    positions = maps["pos_encoding"] = network.pe_layer(maps["fused"].shape[-1])
    for name in golden.arrays:
        if first := re.fullmatch(r"(\w+)_first\d+", name):
            if first[1] in maps:
                golden.compare(name, maps[first[1]], IMAGE, part=True)
        elif channels := re.fullmatch(r"pos_encoding_ch(\d+)_(\d+)", name):
            golden.compare(name, positions[int(channels[1]) : int(channels[2]) + 1], IMAGE)
    tables = [t for name, t in network.named_buffers() if name.endswith("relative_position_index")]
    if all(torch.equal(table, tables[0]) for table in tables):
        golden.compare("relative_position_index", tables[0], EXACT)


DECODER = ("face_decoder.transformer", "face_decoder.output_upscaling")


def _stages(network: FaceXFormer) -> dict[str, str]:
    """Backbone modules whose (N, side, side, C) maps are stored -> their names in the set."""
    layers = range(1, len(network.backbone[0]), 2)
    return {"backbone.0.0": "feat_patch_embed"} | {
        f"backbone.0.{layer}": f"multiscale{stage}" for stage, layer in enumerate(layers)
    }


def _compare_preparation(golden: Golden, image) -> torch.Tensor:
    """The steps from the detected box to the network's input, which is returned."""
    box = golden.arrays["bbox_in"]
    golden.compare("bbox_in", box, EXACT)  # an input, not computed
    wide = widened_box(box, *image.shape[:2])
    golden.compare("bbox_adjusted", wide, 1e-9)
    golden.compare("crop_box_int", wide.astype(int), EXACT)
    crop = crop_face(image, box)
    golden.compare("resized_bicubic_uint8", crop, EXACT)
    faces = face_input(crop[None])
    golden.compare("model_input", faces[0], 1e-6, part=True)
    golden.compare("face_png_rgb", face_images(faces)[0], EXACT)
    golden.compare("v1_resize_linear_224_rgb", cv2.resize(image, (224, 224)), EXACT)
    return faces


def _compare_parse_map(golden: Golden, logits: torch.Tensor) -> None:
    """Classes must be equal wherever the two best logits are not nearly tied."""
    if "seg_argmax" not in golden.arrays:
        return
    best = logits.topk(2, dim=0).values
    golden.compare("seg_top2_margin_f16", best[0] - best[1], HALF)
    decided = golden.arrays["seg_top2_margin_f16"] > 1e-3
    wrong = (logits.argmax(dim=0).numpy() != golden.arrays["seg_argmax"]) & decided
    golden.row("seg_argmax", f"{wrong.sum()} px", "0 px", not wrong.any())
