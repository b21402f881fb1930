"""Numbers: sums, equations, blocks, parity, lots, guesses, the greatest and the order."""

from __future__ import annotations

import re
from itertools import pairwise

from shared.evaluation.agents.policies.answers import click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.fields import fill_in
from shared.evaluation.agents.policies.looking import buttons, has_class, saying, text_fields
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import Action, Click, Element, Fill, Observation

_SUM = re.compile(r"^Solve the math problem and type your answer into the textbox")
_SUM_TERM = re.compile(r"^(?P<a>-?\d+) (?P<sign>[-+x]) (?P<b>-?\d+) =$")
_EQUATION = re.compile(r"^Solve for x and type your answer into the textbox")
_EQUATION_TERM = re.compile(r"^(?P<a>x|-?\d+) (?P<sign>[-+]) (?P<b>x|-?\d+) = (?P<result>-?\d+)$")
_BLOCKS = re.compile(r"^Type the total number of blocks into the textbox")
_PARITY = re.compile(r"^Mark the numbers below as odd or even")
_GENERATE = re.compile(
    r"^Generate an? "
    r"(?:(?P<parity>odd|even) number|number (?P<side>less|greater) than (?P<limit>\d+))"
)
_GUESS = re.compile(r"^Guess the number between (?P<low>\d+)-(?P<high>\d+) and press Submit")
_HINT = re.compile(r"The number is (?P<side>lower|higher) than (?P<guess>\d+)")
_GREATEST = re.compile(r"^Find and pick the card with the greatest number, then press submit")
_ASCENDING = re.compile(r"^Click on the numbers in ascending order")
_WHOLE = re.compile(r"^-?\d+$")


def solve_sum(observation: Observation, memory: Memory) -> Action | None:
    """The result of `a + b`, `a - b` or `a x b` into the field; then submit."""
    if not _SUM.match(observation.goal):
        return None
    term = _first(_SUM_TERM, observation)
    if term is None:
        return wait_for("a sum", memory)
    a, b = int(term["a"]), int(term["b"])
    return _answer({"+": a + b, "-": a - b, "x": a * b}[term["sign"]], observation, memory)


def solve_equation(observation: Observation, memory: Memory) -> Action | None:
    """The x of an equation with one plus or minus into the field; then submit."""
    if not _EQUATION.match(observation.goal):
        return None
    term = _first(_EQUATION_TERM, observation)
    if term is None:
        return wait_for("an equation", memory)
    result = int(term["result"])
    if term["sign"] == "+":
        known = term["b"] if term["a"] == "x" else term["a"]
        x = result - int(known)
    else:
        x = result + int(term["b"]) if term["a"] == "x" else int(term["a"]) - result
    return _answer(x, observation, memory)


def count_blocks(observation: Observation, memory: Memory) -> Action | None:
    """The number of blocks into the field; then submit."""
    if not _BLOCKS.match(observation.goal):
        return None
    blocks = [e for e in observation.elements if has_class(e, "addition-block")]
    return _answer(len(blocks), observation, memory)


def mark_parity(observation: Observation, memory: Memory) -> Action | None:
    """ "Odd" before or "Even" after each number; then submit."""
    if not _PARITY.match(observation.goal):
        return None
    page = observation.elements
    for before, number, after in zip(page, page[1:], page[2:], strict=False):
        if _WHOLE.match(number.text) and (before.text, after.text) == ("Odd", "Even"):
            wanted = before if int(number.text) % 2 else after
            if not has_class(wanted, "selected"):
                return Click(element=wanted.id)
    return submit(observation, memory)


def draw_number(observation: Observation, memory: Memory) -> Action | None:
    """Draw until the number is as the goal wants it; then submit."""
    if not (named := _GENERATE.match(observation.goal)):
        return None
    shown = next((e.text for e in observation.elements if _WHOLE.match(e.text)), None)
    if shown is not None and _is_wanted(int(shown), named):
        return submit(observation, memory)
    return click_or_wait(saying("Generate", buttons(observation)), memory, "the button 'Generate'")


def guess_number(observation: Observation, memory: Memory) -> Action | None:
    """Halve the range with every guess. What earlier hints said shows in the guesses made since."""
    if not (named := _GUESS.match(observation.goal)):
        return None
    field = next(iter(text_fields(observation)), None)
    if field is None:
        return wait_for("a field for the guess", memory)
    low, high = int(named["low"]), int(named["high"])
    guesses = [int(a.text) for a in memory.actions() if isinstance(a, Fill) and a.text.isdigit()]
    for guess, later in pairwise(guesses):
        low, high = (guess + 1, high) if later > guess else (low, guess - 1)
    hint = _HINT.search(observation.text)
    answered = hint is not None and bool(guesses) and int(hint["guess"]) == guesses[-1]
    if guesses and not answered:
        return submit(observation, memory)
    if answered and hint is not None:
        guess = guesses[-1]
        low, high = (guess + 1, high) if hint["side"] == "higher" else (low, guess - 1)
    return Fill(element=field.id, text=str((low + high) // 2))


def pick_greatest(observation: Observation, memory: Memory) -> Action | None:
    """The card with the greatest number; then submit."""
    if not _GREATEST.match(observation.goal):
        return None
    cards = [e for e in observation.elements if has_class(e, "card") and _WHOLE.match(e.text)]
    if not cards:
        return wait_for("a card", memory)
    greatest = max(cards, key=lambda card: int(card.text))
    if has_class(greatest, "hidden"):
        return Click(element=greatest.id)
    return submit(observation, memory)


def click_in_order(observation: Observation, memory: Memory) -> Action | None:
    """The 1 first; then what the numbers have turned into, which keeps their order."""
    if not _ASCENDING.match(observation.goal):
        return None
    numbers = [e for e in observation.elements if _WHOLE.match(e.text) and e.tag == "text"]
    if numbers:
        return Click(element=min(numbers, key=lambda e: int(e.text)).id)
    left = next((e for e in observation.elements if e.tag == "rect"), None)
    return click_or_wait(left, memory, "a number")


def _answer(number: int, observation: Observation, memory: Memory) -> Action:
    pairs = zip(text_fields(observation)[:1], [str(number)], strict=False)
    return fill_in(pairs, observation, memory)


def _first(pattern: re.Pattern[str], observation: Observation) -> re.Match[str] | None:
    found = (pattern.match(e.text) for e in observation.elements if _is_text(e))
    return next((match for match in found if match), None)


def _is_text(element: Element) -> bool:
    return not element.interactive


def _is_wanted(number: int, named: re.Match[str]) -> bool:
    if named["parity"]:
        return number % 2 == (named["parity"] == "odd")
    limit = int(named["limit"])
    return number < limit if named["side"] == "less" else number > limit
