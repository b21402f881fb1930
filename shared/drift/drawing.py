"""Drift in a terminal: both windows drawn alike, one above the other, over the same bins.

Every function returns lines of at most `width` cells, which is at least 20. Colour only repeats
what words and places say, so nothing is lost where there is none. Where the encoding has no block
characters, `signs_for` gives signs that it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shared.drift.axes import Binned, BinnedWindow, binned
from shared.drift.quantities import (
    MILLISECONDS,
    interval,
    minute,
    number,
    percent,
    period,
    probability,
    quantity,
    tick,
)
from shared.drift.showing import (
    NOT_JUDGED,
    Categories,
    Category,
    Distribution,
    PastSweep,
    Period,
    Proportion,
    ShownMetric,
    Tally,
    quantiles,
)
from shared.drift.verdicts import DriftState
from shared.drift.wording import effect_said, magnitude_said, said
from shared.visible import visible

NARROWEST: Final = 20
HEIGHT: Final = 4
"Lines of one window's bars."
CATEGORIES: Final = 12
_SIDE_BY_SIDE: Final = 56
"From this width on the two bars of a category share a line."
_BASELINE: Final = "cyan"
_CURRENT: Final = "magenta"
_DIM: Final = "dim"
_STATES: Final = {
    DriftState.DRIFT: "bold red",
    DriftState.WARNING: "bold yellow",
    DriftState.STABLE: "green",
    DriftState.NO_DATA: "bold",
    DriftState.INSUFFICIENT: "bold",
}
_STATE_SIGNS: Final = {
    DriftState.DRIFT: "D",
    DriftState.WARNING: "s",
    DriftState.STABLE: " ",
    DriftState.NO_DATA: "?",
    DriftState.INSUFFICIENT: "?",
}


@dataclass(frozen=True)
class Signs:
    """What is drawn with."""

    levels: str
    "Parts of a full cell, from nothing to all, filled from below."
    parts: str
    "The same, filled from the left."
    line: str
    left: str
    middle: str
    right: str
    tick: str
    trace: str
    "Less than the lowest level."
    ellipsis: str


BLOCKS: Final = Signs(" ▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉█", "─", "├", "┼", "┤", "┴", ".", "…")
ASCII: Final = Signs(" -+#", "  ##", "-", "|", "O", "|", "+", ".", "~")


def signs_for(encoding: str | None) -> Signs:
    """Block characters where `encoding` (a stream's; None if unknown) can say them, else ASCII."""
    try:
        "".join((BLOCKS.levels, BLOCKS.parts, BLOCKS.line, BLOCKS.middle, BLOCKS.ellipsis)).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def draw_metric(metric: ShownMetric, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """The verdict in words, what both windows held, and what earlier sweeps said."""
    _require_width(width)
    verdict = metric.verdict
    lines = _headline(metric, width, signs)
    lines += _wrapped(_grounds(metric), width)
    if verdict.reason is not None:
        lines += _wrapped([f"why: {visible(verdict.reason)}"], width)
    lines += _wrapped([f"baseline {_period(metric.baseline)}"], width, _DIM)
    lines += _wrapped([f"current {_period(metric.current)}"], width, _DIM)
    lines.append(Text())
    if isinstance(metric.shape, Distribution):
        lines += draw_distribution(metric.shape, width, signs)
    elif isinstance(metric.shape, Categories):
        lines += draw_categories(metric.shape, width, signs)
    elif isinstance(metric.shape, Proportion):
        lines += draw_proportion(metric.shape, width, signs)
    else:
        lines += _wrapped(["what the windows held is no longer known"], width)
    if metric.history:
        lines.append(Text())
        lines += draw_history(
            metric.history, verdict.minimum_effect, verdict.effect_name.value, width, signs
        )
    return lines


def draw_distribution(
    distribution: Distribution, width: int, signs: Signs = BLOCKS, height: int = HEIGHT
) -> list[Text]:
    """Histograms of both windows on one axis and one scale, 5 %, median and 95 % marked below each.

    ValueError for a width below 20 or a height below 1.
    """
    _require_width(width)
    if height < 1:
        raise ValueError(f"height {height}; expected 1 or more")
    gutter = 8 if width >= 40 else 0
    shown = binned(distribution, width - gutter)
    if shown is None:
        return _wrapped(["both windows are empty"], width)
    wide = (width - gutter) // shown.bins
    windows = (
        ("baseline", _BASELINE, shown.baseline, distribution.baseline),
        ("current", _CURRENT, shown.current, distribution.current),
    )
    top = max(float(window.shares.max()) for _, _, window, _ in windows if window is not None)
    lines: list[Text] = []
    for name, style, window, counts in windows:
        marked = quantiles(distribution.positions, counts)
        if window is None or marked is None:
            lines += _legend(name, ["n 0", "the window is empty"], width, style)
            continue
        low, middle, high = (_bare(value, distribution.unit) for value in marked)
        told = [f"n {int(counts.sum()):,}", f"5 % {low}", f"median {middle}", f"95 % {high}"]
        lines += _legend(name, told, width, style)
        for row in range(height - 1, -1, -1):
            label = f"{percent(top)} " if row == height - 1 and gutter else ""
            bars = "".join(
                _level(float(share) / top * height - row if top else 0.0, signs, row) * wide
                for share in window.shares
            )
            line = Text(label.rjust(gutter), _DIM)
            line.append(bars.rstrip(), style)
            lines.append(_stripped(line))
        whisker = Text(" " * gutter)
        places = [min(shown.place(value), shown.bins - 0.5 / wide) * wide for value in marked]
        whisker.append(_whisker(places, signs), style)
        lines.append(whisker)
        lines += _wrapped(_beyond(window, distribution.unit), width, _DIM)
    lines += _axis(shown, wide, gutter, width, distribution.unit, signs)
    gap = distribution.gap
    if gap is not None and gap.baseline != gap.current:
        at = quantity(gap.value, distribution.unit)
        told_gap = (
            f"furthest apart at {at}: {percent(gap.baseline)} of the baseline are at most that,"
            f" {percent(gap.current)} of the current window"
        )
        lines += _wrapped([told_gap], width)
    return lines


def draw_categories(
    categories: Categories, width: int, signs: Signs = BLOCKS, most: int = CATEGORIES
) -> list[Text]:
    """The `most` largest categories and all others as one: shares of both windows side by side."""
    _require_width(width)
    largest, other = categories.largest(most)
    if not largest:
        return _wrapped(["both windows are empty"], width)
    shown = [*largest, *([other] if other else [])]
    sizes = categories.n_baseline, categories.n_current
    top = max(_share(one, size, i) for one in shown for i, size in enumerate(sizes)) or 1.0
    beside = width >= _SIDE_BY_SIDE
    named = min(max(cell_len(_name(one)) for one in shown), width // 3 if beside else width)
    lines: list[Text] = []
    for name, style, size in (
        ("baseline", _BASELINE, sizes[0]),
        ("current", _CURRENT, sizes[1]),
    ):
        lines += _legend(name, [f"n {size:,}"] if size else ["n 0", "empty"], width, style)
    # Beside each bar stands its share, and behind the last that a category is new or gone.
    room = (width - named - 2 - 2 * 9 - 6) // 2 if beside else width - 10
    if beside:
        lines.append(Text(" " * (named + 1) + "baseline".ljust(room + 10) + "current", _DIM))
    for one in shown:
        label = _fitted(_name(one), named, signs)
        bars = [
            _bar(_share(one, size, i) / top * room, signs) if size else ""
            for i, size in enumerate(sizes)
        ]
        told = [percent(_share(one, size, i)) if size else "-" for i, size in enumerate(sizes)]
        change = ""
        if all(sizes) and not (one.baseline and one.current):
            change = " new" if one.current else " gone"
        if beside:
            line = Text(set_cell_size(label, named) + " ")
            for i, style in enumerate((_BASELINE, _CURRENT)):
                line.append(f"{told[i]:>8} ")
                line.append(bars[i] if i else set_cell_size(bars[i], room + 1), style)
            line.append(change)
            lines.append(_stripped(line))
        else:
            lines.append(Text(f"{_fitted(_name(one), width - len(change), signs)}{change}"))
            for i, style in enumerate((_BASELINE, _CURRENT)):
                line = Text(f"{'bc'[i]}{told[i]:>8} ")
                line.append(bars[i], style)
                lines.append(_stripped(line))
    return lines


def draw_proportion(proportion: Proportion, width: int, signs: Signs = BLOCKS) -> list[Text]:
    """Both shares with their 95 % intervals (Wilson) on one axis, which need not begin at 0."""
    _require_width(width)
    both = (
        ("baseline", proportion.baseline, _BASELINE),
        ("current", proportion.current, _CURRENT),
    )
    bounds = [bound for _, tally, _ in both if tally.interval for bound in tally.interval]
    if not bounds:
        return _wrapped(["both windows are empty"], width)
    room = width - 1
    first, last, step = _percent_axis(min(bounds), max(bounds))

    def place(share: float) -> float:
        return (share - first) / (last - first) * room

    lines: list[Text] = []
    for name, tally, style in both:
        lines += _legend(name, _tally(tally), width, style)
        if tally.interval is not None and tally.rate is not None:
            low, high = tally.interval
            line = [place(low), place(tally.rate), place(high)]
            lines.append(Text(_whisker(line, signs), style))
    ticks = [first + i * step for i in range(round((last - first) / step) + 1)]
    labels = [(round(place(at)), f"{100 * at:.4g} %") for at in ticks]
    lines += _ruler(_fitting(labels, width) or labels[:1], width, 0, signs)
    return lines


def draw_history(
    history: Sequence[PastSweep],
    minimum: float,
    effect_name: str,
    width: int,
    signs: Signs = BLOCKS,
) -> list[Text]:
    """The magnitude of an effect in each sweep, oldest first; a gap where nothing is known, `D` under drift.

    Where a line has fewer cells than there were sweeps, a cell shows its largest effect.
    """
    _require_width(width)
    if not history:
        return _wrapped(["no sweep yet"], width)
    ordered = sorted(history, key=lambda one: one.at)
    cells = _by_time(ordered, width)
    known = [one.effect for one in ordered if one.effect is not None]
    top = max([minimum, *known])
    effects = ""
    states = ""
    for cell in cells:
        sizes = [one.effect for one in cell if one.effect is not None]
        effects += _level(max(sizes) / top, signs, 0, is_known=True) if sizes else " "
        found = {one.state for one in cell}
        worst = next(
            (
                state
                for state in (DriftState.DRIFT, DriftState.WARNING, *NOT_JUDGED)
                if state in found
            ),
            DriftState.STABLE,
        )
        states += _STATE_SIGNS[worst]
    told = f"effect in {len(ordered):,} sweeps"
    full, least = (magnitude_said(effect_name, size) for size in (top, minimum))
    scale = f"full height {full}, matters from {least}"
    lines = _wrapped([told, scale], width, _DIM)
    lines.append(Text(effects.rstrip()))
    if states.strip():
        lines.append(Text(states.rstrip(), "bold"))
        legend = {"D": "D drift", "s": "s slight drift", "?": "? not judged"}
        lines += _wrapped([words for sign, words in legend.items() if sign in states], width, _DIM)
    return lines + _wrapped(
        [f"{minute(ordered[0].at)} to {minute(ordered[-1].at)} UTC"], width, _DIM
    )


def _headline(metric: ShownMetric, width: int, signs: Signs) -> list[Text]:
    verdict = metric.verdict
    words = said(verdict.state.value).upper()
    subject = [
        visible(verdict.metric_name),
        f"of {visible(verdict.function_name)}" if verdict.function_name else "",
        f"by {visible(metric.model)}",
    ]
    lines = _wrapped([words, *(part for part in subject if part)], width, signs=signs)
    lines[0].stylize(_STATES[verdict.state], 0, min(len(words), len(lines[0])))
    return lines


def _grounds(metric: ShownMetric) -> list[str]:
    """The numbers that a verdict rests on."""
    verdict = metric.verdict
    name = verdict.effect_name.value
    parts = []
    if metric.effect is not None and verdict.state not in NOT_JUDGED:
        least = magnitude_said(name, verdict.minimum_effect)
        parts.append(f"{effect_said(name, metric.effect)} (matters from {least})")
    if verdict.p_value is not None:
        parts.append(
            f"adjusted p {probability(verdict.p_value)}"
            f" (significant to {number(verdict.threshold)})"
        )
    return [*parts, f"n {verdict.n_baseline:,} baseline, {verdict.n_current:,} current"]


def _bare(value: float, unit: str) -> str:
    """Without a unit that is a word: the axis says it."""
    return quantity(value, unit if unit == MILLISECONDS else "")


def _beyond(window: BinnedWindow, unit: str) -> list[str]:
    told = []
    if window.below:
        least = quantity(window.smallest, unit)
        told.append(f"{percent(window.below)} left of the axis, from {least}")
    if window.above:
        most = quantity(window.largest, unit)
        told.append(f"{percent(window.above)} right of the axis, up to {most}")
    return told


def _period(of: Period) -> str:
    words = f" ({visible(of.words)})" if of.words else ""
    return f"{period(of.start, of.end)} UTC{words}"


def _tally(tally: Tally) -> list[str]:
    if tally.interval is None or tally.rate is None:
        return ["n 0", "the window is empty"]
    return [
        percent(tally.rate),
        f"({interval(*tally.interval)})",
        f"{tally.count:,} of {tally.n:,}",
    ]


def _legend(name: str, parts: Sequence[str], width: int, style: str) -> list[Text]:
    lines = _wrapped([name, *parts], width)
    lines[0].stylize(f"bold {style}", 0, len(name))
    return lines


def _wrapped(
    parts: Iterable[str], width: int, style: str = "", signs: Signs = BLOCKS
) -> list[Text]:
    """Parts beside each other while they fit, else below each other; what is longer is broken."""
    lines: list[str] = []
    for part in parts:
        text = part.replace("\n", " ").replace("\t", " ")
        if lines and cell_len(lines[-1]) + 2 + cell_len(text) <= width:
            lines[-1] += "  " + text
            continue
        words = text.split(" ")
        line = ""
        for word in words:
            if line and cell_len(line) + 1 + cell_len(word) <= width:
                line += " " + word
                continue
            if line:
                lines.append(line)
            line = word
            while cell_len(line) > width:
                cut = _cut(line, width)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    return [Text(line, style) for line in lines]


def _cut(text: str, width: int) -> int:
    """How many characters fit into so many cells; at least one."""
    cells = 0
    for i, character in enumerate(text):
        cells += cell_len(character)
        if cells > width:
            return max(i, 1)
    return len(text)


def _fitted(text: str, width: int, signs: Signs) -> str:
    if cell_len(text) <= width:
        return text
    return text[: _cut(text, width - 1)] + signs.ellipsis


def _name(one: Category) -> str:
    return visible(one.name).replace("\n", " ").replace("\t", " ") or "(no name)"


def _share(one: Category, size: int, which: int) -> float:
    return (one.current if which else one.baseline) / size if size else 0.0


def _level(cells: float, signs: Signs, row: int, *, is_known: bool = False) -> str:
    """One cell of a bar that is `cells` high above the cell's foot.

    In the lowest row only nothing is drawn as nothing, and a known 0 not even so.
    """
    steps = len(signs.levels) - 1
    filled = min(max(round(cells * steps), 0), steps)
    if row == 0 and filled == 0 and (cells > 0 or is_known):
        return signs.trace
    return signs.levels[filled]


def _bar(cells: float, signs: Signs) -> str:
    whole = int(cells)
    part = signs.parts[round((cells - whole) * (len(signs.parts) - 1))]
    bar = signs.parts[-1] * whole + part.strip()
    return bar if bar or cells <= 0 else signs.parts[1].strip() or signs.line


def _whisker(places: Sequence[float], signs: Signs) -> str:
    """A line from the first to the last place with the middle marked; places may coincide."""
    low, middle, high = (int(place) for place in places)
    cells = [signs.line] * (high - low + 1)
    cells[0], cells[-1] = signs.left, signs.right
    cells[middle - low] = signs.middle
    return " " * low + "".join(cells)


def _axis(
    shown: Binned, wide: int, gutter: int, width: int, unit: str, signs: Signs
) -> list[Text]:
    room = width - gutter
    fitting: list[tuple[int, str]] = []
    for marked in shown.marks():
        labels = [(int(place * wide), tick(value, unit)) for place, value in marked]
        # The end of the axis may be too near to the edge of the terminal for its label.
        labels = [(at, label) for at, label in labels if at + len(label) <= room]
        fitting = _fitting(labels, room)
        if len(labels) > 1 and len(fitting) == len(labels):
            break
    remarks = [visible(unit)] if unit and unit != MILLISECONDS else []
    if shown.logarithmic:
        remarks.append("logarithmic axis")
    return [
        *_ruler(fitting, shown.bins * wide, gutter, signs),
        *_wrapped([f"({', '.join(remarks)})"] if remarks else [], width, _DIM),
    ]


def _fitting(labels: Sequence[tuple[int, str]], room: int) -> list[tuple[int, str]]:
    """Those labels, from the left, that have two cells to the next; in whole they fit."""
    kept: list[tuple[int, str]] = []
    reached = -2
    for at, label in labels:
        if at >= reached + 2 and at + len(label) <= room:
            kept.append((at, label))
            reached = at + len(label)
    return kept


def _ruler(
    labels: Sequence[tuple[int, str]], room: int, gutter: int, signs: Signs
) -> list[Text]:
    rule = [signs.line] * room
    written = ""
    for at, label in labels:
        if at < room:
            rule[at] = signs.tick
        written = written.ljust(at) + label
    return [Text(" " * gutter + "".join(rule), _DIM), Text(" " * gutter + written, _DIM)]


def _percent_axis(low: float, high: float) -> tuple[float, float, float]:
    """(first, last, step) of round shares around `low` to `high`, about five steps apart."""
    reach = max(high - low, 1e-6)
    step = 10.0 ** math.floor(math.log10(reach / 4))
    while reach / step > 6:
        step *= 2 if round(step / 10 ** math.floor(math.log10(step) + 1e-9)) != 2 else 2.5
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, max(last, first + 1) * step, step


def _by_time(history: Sequence[PastSweep], room: int) -> list[list[PastSweep]]:
    """Cells of equal time, so that a time without sweeps is a gap."""
    between = sorted(
        later.at - earlier.at for earlier, later in zip(history, history[1:], strict=False)
    )
    whole = history[-1].at - history[0].at
    usual = between[len(between) // 2] if between else timedelta()
    cells = min(room, round(whole / usual) + 1) if usual else 1
    found: list[list[PastSweep]] = [[] for _ in range(cells)]
    for one in history:
        part = (one.at - history[0].at) / whole if whole else 0.0
        found[min(round(part * (cells - 1)), cells - 1)].append(one)
    return found


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def _require_width(width: int) -> None:
    if width < NARROWEST:
        raise ValueError(f"width {width}; expected {NARROWEST} or more")
