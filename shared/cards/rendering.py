"""Figures and names to a model card. Pure: the same input gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from shared.cards.figures import CardFigures, Figure, Unit
from shared.cards.markdown import escaped
from shared.drift.wording import said

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TEMPLATE: Final = "model_card.md.j2"


class _Markdown(str):
    """Text that is Markdown already; everything else that a template prints is escaped."""

    __slots__ = ()


@dataclass(frozen=True)
class Subject:
    """What the card is of, in the words of whoever registered it."""

    name: str
    version: str
    agent: str
    description: str
    registered: str
    settings: tuple[tuple[str, Any], ...]
    "What decides how the agent acts, by name."
    is_stand_in: bool


def render(subject: Subject, figures: CardFigures) -> str:
    """The card: YAML metadata as Hugging Face reads it, and Markdown."""
    # Every worker imports this module, and only a card being written needs the half second.
    from huggingface_hub import ModelCard, ModelCardData

    body = _environment().get_template(TEMPLATE).render(card=subject, figures=figures)
    data = ModelCardData(
        model_name=subject.name,
        library_name="browser-mlops",
        tags=["browser-agent", "web-agent", subject.agent],
        eval_results=_eval_results(figures) or None,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def shown(figure: Figure) -> str:
    """The figure's value for people: in its unit, or why there is none."""
    if figure.value is None:
        return figure.note or f"insufficient data (n = {figure.n:,})"
    text = _in_unit(figure.value, figure.unit)
    return f"{text} ({figure.note})" if figure.note else text


def shown_interval(figure: Figure) -> str:
    """`80.4 % to 96.7 %`, or a dash where there is none."""
    if figure.interval is None:
        return "–"  # noqa: RUF001 (a dash in a table's cell)
    low, high = (_in_unit(bound, figure.unit) for bound in figure.interval)
    return f"{low} to {high}"


def shown_window(figure: Figure) -> str:
    """The dates (UTC) that the figure's data is of."""
    if figure.window is None:
        return "no data"
    first, last = figure.window.first, figure.window.last
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


def _in_unit(value: float | str, unit: Unit) -> str:
    if isinstance(value, str):
        return escaped(said(value) if unit is Unit.STATE else value)
    match unit:
        case Unit.SHARE:
            return f"{100 * value:.1f} %"
        case Unit.POINTS:
            return f"{value:.1f} points"
        case Unit.MILLISECONDS:
            return f"{value:,.0f} ms"
        case Unit.STEPS:
            return f"{value:.1f}"
        case Unit.NANO_DOLLARS:
            return _dollars(value)
        case Unit.P_VALUE:
            return f"{value:.2g}"
        case Unit.EFFECT:
            return f"{value:.3f}"
        case _:
            return f"{value:,}"


def _dollars(nanos: float) -> str:
    """Exact to the nano-dollar, with at least two decimals."""
    whole, _, fraction = f"{Decimal(round(nanos)).scaleb(-9):,.9f}".partition(".")
    return f"${whole}.{fraction.rstrip('0'):0<2}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shared.cards"),
        # Markdown is escaped by `finalize`; escaping HTML on top would escape the escapes.
        autoescape=False,  # noqa: S701
        finalize=_printed,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "interval": lambda figure: _Markdown(shown_interval(figure)),
        "window": lambda figure: _Markdown(shown_window(figure)),
        "n": lambda figure: _Markdown(f"{figure.n:,}"),
        "setting": lambda value: json.dumps(value, ensure_ascii=False),
        "names": lambda names: ", ".join(names),
    }
    return environment


def _printed(value: object) -> str:
    """What a template may print: figures, and text, which is escaped. A bare number is refused."""
    match value:
        case _Markdown():
            return value
        case Figure():
            return shown(value)
        case str():
            return escaped(value)
        case _:
            raise TypeError(f"a card shows figures and text, not a bare {type(value).__name__}")


def _eval_results(figures: CardFigures) -> list[EvalResult]:
    """One per benchmark; the tasks are in the card's own table, where people read them."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="browser-automation",
            dataset_type=benchmark,
            dataset_name=benchmark,
            metric_type="success_rate",
            metric_value=figure.value,
            metric_name="Success rate",
            metric_args={"n": figure.n, "interval_95": list(figure.interval or ())},
        )
        for benchmark, figure in figures.by_benchmark
        if figure.value is not None
    ]
