"""What the mail client knows, and what can be done in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final

from shared.evaluation.sites.comparing import INCIDENTAL
from shared.evaluation.sites.mail.letters import make_letters

if TYPE_CHECKING:
    from shared.evaluation.sites.chance import Chance
    from shared.evaluation.sites.mail.letters import Letter
    from shared.evaluation.sites.people import Person

FOLDERS: Final = {
    "inbox": "Inbox",
    "archive": "Archive",
    "sent": "Sent",
    "spam": "Spam",
    "trash": "Trash",
}
LABELS: Final = ("Clients", "Finance", "Travel", "Personal", "Urgent", "Follow up")


class RefusedError(ValueError):
    """What was asked for cannot be done; the message is for the page."""


@dataclass
class Message:
    id: int
    sender: str
    "Name."
    address: str
    "Of the sender."
    to: frozenset[str]
    cc: frozenset[str]
    subject: str
    body: str
    "Lines; one that begins with `http` is a link."
    sent: datetime
    folder: str = "inbox"
    labels: set[str] = field(default_factory=set)
    starred: bool = False
    read: bool = field(default=True, metadata=INCIDENTAL)
    answers: int | None = None
    "The message that this one replies to."
    forwards: int | None = None


@dataclass
class Contact:
    name: str
    email: str
    phone: str = ""
    company: str = ""
    role: str = ""


@dataclass
class Rule:
    sender: str
    subject: str
    label: str
    folder: str


@dataclass
class Responder:
    """The answer while the user is away."""

    on: bool = False
    first: date | None = None
    last: date | None = None
    text: str = ""


@dataclass
class Mail:
    user: str
    "Address of the user."
    name: str
    messages: dict[int, Message]
    contacts: dict[int, Contact]
    rules: list[Rule] = field(default_factory=list)
    responder: Responder = field(default_factory=Responder)
    signature: str = ""

    def folder(self, name: str) -> list[Message]:
        """Newest first."""
        found = (message for message in self.messages.values() if message.folder == name)
        return sorted(found, key=lambda message: (message.sent, message.id), reverse=True)

    def receive(self, letter: Letter, folder: str = "inbox") -> Message:
        """A letter to the user, as unread."""
        made = Message(
            id=self._next(),
            sender=letter.sender,
            address=letter.address,
            to=frozenset((self.user, *letter.also_to)),
            cc=frozenset(),
            subject=letter.subject,
            body=letter.body,
            sent=letter.sent,
            folder=folder,
            read=False,
        )
        self.messages[made.id] = made
        return made

    def send(
        self,
        to: frozenset[str],
        subject: str,
        body: str,
        now: datetime,
        cc: frozenset[str] = frozenset(),
        answers: int | None = None,
        forwards: int | None = None,
    ) -> Message:
        """Raises `RefusedError`."""
        if not to:
            raise RefusedError("Please enter at least one recipient.")
        for address in to | cc:
            if address.count("@") != 1 or not all(address.split("@")) or " " in address:
                raise RefusedError(f"{address} is not an e-mail address.")
        if not subject:
            raise RefusedError("Please enter a subject.")
        made = Message(
            id=self._next(),
            sender=self.name,
            address=self.user,
            to=to,
            cc=cc,
            subject=subject,
            body=body,
            sent=now,
            folder="sent",
            answers=answers,
            forwards=forwards,
        )
        self.messages[made.id] = made
        return made

    def reply(self, message: int, body: str, now: datetime) -> Message:
        """To the sender alone."""
        given = self.messages[message]
        to = frozenset((given.address,))
        return self.send(to, answering(given.subject), body, now, answers=message)

    def _next(self) -> int:
        return max(self.messages, default=0) + 1


def answering(subject: str) -> str:
    return subject if subject.startswith("Re: ") else f"Re: {subject}"


def forwarding(subject: str) -> str:
    return subject if subject.startswith("Fwd: ") else f"Fwd: {subject}"


_ROLES: Final = (
    "Head of Finance",
    "Office Manager",
    "Designer",
    "Account Manager",
    "Engineer",
    "Legal Counsel",
    "Recruiter",
    "Facilities",
)


def make_mail(chance: Chance, staff: tuple[Person, ...], today: date) -> Mail:
    user = staff[0]
    mail = Mail(user=user.email, name=user.name, messages={}, contacts={})
    for at, person in enumerate(staff[1:], 1):
        phone = f"+1 555 02{chance.between(10, 99)}"
        mail.contacts[at] = Contact(
            person.name, person.email, phone, person.company, _ROLES[at - 1]
        )
    morning = datetime.combine(today, time(6), UTC)
    for letter in make_letters(chance, staff, morning):
        message = mail.receive(letter, letter.folder)
        message.read = chance.happens(0.7)
    return mail
