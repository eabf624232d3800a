"""Set-of-marks: the numbers of elements drawn on a screenshot (Yang et al., 2023, arXiv:2310.11441)."""

from __future__ import annotations

import io
from collections.abc import Iterable

from ...errors import MissingExtraError
from .view import Element

COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
SIZE = 12
"""Height of the numbers, in pixels."""


def marked(image: bytes, elements: Iterable[Element]) -> bytes:
    """A PNG with a box around each element that lies in it, and its number at the box's upper left corner."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtraError("pillow", "web") from None
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(SIZE)
    for element in elements:
        box = element.box
        if box is None or not box.within(*picture.size):
            continue
        colour = COLOURS[element.id % len(COLOURS)]
        draw.rectangle((box.x, box.y, box.x + box.width, box.y + box.height), outline=colour, width=2)
        label = str(element.id)
        x, y = max(0, box.x), max(0, box.y)
        draw.rectangle((x, y, x + draw.textlength(label, font=font) + 4, y + SIZE + 2), fill=colour)
        draw.text((x + 2, y + 1), label, fill="white", font=font)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
