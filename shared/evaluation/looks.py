"""What an element looked like, and which element of another page looks like that. Pure."""

from __future__ import annotations

from typing import Final

from shared.evaluation.protocol import Action, Element, Look, Observation

FIELDS: Final = ("element", "onto")
"Those of an action that name an element."
_ATTRIBUTES: Final = ("id", "name", "type", "for", "placeholder", "aria-label", "title", "alt")
"Those that stay with an element; an address or a class may change with every load."
_LONGEST: Final = 100


def looks_of(action: Action | None, observation: Observation) -> dict[str, Look]:
    """The look of each element that `action` names, where it is on the page."""
    looks: dict[str, Look] = {}
    for field in FIELDS:
        named = getattr(action, field, None)
        if named is None:
            continue
        found = next((e for e in observation.elements if e.id == named), None)
        if found is not None:
            looks[field] = _nth(found, observation)
    return looks


def find(look: Look, observation: Observation) -> Element | None:
    """The element that looks like `look`; None where there is none, or more than one nearly does.

    First the same in everything, of several the one with the same number. Then the only one of
    the same kind and text, then the only one of the same tag with the same id or name.
    """
    same = [e for e in observation.elements if _look(e) == look.model_copy(update={"nth": 0})]
    if same:
        return same[look.nth] if look.nth < len(same) else None
    alike = [
        [
            e
            for e in observation.elements
            if look.text and (e.tag, e.role, _cut(e.text)) == (look.tag, look.role, look.text)
        ],
        [
            e
            for e in observation.elements
            if e.tag == look.tag
            and any(
                look.attributes.get(name) and e.attributes.get(name) == look.attributes[name]
                for name in ("id", "name")
            )
        ],
    ]
    return next((found[0] for found in alike if len(found) == 1), None)


def describe(look: Look) -> str:
    """The look in a few words, for a person."""
    said = look.text or look.attributes.get("id") or look.attributes.get("name") or ""
    return f"{look.tag} {said!r}" if said else f"{look.tag} number {look.nth + 1} of its kind"


def _nth(element: Element, observation: Observation) -> Look:
    look = _look(element)
    before = 0
    for other in observation.elements:
        if other.id == element.id:
            break
        before += _look(other) == look
    return look.model_copy(update={"nth": before})


def _look(element: Element) -> Look:
    return Look(
        tag=element.tag,
        role=element.role,
        text=_cut(element.text),
        attributes={
            name: _cut(element.attributes[name])
            for name in _ATTRIBUTES
            if element.attributes.get(name)
        },
    )


def _cut(text: str) -> str:
    return text[:_LONGEST]
