"""One request to a site: what came with it, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from werkzeug.exceptions import NotFound
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from shared.evaluation.sites.session import Session
    from shared.evaluation.sites.world import World

# Scripts, styles and forms of the sites' own alone, as careful sites have it.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; form-action 'self'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def _money(cents: int) -> str:
    return f"${cents / 100:,.2f}"


def _day(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"


def _moment(moment: datetime) -> str:
    return f"{moment:%b} {moment.day}, {moment:%H:%M}"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(money=_money, day=_day, moment=_moment)
    return made


@cache
def static_file(name: str) -> bytes | None:
    """The contents of a style sheet or a script."""
    if name not in {"sites.css", "sites.js", "favicon.svg"}:
        return None
    return files(__package__).joinpath("static", name).read_bytes()


class PageOf(NamedTuple):
    """A page of a longer list; numbers begin at 1."""

    items: Sequence[Any]
    number: int
    pages: int
    total: int


@dataclass
class Visit:
    request: Request
    session: Session

    @property
    def world(self) -> World:
        return self.session.world

    def form(self, name: str) -> str:
        """A value of the form that was sent, without space around it; empty if there is none."""
        return self.request.form.get(name, "").strip()

    def query(self, name: str) -> str:
        return self.request.args.get(name, "").strip()

    def draft(self, name: str) -> dict[str, str]:
        """What was filled in so far of a form over several pages."""
        return self.session.drafts.setdefault(name, {})

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        notices, self.session.notices = self.session.notices, []
        html = _templates().get_template(f"{template}.html.j2")
        body = html.render(
            visit=self,
            world=self.world,
            notices=notices,
            form_token=self.session.form_token,
            **values,
        )
        return Response(body, status, HEADERS, mimetype="text/html")

    def go(self, path: str, notice: str = "") -> Response:
        """Answer a form that was accepted: the next page, with a notice on it."""
        if notice:
            self.session.notices.append(notice)
        return redirect(path, 303)

    def page_of(self, things: Sequence[Any], size: int) -> PageOf:
        """The page of `things` that the query asks for."""
        pages = max(1, -(-len(things) // size))
        asked = self.query("page")
        number = min(max(int(asked), 1), pages) if asked.isdigit() and len(asked) < 6 else 1
        return PageOf(things[(number - 1) * size : number * size], number, pages, len(things))

    def address_with(self, **changes: object) -> str:
        """This address with another query, for links that sort, filter or turn pages."""
        query = {**self.request.args.to_dict(), **{k: str(v) for k, v in changes.items()}}
        return f"{self.request.path}?{urlencode({k: v for k, v in query.items() if v})}"


Handler = Callable[..., Response]
Routes = tuple[tuple[str, str, Handler], ...]
"Method, path pattern, and what answers it."


def found(things: Mapping[Any, Any], key: object) -> Any:
    """The thing of that key; a page that is not there otherwise."""
    if key not in things:
        raise NotFound
    return things[key]


def whole(text: str, otherwise: int = 0) -> int:
    """A small whole number that a form or query holds."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else otherwise
