"""The mail client's pages."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final

from werkzeug.wrappers import Response

from shared.evaluation.sites.mail.state import (
    FOLDERS,
    LABELS,
    Contact,
    Message,
    RefusedError,
    Responder,
    Rule,
    answering,
    forwarding,
)
from shared.evaluation.sites.visit import found, whole
from shared.evaluation.sites.world import TODAY

if TYPE_CHECKING:
    from shared.evaluation.sites.mail.state import Mail
    from shared.evaluation.sites.visit import Routes, Visit

NOW: Final = datetime.combine(TODAY, time(12), UTC)
"When everything that the user writes is sent."

_PAGE: Final = 15
_MOVES: Final = {"archive": "archive", "delete": "trash", "inbox": "inbox", "spam": "spam"}


def inbox(visit: Visit) -> Response:
    return folder(visit, "inbox")


def folder(visit: Visit, name: str) -> Response:
    found(FOLDERS, name)
    return _list(visit, FOLDERS[name], visit.world.mail.folder(name))


def label(visit: Visit, name: str) -> Response:
    found(dict.fromkeys(LABELS), name)
    labelled = [m for m in _newest(visit.world.mail) if name in m.labels and m.folder != "trash"]
    return _list(visit, f"Label {name}", labelled)


def starred(visit: Visit) -> Response:
    return _list(visit, "Starred", [m for m in _newest(visit.world.mail) if m.starred])


def search(visit: Visit) -> Response:
    """Messages that hold every word; `from:` looks at the sender alone."""
    words = visit.query("q").casefold().split()
    hits = [m for m in _newest(visit.world.mail) if all(_holds(m, word) for word in words)]
    return _list(visit, f"Results for “{visit.query('q')}”", hits)


def _holds(message: Message, word: str) -> bool:
    sender = f"{message.sender} {message.address}".casefold()
    if word.startswith("from:"):
        return word.removeprefix("from:") in sender
    return word in f"{sender} {message.subject} {message.body}".casefold()


def _newest(mail: Mail) -> list[Message]:
    return sorted(mail.messages.values(), key=lambda m: (m.sent, m.id), reverse=True)


def _list(visit: Visit, title: str, messages: list[Message]) -> Response:
    return visit.render(
        "mail/list",
        heading=title,
        page=visit.page_of(messages, _PAGE),
        folders=FOLDERS,
        labels=LABELS,
    )


def bulk(visit: Visit) -> Response:
    """Do one thing to all messages that are chosen."""
    mail = visit.world.mail
    back = visit.form("back") if visit.form("back").startswith("/mail") else "/mail"
    chosen = [whole(value) for value in visit.request.form.getlist("message")]
    if not chosen:
        return visit.go(back, "No messages were chosen.")
    for number in chosen:
        _do(found(mail.messages, number), visit.form("do"))
    count = f"{len(chosen)} message{'s' if len(chosen) > 1 else ''}"
    return visit.go(back, f"{count} updated.")


def act(visit: Visit, number: int) -> Response:
    """Do one thing to a message."""
    _do(found(visit.world.mail.messages, number), visit.form("do"))
    return visit.go(f"/mail/message/{number}", "The message was updated.")


def _do(message: Message, what: str) -> None:
    kind, _, value = what.partition(":")
    if kind in _MOVES:
        message.folder = _MOVES[kind]
    elif kind == "label" and value in LABELS:
        message.labels.add(value)
    elif kind == "unlabel":
        message.labels.discard(value)
    elif kind in ("star", "unstar"):
        message.starred = kind == "star"
    elif kind in ("read", "unread"):
        message.read = kind == "read"


def message(visit: Visit, number: int) -> Response:
    shown: Message = found(visit.world.mail.messages, number)
    shown.read = True
    return visit.render("mail/message", message=shown, folders=FOLDERS, labels=LABELS)


def compose(visit: Visit) -> Response:
    """A new message, or the answer to one, or one to forward."""
    mail = visit.world.mail
    given = {"to": visit.query("to"), "cc": "", "subject": "", "body": "", "kind": "new", "of": ""}
    for kind in ("reply", "forward"):
        if visit.query(kind):
            of: Message = found(mail.messages, whole(visit.query(kind)))
            given |= {"kind": kind, "of": str(of.id)}
            if kind == "reply":
                given |= {"to": of.address, "subject": answering(of.subject)}
            else:
                quoted = f"\n\n---------- Forwarded message ----------\nFrom: {of.sender}\n"
                given |= {"subject": forwarding(of.subject), "body": f"{quoted}{of.body}"}
    return visit.render("mail/compose", given=given, error="", folders=FOLDERS, labels=LABELS)


def send(visit: Visit) -> Response:
    given = {name: visit.form(name) for name in ("to", "cc", "subject", "body", "kind", "of")}
    mail = visit.world.mail
    of = whole(given["of"]) or None
    if of is not None:
        found(mail.messages, of)
    try:
        sent = mail.send(
            _addresses(given["to"]),
            given["subject"],
            given["body"].replace("\r\n", "\n"),
            NOW,
            cc=_addresses(given["cc"]),
            answers=of if given["kind"] == "reply" else None,
            forwards=of if given["kind"] == "forward" else None,
        )
    except RefusedError as refused:
        values = {"given": given, "error": str(refused), "folders": FOLDERS, "labels": LABELS}
        return visit.render("mail/compose", 400, **values)
    return visit.go(f"/mail/message/{sent.id}", "Your message was sent.")


def _addresses(text: str) -> frozenset[str]:
    parts = (part.strip() for part in text.replace(";", ",").split(","))
    return frozenset(part.lower() for part in parts if part)


def suggest(visit: Visit) -> Response:
    wanted = visit.query("q").casefold()
    answer = [
        {"text": one.email, "label": f"{one.name} <{one.email}>"}
        for one in visit.world.mail.contacts.values()
        if wanted in f"{one.name} {one.email}".casefold()
    ]
    return Response(json.dumps(answer[:6]), mimetype="application/json")


def contacts(visit: Visit) -> Response:
    return visit.render("mail/contacts", folders=FOLDERS, labels=LABELS)


def contact(visit: Visit, number: int) -> Response:
    """The form of a contact, 0 for a new one."""
    given = found(visit.world.mail.contacts, number) if number else Contact("", "")
    return visit.render(
        "mail/contact", given=given, number=number, errors={}, folders=FOLDERS, labels=LABELS
    )


def save_contact(visit: Visit, number: int) -> Response:
    saved = visit.world.mail.contacts
    if number:
        found(saved, number)
    given = Contact(*(visit.form(n) for n in ("name", "email", "phone", "company", "role")))
    errors = {} if given.name else {"name": "Please enter a name."}
    if given.email.count("@") != 1:
        errors["email"] = "Please enter a valid e-mail address."
    if errors:
        values = {"given": given, "number": number, "errors": errors}
        return visit.render("mail/contact", 400, folders=FOLDERS, labels=LABELS, **values)
    saved[number or max(saved) + 1] = given
    return visit.go("/mail/contacts", f"{given.name} was saved.")


def settings(visit: Visit, error: str = "") -> Response:
    return visit.render(
        "mail/settings", 400 if error else 200, error=error, folders=FOLDERS, labels=LABELS
    )


def save_responder(visit: Visit) -> Response:
    first, last = _date(visit.form("first")), _date(visit.form("last"))
    on = bool(visit.form("on"))
    if on and (first is None or last is None or last < first or not visit.form("text")):
        return settings(visit, "An automatic reply needs a first day, a last day and a text.")
    text = visit.form("text").replace("\r\n", "\n")
    visit.world.mail.responder = Responder(on, first, last, text)
    return visit.go("/mail/settings", "Your automatic reply was saved.")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def add_rule(visit: Visit) -> Response:
    rule = Rule(
        visit.form("sender").lower(), visit.form("subject"), visit.form("label"), visit.form("move")
    )
    if not (rule.sender or rule.subject) or not (rule.label or rule.folder):
        return settings(visit, "A filter needs something to look for and something to do.")
    if rule.label not in ("", *LABELS) or rule.folder not in ("", *FOLDERS):
        return settings(visit, "Please choose one of the labels and folders.")
    visit.world.mail.rules.append(rule)
    return visit.go("/mail/settings", "The filter was added.")


def delete_rule(visit: Visit, at: int) -> Response:
    rules = visit.world.mail.rules
    found(dict(enumerate(rules)), at)
    del rules[at]
    return visit.go("/mail/settings", "The filter was deleted.")


def save_signature(visit: Visit) -> Response:
    visit.world.mail.signature = visit.form("signature").replace("\r\n", "\n")
    return visit.go("/mail/settings", "Your signature was saved.")


ROUTES: Routes = (
    ("GET", "/mail", inbox),
    ("GET", "/mail/folder/<name>", folder),
    ("GET", "/mail/label/<name>", label),
    ("GET", "/mail/starred", starred),
    ("GET", "/mail/search", search),
    ("POST", "/mail/bulk", bulk),
    ("GET", "/mail/message/<int:number>", message),
    ("POST", "/mail/message/<int:number>", act),
    ("GET", "/mail/compose", compose),
    ("POST", "/mail/compose", send),
    ("GET", "/mail/suggest", suggest),
    ("GET", "/mail/contacts", contacts),
    ("GET", "/mail/contacts/<int:number>", contact),
    ("POST", "/mail/contacts/<int:number>", save_contact),
    ("GET", "/mail/settings", settings),
    ("POST", "/mail/settings/responder", save_responder),
    ("POST", "/mail/settings/rules", add_rule),
    ("POST", "/mail/settings/rules/<int:at>/delete", delete_rule),
    ("POST", "/mail/settings/signature", save_signature),
)
