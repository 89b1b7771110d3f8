"""The console's colours: what is written can be read on what is behind it, in both themes."""

import re
from pathlib import Path

import pytest

from serving import console

SHEET = (Path(console.__file__).parent / "static" / "console.css").read_text(encoding="utf-8")
# of normal text, by WCAG 2.1 level AA
LEAST = 4.5
ON = {
    "text": ("bg", "card", "info-soft", "warn-soft", "bad-soft", "good-soft"),
    "faint": ("bg", "card", "info-soft"),
    "accent": ("bg", "card"),
    "accent-text": ("accent",),
    # also beside the notes that count what changed
    "good": ("card", "good-soft", "info-soft"),
    "warn": ("card", "warn-soft"),
    "bad": ("card", "bad-soft", "info-soft"),
    "info": ("card", "info-soft"),
}


def luminance(colour: str) -> float:
    """Return the relative luminance of #rgb or #rrggbb."""
    digits = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [r":root \{", r':root\[data-theme="auto"\] \{', r':root\[data-theme="dark"\] \{'])
def test_what_is_written_can_be_read_on_what_is_behind_it(theme: str) -> None:
    """Green on light green is what an operator reads as `live`; in sunlight too."""
    block = re.search(theme + r"(.*?)\}", SHEET, re.DOTALL)
    assert block is not None
    colours = {name: luminance(colour) for name, colour in re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", block[1])}
    poor = {}
    for front, backs in ON.items():
        for back in backs:
            dark, light = sorted((colours[front], colours[back]))
            if (ratio := (light + 0.05) / (dark + 0.05)) < LEAST:
                poor[front, back] = round(ratio, 2)
    assert poor == {}
