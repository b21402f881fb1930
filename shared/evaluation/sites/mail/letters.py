"""The letters that are in the mailbox before a task plants its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.people import COMPANIES, people

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.people import Person


@dataclass(frozen=True)
class Letter:
    sender: str
    address: str
    subject: str
    body: str
    sent: datetime
    also_to: tuple[str, ...] = ()
    folder: str = "inbox"


NEWSLETTERS: Final = {
    "The Morning Brew Guide": "news@brewguide.example",
    "Trailhead Weekly": "hello@trailhead.example",
    "Pixel & Paper": "editor@pixelpaper.example",
}
_ISSUES: Final = (
    "what we read this week",
    "five ideas for spring",
    "a reader asks",
    "the long view",
    "small tools, big effect",
    "notes from the road",
    "our favourite questions",
)
_COLLEAGUES: Final = (
    ("Lunch on {day}?", "Are you free for lunch on {day}? The new place next door has a terrace."),
    ("Slides for {company}", "The slides for {company} are on the shared drive, version {n}."),
    ("Parking level {n}", "Level {n} is closed on {day}, please use another one."),
    ("Coffee machine", "It is being repaired on {day}. There is tea until then."),
    ("Team offsite", "We have {n} rooms left for the offsite. Tell me if you need one."),
    ("Reading list", "I have put {n} more articles on our list, the one on {company} is good."),
)
_CLIENTS: Final = (
    ("Question on our contract", "Could we move our call to {day}? We have {n} open points."),
    ("Feedback on the draft", "Thank you for the draft. We have {n} remarks and will call {day}."),
    ("Introduction", "I am taking over the account at {company} and would like to meet on {day}."),
)
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]


def make_letters(chance: Chance, staff: tuple[Person, ...], latest: datetime) -> list[Letter]:
    """About sixty letters of the two months up to `latest`, the oldest first."""
    clients = people(chance, 10, tuple(chance.some(COMPANIES, 10)))
    letters = []
    for at in range(58):
        sent = latest - timedelta(hours=(58 - at) * 23 + chance.below(20), minutes=chance.below(60))
        words = {
            "day": chance.pick(_DAYS),
            "company": chance.pick(COMPANIES),
            "n": chance.between(2, 9),
        }
        if at % 4 == 1:
            name, address = chance.pick(list(NEWSLETTERS.items()))
            issue = f"{name} #{100 + at}: {chance.pick(_ISSUES)}"
            letters.append(Letter(name, address, issue, _newsletter(chance, name), sent))
            continue
        person = chance.pick(clients if at % 4 == 3 else staff[1:])
        subject, body = chance.pick(_CLIENTS if at % 4 == 3 else _COLLEAGUES)
        said = f"Hi {staff[0].given},\n\n{body.format(**words)}\n\nBest,\n{person.name}"
        folder = "archive" if chance.happens(0.3) else "inbox"
        subject = subject.format(**words)
        letters.append(Letter(person.name, person.email, subject, said, sent, (), folder))
    return letters


def _newsletter(chance: Chance, name: str) -> str:
    picked = chance.some(_ISSUES, 3)
    lines = "\n".join(f"- {line.capitalize()}" for line in picked)
    return f"Welcome to {name}.\n\nIn this issue:\n{lines}\n\nYou get this because you subscribed."
