"""The published scores of one face by loops over pixels: the baseline for the vectorized ones.

Plain loops over lists, directly from the definitions: slow, and easy to verify.
"""

import math
import statistics

BACKGROUND, LEFT_EYE, RIGHT_EYE, NOSE, UPPER_LIP, INNER_MOUTH, LOWER_LIP = 0, 4, 5, 6, 7, 8, 9
HAIR = 10
SIZE = 224


def plain_scores(parse_map, image, whole_blocks=False):
    """All scores of a map (224, 224) and an image (224, 224, 3): name -> number, NaN for none.

    `whole_blocks` adds the hairstyle score as the original documentation defines it.
    """
    points, light = _points_and_light(parse_map.tolist(), image.tolist())
    eyes = [
        [(x, y) for x, y in points[eye] if 56 <= y < 168 and first <= x < first + 168]
        for eye, first in ((LEFT_EYE, 0), (RIGHT_EYE, 56))
    ]
    hair_lights = sorted(light[y][x] / 3 for x, y in points[HAIR])
    hair_rows = [0] * SIZE
    for _, y in points[HAIR]:
        hair_rows[y] += 1
    hair = set(points[HAIR])
    background = _background(points[BACKGROUND], light)
    scores = _first(points, eyes, hair_lights, hair_rows, background)
    scores |= _second(points, eyes, hair_lights, hair_rows, background)
    scores["hairstyle"] = _hairstyle(light, hair, _two_pixels)
    if whole_blocks:
        scores["hairstyle_whole_blocks"] = _hairstyle(light, hair, _all_pixels)
    return scores


def _first(points, eyes, hair_lights, hair_rows, background):
    lips = points[UPPER_LIP] + points[LOWER_LIP]
    return {
        "v1_eyes": (_height(eyes[0], 140) + _height(eyes[1], 140)) / 2,
        "v1_hair_color": statistics.median(hair_lights) if hair_lights else math.nan,
        "v1_hair_length": _lowest_hair(hair_rows),
        "v1_mouth": _height(lips) + _height(points[INNER_MOUTH]),
        "v1_pose": -_correlation(points[NOSE]),
        "v1_background_mean": background[0],
        "v1_background_std": background[1],
    }


def _second(points, eyes, hair_lights, hair_rows, background):
    return {
        "v2_eyes": max(_tallest_column(eye) * _tilt_cosine(eye) for eye in eyes),
        "v2_hair_color": _middle_mean(hair_lights),
        "v2_hair_length": _hairy_rows(hair_rows, points[HAIR]),
        "v2_mouth": _mouth_share(points),
        "v2_pose": _eye_slope(*eyes),
        "v2_background_mean": background[0],
        "v2_background_std": background[1],
    }


def _points_and_light(parse_map, image):
    """class -> its pixels (x, y), column by column, top to bottom; R + G + B of every pixel."""
    points = {c: [] for c in range(11)}
    light = [[0] * SIZE for _ in range(SIZE)]
    for x in range(SIZE):
        for y in range(SIZE):
            points[parse_map[y][x]].append((x, y))
            light[y][x] = sum(image[y][x])
    return points, light


def _height(points, below=SIZE):
    rows = [y for _, y in points if y < below]
    return max(rows) - min(rows) if rows else 0


def _lowest_hair(hair_rows):
    lowest = max((y for y in range(SIZE) if hair_rows[y]), default=math.nan)
    return lowest + hair_rows[223] / 2 if lowest == 223 else lowest


def _correlation(points):
    if len(points) < 2:
        return math.nan
    xs, ys = zip(*points, strict=True)
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        return math.nan
    return statistics.correlation(xs, ys)


def _background(points, light):
    upper = sorted(light[y][x] / 3 for x, y in points if y < 112)
    number = len(upper)
    if number == 0:
        return 192.0, 0.0
    middle = upper[int(0.05 * number) : int(0.95 * number)] or upper
    mean = statistics.fmean(middle)
    return mean, math.sqrt(sum((light - mean) ** 2 for light in middle) / len(middle))


def _middle_mean(lights):
    middle = lights[int(0.1 * len(lights)) : int(0.9 * len(lights))]
    return statistics.fmean(middle) if middle else 127.5


def _tallest_column(eye):
    columns = {}
    for x, y in eye:
        columns.setdefault(x, []).append(y)
    return max((max(rows) - min(rows) for rows in columns.values()), default=0)


def _tilt_cosine(eye):
    farthest, cosine = 0, 1.0
    for i, (x, y) in enumerate(eye):
        for other_x, other_y in eye[:i]:
            squared = (x - other_x) ** 2 + (y - other_y) ** 2
            if squared > farthest:
                farthest, cosine = squared, (x - other_x) / math.sqrt(squared)
    return cosine


def _eye_slope(left, right):
    if not left or not right:
        return 0.0
    (left_x, left_y), (right_x, right_y) = (
        [sum(of) / len(eye) for of in zip(*eye, strict=True)] for eye in (left, right)
    )
    rise, run = right_y - left_y, right_x - left_x
    if run == 0:
        return math.copysign(math.inf, rise) if rise else math.nan
    return rise / run


def _hairy_rows(hair_rows, hair):
    length = sum(hair_rows[y] >= 20 for y in range(56, SIZE))
    if hair_rows[223] < 20:
        return length
    left = sum(y == 223 and x < 112 for x, y in hair)
    right = hair_rows[223] - left
    return length + (max(left - 10, 0) + max(right - 10, 0)) / 2


def _mouth_share(points):
    upper, inner, lower = (len(points[c]) for c in (UPPER_LIP, INNER_MOUTH, LOWER_LIP))
    return inner / (upper + inner + lower) if upper + inner + lower else 0.0


def _hairstyle(light, hair, is_hair):
    ratios = []
    for y in range(112, 213):
        for x in range(8, 213):
            if is_hair(hair, x, y):
                places = ((x, y), (x, y + 8), (x - 8, y), (x + 8, y))
                here, below, left, right = (_block_mean(light, *place) for place in places)
                across = max(abs(here - left), abs(here - right))
                ratios.append(abs(here - below) / (across + 5))
    return statistics.fmean(ratios) if ratios else 0.45


def _block_mean(light, x, y):
    return sum(light[row][column] for row in range(y, y + 4) for column in range(x, x + 4)) / 48


def _two_pixels(hair, x, y):
    """What the published code tests: for the left block a pixel outside it, wrapped at the edge."""
    return (
        (x, y) in hair
        and (x + 3, y + 3) in hair
        and (x, y + 8) in hair
        and (x + 3, y + 11) in hair
        and (x - 8, y) in hair
        and ((x - 11) % SIZE, y + 3) in hair
        and (x + 8, y) in hair
        and (x + 11, y + 3) in hair
    )


def _all_pixels(hair, x, y):
    return all(
        (at_x + i, at_y + j) in hair
        for at_x, at_y in ((x, y), (x, y + 8), (x - 8, y), (x + 8, y))
        for i in range(4)
        for j in range(4)
    )
