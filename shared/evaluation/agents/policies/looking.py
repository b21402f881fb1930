"""Finding elements in an observation, in document order, by what they say and what they are."""

from __future__ import annotations

from collections.abc import Iterable

from shared.evaluation.protocol import Element, Observation

TEXT_TYPES = frozenset({"", "text", "password", "search", "email", "url", "tel", "number", "input"})
"Types of `<input>` that take typed text; a browser treats an unknown type as text."


def has_class(element: Element, *names: str) -> bool:
    """Whether the element carries one of these CSS classes."""
    return not set(names).isdisjoint(element.attributes.get("class", "").split())


def is_text_field(element: Element) -> bool:
    """Whether the element is a one-line field to type into."""
    return element.tag == "input" and element.attributes.get("type", "").lower() in TEXT_TYPES


def is_button(element: Element) -> bool:
    """Whether the element is a push button."""
    return (
        element.tag == "button"
        or element.role == "button"
        or (element.tag == "input" and element.attributes.get("type") in {"button", "submit"})
    )


def text_fields(observation: Observation) -> list[Element]:
    return [e for e in observation.elements if is_text_field(e)]


def inputs_of_type(observation: Observation, kind: str) -> list[Element]:
    return [
        e for e in observation.elements if e.tag == "input" and e.attributes.get("type") == kind
    ]


def buttons(observation: Observation) -> list[Element]:
    return [e for e in observation.elements if is_button(e)]


def label_of(field: Element, observation: Observation) -> str:
    """What a field is called: its own text, its `aria-label`, or the label around or before it."""
    own = field.text or field.attributes.get("aria-label", "")
    if own:
        return own.strip()
    name = field.attributes.get("id")
    nearest = ""
    for element in observation.elements:
        if element.tag == "label" and name and element.attributes.get("for") == name:
            return element.text.strip()
        if element.id == field.id:
            break
        if element.tag == "label":
            nearest = element.text
    return nearest.strip()


def saying(text: str, elements: Iterable[Element]) -> Element | None:
    """The element that says exactly `text`, else the same in other case or punctuation.

    Of several, one that can be used goes before one that is only text, and the innermost
    (the last in document order of the first group) before what surrounds it.
    """
    candidates = list(elements)
    for same in (_exactly, _loosely):
        found = [e for e in candidates if same(e, text)]
        if found:
            usable = [e for e in found if e.interactive]
            return _innermost(usable or found)
    return None


def following(anchor: Element, observation: Observation) -> list[Element]:
    """The elements after `anchor` in document order."""
    ids = [e.id for e in observation.elements]
    return list(observation.elements[ids.index(anchor.id) + 1 :])


def first_saying(text: str, css_class: str, observation: Observation) -> Element | None:
    """The first element of a CSS class that says exactly `text`."""
    return next(
        (e for e in observation.elements if has_class(e, css_class) and e.text == text), None
    )


def until_next(css_class: str, elements: list[Element]) -> list[Element]:
    """The elements before the next one of a CSS class, which begins the next entry."""
    for index, element in enumerate(elements):
        if has_class(element, css_class):
            return elements[:index]
    return elements


def _exactly(element: Element, text: str) -> bool:
    return text in (element.text, element.value if is_button(element) else None)


def _loosely(element: Element, text: str) -> bool:
    return bool(text.strip(" .,")) and _folded(element.text) == _folded(text)


def _folded(text: str) -> str:
    return " ".join(text.split()).strip(" .,").casefold()


def _innermost(elements: list[Element]) -> Element:
    """The first element, or the last of the chain of elements that starts inside it."""
    chosen = elements[0]
    for element in elements[1:]:
        if _inside(element, chosen):
            chosen = element
    return chosen


def _inside(inner: Element, outer: Element) -> bool:
    left, top, width, height = outer.box
    x, y, w, h = inner.box
    return w * h > 0 and left <= x and top <= y and x + w <= left + width and y + h <= top + height
