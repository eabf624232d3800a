"""Set-of-marks: element numbers drawn on a screenshot (Yang et al., 2023, arXiv:2310.11441)."""

from __future__ import annotations

import io
from collections.abc import Iterable

from ...errors import MissingExtraError
from .view import Element

COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
LABEL_SIZE = 12
"""Font size of the numbers, in pixels."""


def draw_marks(image: bytes, elements: Iterable[Element]) -> bytes:
    """Draw a box around each visible element, with the element number at the upper left corner.

    Args:
        image: The screenshot, in any format that Pillow reads.
        elements: The elements of the page; those outside the image are skipped.

    Returns:
        The marked image as a PNG.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("pillow", "web") from None
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(LABEL_SIZE)
    for element in elements:
        box = element.box
        if box is None or not box.intersects(*picture.size):
            continue
        colour = COLOURS[element.id % len(COLOURS)]
        draw.rectangle((box.x, box.y, box.x + box.width, box.y + box.height), outline=colour, width=2)
        label = str(element.id)
        x, y = max(0, box.x), max(0, box.y)
        draw.rectangle((x, y, x + draw.textlength(label, font=font) + 4, y + LABEL_SIZE + 2), fill=colour)
        draw.text((x + 2, y + 1), label, fill="white", font=font)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
