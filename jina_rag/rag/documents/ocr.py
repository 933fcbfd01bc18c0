"""Optical character recognition: PP-OCRv6 in its small size, run by ONNX Runtime on one core.

The package rapidocr brings the models, so nothing is downloaded. They read Chinese, Japanese and about fifty languages
in Latin letters; not Cyrillic, Greek, Arabic, Hebrew, Korean, Thai or the scripts of India.
"""

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MODEL = "PP-OCRv6 small"
LANGUAGES = "Chinese, Japanese and languages in Latin letters"
MAX_SIDE = 2000
"""The longer side of what the models see, in pixels: 170 of them an inch on a page of A4 size."""
_MIN_CONFIDENCE = 0.5  # RapidOCR's own
_TALL = 1.5  # RapidOCR turns crops that are this much higher than wide

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of a picture's width and height, from its upper left corner."""


class RecognizedLine(NamedTuple):
    """A line of text in a picture.

    Attributes:
        text: Its characters.
        box: Its place, in the picture turned upright.
        edges: Where each character begins, and the last one ends, as shares of the line's width.
    """

    text: str
    box: Box
    edges: list[float]


class Recognition(NamedTuple):
    """What was read in a picture.

    Attributes:
        lines: The lines, in no order that holds.
        size: Width and height of the picture turned upright, in pixels.
        quarter_turns: By how many quarters the picture has to be turned counterclockwise to be upright.
        slope: How much the lines of the upright picture fall, pixels down for each to the right: the page was askew.
        n_unclear: How many lines were left out, because the model was less than half sure of them.
    """

    lines: list[RecognizedLine]
    size: tuple[int, int]
    quarter_turns: int
    slope: float
    n_unclear: int


def is_installed() -> bool:
    """Whether there is OCR: the extra `ocr`."""
    return find_spec("rapidocr") is not None


def recognize(image: "Image") -> Recognition:
    """Read the text in a picture, which may lie on its side or upside down.

    Three networks one after the other, as PP-OCR has them: where lines are, whether they are upside down, what they
    say. A picture most of whose lines are higher than wide is turned by a quarter and searched again.
    """
    import numpy as np

    engine = _engine()
    pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]
    crops, boxes, slope = _detect(engine, pixels)
    quarter_turns = int(2 * _are_tall(boxes).sum() > len(boxes))
    if quarter_turns:
        pixels = np.rot90(pixels)
        crops, boxes, slope = _detect(engine, pixels)
    height, width = pixels.shape[:2]
    if not crops:
        return Recognition([], (width, height), 0, 0.0, 0)
    turned, directions = engine.cls_and_rotate(crops)
    is_upside_down = 2 * sum(label == "180" for label, _ in directions.cls_res) > len(crops)
    # Of single lines the network is less sure than of all, but those on their side may be either way up.
    upright = [crop[::-1, ::-1] for crop in crops] if is_upside_down else crops
    crops = [on_side if tall else crop for crop, on_side, tall in zip(upright, turned, _are_tall(boxes), strict=True)]
    boxes /= (width, height, width, height)
    if is_upside_down:
        quarter_turns += 2
        boxes = 1 - boxes[:, [2, 3, 0, 1]]
    read = engine.recognize_txt(crops)
    found = [
        (score, RecognizedLine(text, tuple(box), _edges(text, steps)))
        for text, score, steps, box in zip(read.txts, read.scores, read.word_results, boxes.tolist(), strict=True)
        if text.strip()
    ]
    lines = [line for score, line in found if score >= _MIN_CONFIDENCE]
    return Recognition(lines, (width, height), quarter_turns, slope, len(found) - len(lines))


def turn_back(box: Box, quarter_turns: int) -> Box:
    """Where a box of the upright picture is in the picture as it is shown."""
    left, top, right, bottom = box
    return (
        box,
        (1 - bottom, left, 1 - top, right),
        (1 - right, 1 - bottom, 1 - left, 1 - top),
        (top, 1 - right, bottom, 1 - left),
    )[quarter_turns]


@cache
def _engine() -> Any:  # noqa: ANN401 - RapidOCR's results are optional in their types, not in fact
    import cv2
    from rapidocr import RapidOCR

    cv2.setNumThreads(1)
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    # One line at a time: batches are padded to their longest line, which takes more time and memory.
    settings = {"Rec.rec_batch_num": 1, "Global.return_word_box": True, "Global.log_level": "critical"}
    # By default pictures are enlarged until their shorter side has 736 pixels: two lines of text took 4.9 s, not 0.3.
    sizes = {"Global.max_side_len": MAX_SIDE, "Det.limit_type": "max", "Det.limit_side_len": MAX_SIDE}
    return RapidOCR(params={**settings, **threads, **sizes})


def _detect(
    engine: Any,  # noqa: ANN401 - a RapidOCR
    pixels: "NDArray[np.uint8]",
) -> "tuple[list[NDArray[np.uint8]], NDArray[np.float64], float]":
    """The lines cut out, each turned so that it is wide, their boxes in pixels, a row for each, and their slope."""
    import numpy as np
    from rapidocr.main import RapidOCRError
    from rapidocr.utils.process_img import map_boxes_to_original

    height, width = pixels.shape[:2]
    image, changes = engine.preprocess_img(np.ascontiguousarray(pixels))
    try:
        crops, found = engine.detect_and_crop(image, changes)
    except RapidOCRError:  # no text
        return [], np.empty((0, 4)), 0.0
    corners = map_boxes_to_original(found.boxes, changes, height, width)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)]).astype(np.float64)
    across = (corners[:, 1] - corners[:, 0])[~_are_tall(boxes)]  # from the upper left corner to the upper right one
    return crops, boxes, float(np.median(across[:, 1] / across[:, 0].clip(1))) if len(across) else 0.0


def _are_tall(boxes: "NDArray[np.float64]") -> "NDArray[np.bool_]":
    left, top, right, bottom = boxes.T
    tall: NDArray[np.bool_] = bottom - top >= _TALL * (right - left)
    return tall


def _edges(text: str, info: Any) -> list[float]:  # noqa: ANN401 - rapidocr's WordInfo
    """The edges of a line's characters, from the steps at which the network saw them; without those, equally far."""
    import numpy as np

    seen = [index for index, character in enumerate(text) if not character.isspace()]
    steps = [step for word in info.word_cols for step in word]
    if len(seen) != len(steps) or not steps:
        return [place / len(text) for place in range(len(text) + 1)]
    centers = np.interp(range(len(text)), seen, (np.array(steps) + 0.5) / info.line_txt_len).clip(0, 1)
    return [0.0, *((centers[:-1] + centers[1:]) / 2).tolist(), 1.0]
