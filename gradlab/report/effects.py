"""What made the difference: the effects of factors, in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from gradlab.analysis.contrasts import Difference
from gradlab.analysis.effects import FactorEffect, Interaction, MeasureEffects
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.naming import change_columns
from gradlab.report.numbers import NOTHING, number, percent, power, setting

_MOST_LEVELS = 40
"""Levels in the table; the others are counted."""

_SHARES = {"dead_fraction", "saturated_fraction"}

_WORDS = {
    "gradient_decay": "gradient decay",
    "dead_fraction": "dead units",
    "saturated_fraction": "saturation",
    "first_grad_norm": "first layer's gradient",
    "train_loss": "train loss",
    "eval_loss": "eval loss",
    "final_train_loss": "train loss",
    "final_eval_loss": "eval loss",
}


def words_for(measure: str, metric: str) -> str:
    """What to call a measure."""
    return metric if measure in ("final_eval_metric", "eval_metric") else _WORDS.get(measure, measure)


def print_effects(console: Console, effects: Sequence[MeasureEffects], metric: str, see: str) -> None:
    """Draw the table of effects and say the most important in words.

    Args:
        metric: what the metric is called.
        see: the option that shows everything.
    """
    if not effects:
        return
    console.print()
    say(console, "Effects: each setting against its factor's first, the others held equal; 95 % intervals", "bold")
    factors = list(dict.fromkeys(factor.factor for one in effects for factor in one.factors))
    known = {
        (factor.factor, level.level)
        for one in effects
        for factor in one.factors
        for level in factor.levels
        if level.difference.value is not None
    }
    every = [(one.factor, one.reference, level.level) for one in _by_name(effects, factors) for level in one.levels]
    rows = [(factor, start, level) for factor, start, level in every if (factor, level) in known]
    shown = rows[:_MOST_LEVELS]
    columns = change_columns(shown)
    for rank, one in enumerate(effects):
        found = {(f.factor, level.level): level.difference for f in one.factors for level in f.levels}
        cells = [found.get((factor, level), Difference(None)) for factor, _, level in shown]
        name = words_for(one.measure, metric)
        header = name.replace(" ", "\n", 1)
        columns.append(Column(header, [amount(cell, one) for cell in cells], 900 - rank))
        columns.append(Column("95 %", [interval(cell, one) for cell in cells], 800 - rank, f"interval of {name}"))
    print_columns(console, columns, see)
    if len(rows) > len(shown):
        say(console, f"{len(shown)} of {len(rows)} settings shown (all of them with {see})", "dim")
    for line in effect_sentences(effects, metric):
        say(console, line)


def effect_sentences(effects: Sequence[MeasureEffects], metric: str) -> list[str]:
    """The effects in words, a line for each measure and one for its strongest interaction."""
    lines = []
    for one in effects:
        name = words_for(one.measure, metric)
        clear = [factor for factor in one.factors if factor.clear]
        unclear = [factor.factor for factor in one.factors if factor.judged and not factor.clear]
        unjudged = [factor.factor for factor in one.factors if factor.known and not factor.judged]
        unknown = [factor.factor for factor in one.factors if not factor.known]
        parts = [_factor(factor, one, first=place == 0) for place, factor in enumerate(clear)]
        if unclear:
            parts.append(f"no clear effect of {', '.join(unclear)}")
        if unjudged:
            parts.append(f"one seed cannot tell the effect of {', '.join(unjudged)} from chance")
        if unknown:
            parts.append(f"{', '.join(unknown)} cannot be told apart from other factors (try --where)")
        lines.append(f"{name}: {'; '.join(parts)}")
        if one.interaction is not None and one.interaction.clear:
            lines.append(f"  {_interaction(one.interaction, one, name)}")
        if one.left_out:
            lines.append(f"  {one.left_out} of {one.trials} trials left out: {_why(one)}")
        lines += [f"  {note}" for note in one.notes]
    return lines


def amount(difference: Difference, one: MeasureEffects) -> str:
    """A difference as people say it: `3.2x`, `+4.4 points`, `-0.12`."""
    return NOTHING if difference.value is None else _amount(difference.value, one)


def interval(difference: Difference, one: MeasureEffects) -> str:
    """Its 95 % interval."""
    if difference.low is None or difference.high is None:
        return NOTHING
    return f"{_amount(difference.low, one, False)} .. {_amount(difference.high, one, False)}"


def _amount(value: float, one: MeasureEffects, unit: bool = True) -> str:
    if one.geometric:
        return power(value) + ("x" if unit else "")
    share = one.measure in _SHARES
    value = 100 * value if share else value
    sign = "+" if value > 0 else ""
    return f"{sign}{number(value)}" + (" points" if share and unit else "")


def _by_name(effects: Sequence[MeasureEffects], factors: Sequence[str]) -> list[FactorEffect]:
    """The factors, each as the first measure that has it tells it."""
    found: dict[str, FactorEffect] = {}
    for one in effects:
        for factor in one.factors:
            if factor.factor not in found or len(factor.levels) > len(found[factor.factor].levels):
                found[factor.factor] = factor
    return [found[name] for name in factors]


def _factor(factor: FactorEffect, one: MeasureEffects, first: bool) -> str:
    largest = factor.largest
    if largest is None:
        return factor.factor
    share = f" ({percent(factor.share)} of the differences between networks)"
    lead = f"{factor.factor} matters most{share}" if first else f"{factor.factor}{share}"
    within = interval(largest.difference, one)
    around = "" if within == NOTHING else f" ({within})"
    levels = f"{setting(largest.level)} against {setting(factor.reference)}"
    return f"{lead}: {amount(largest.difference, one)}{around} with {levels}"


def _interaction(found: Interaction, one: MeasureEffects, name: str) -> str:
    move = f"{found.mover} from {setting(found.start)} to {setting(found.end)}"
    here = f"by {_amount(found.effect_here, one)} where {found.other} is {setting(found.here)}"
    there = f"by {_amount(found.effect_there, one)} where it is {setting(found.there)}"
    chance = "" if found.p is None else f" (p = {number(found.p)})"
    return f"strongest interaction: {move} changes {name} {here}, {there}{chance}"


def _why(one: MeasureEffects) -> str:
    kind = "unknown, 0 or infinite" if one.geometric else "unknown or infinite"
    return f"their {one.measure} is {kind}, as of trials that failed or diverged"
