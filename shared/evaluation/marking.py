"""Pictures with every element that can be used framed and numbered ("set of marks").

The marks are drawn on the picture and not on the page, so no page can see that it is marked.
Yang et al., "Set-of-Mark Prompting Unleashes Extraordinary Visual Grounding in GPT-4V" (2023).
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.evaluation.protocol import Element

_COLOURS: Final = ("#d00000", "#0050d0", "#007000", "#a000a0", "#b06000", "#007080", "#505050")
_QUALITY: Final = 80
_SIZE: Final = 11


def marked(picture: bytes, elements: Iterable[Element]) -> bytes:
    """JPEG `picture` of the viewport with the ids of the interactive `elements` in it.

    One CSS pixel must be one pixel of the picture.
    """
    with Image.open(BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_SIZE)
    for element in elements:
        x, y, width, height = element.box
        right, bottom = min(x + width, image.width), min(y + height, image.height)
        left, top = max(x, 0.0), max(y, 0.0)
        if not element.interactive or right - left < 1 or bottom - top < 1:
            continue
        colour = _COLOURS[element.id % len(_COLOURS)]
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour)
        words = str(element.id)
        label = draw.textbbox((0, 0), words, font=font)
        wide, high = label[2] + 3, label[3] + 2
        # Above the frame where there is room: most elements are too small to be written on.
        at = (min(left, image.width - wide), top - high if top >= high else top)
        draw.rectangle((at[0], at[1], at[0] + wide, at[1] + high), fill=colour)
        draw.text((at[0] + 2, at[1]), words, fill="white", font=font)
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
