"""Whether what a page shows is what a command printed, up to what another machine's rounding makes of it."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_STRIP = re.compile(r"[▁▂▃▄▅▆▇█]+")
_RULE = re.compile(r"─{3,}")

RELATIVE, ABSOLUTE = 0.3, 0.05
"""How far numbers may be apart: training amplifies rounding, which differs between processors."""


def missing_lines(shown: str, printed: str) -> list[str]:
    """The lines of a page's block that a command didn't print, in this order; `...` stands for lines left out."""
    rest = iter(printed.splitlines())
    wanted = [line for line in shown.splitlines() if line.strip() not in ("", "...")]
    return [line for line in wanted if not any(_alike(line, other) for other in rest)]


def _alike(shown: str, printed: str) -> bool:
    if _skeleton(shown) != _skeleton(printed):
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(_near(a, b) for a, b in pairs)


def _near(shown: str, printed: str) -> bool:
    tiny = "e" in shown or "e" in printed
    return math.isclose(float(shown), float(printed), rel_tol=RELATIVE, abs_tol=0 if tiny else ABSOLUTE)


def _skeleton(line: str) -> str:
    """The line without its numbers, the heights of its bars, the lengths of its rules and the width of its blanks."""
    bars = _STRIP.sub(lambda strip: "█" * len(strip[0]), line)
    return " ".join(_RULE.sub("─", _NUMBER.sub("0", bars)).split())
