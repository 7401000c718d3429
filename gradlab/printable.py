"""Text from data, such as names in a run that somebody sent, made fit for a terminal."""

from __future__ import annotations

_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = dict.fromkeys([*_CONTROLS, *_DIRECTIONS], "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """The text with a sign in place of every character that steers a terminal, or turns the direction of writing."""
    return text if text.isprintable() else text.translate(_SHOWN)
