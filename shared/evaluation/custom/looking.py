"""Looks at a page from an isolated world: the document is the page's, the JavaScript is not.

A script of the page can put anything into its document, but cannot change how it is read here:
`querySelector`, `innerText` and all other functions are this world's own. In the world `page` it
is the page's functions that are asked, and the page can make them say what it likes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from playwright.async_api import Error as PlaywrightError

from shared.evaluation.benchmark import JudgingError
from shared.evaluation.observing import within

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

World = Literal["isolated", "page"]

_WORLD_NAME: Final = "judging"
_SCRIPT_MS: Final = 3_000
_TRIES: Final = 3
_REPLACED: Final = (
    "Cannot find context",
    "Execution context was destroyed",
    "Inspected target navigated",
    "No frame for given id",
    "No frame with given id",
    "uniqueContextId not found",
)
_OF_THE_DEFINITION: Final = ("SyntaxError", "ReferenceError")
"What is thrown whatever the page is like."

# What Chromium says of a script that it has stopped for the sake of the time limit.
_STOPPED: Final = ("Internal error", "terminated")
MATCHES_AT_MOST: Final = 1_000
TEXT_AT_MOST: Final = 200_000

# Names of a page's elements stand before a document's and a form's own properties, in every world:
# `<form name=querySelectorAll>`. So properties are taken from the prototypes.
_ELEMENTS: Final = """
(([selector, atMost, longest]) => {
  const property = (kind, name) => Object.getOwnPropertyDescriptor(kind.prototype, name).get;
  const innerText = property(HTMLElement, "innerText");
  const textContent = property(Node, "textContent");
  const found = Document.prototype.querySelectorAll.call(document, selector);
  const shown = (element) => {
    const box = Element.prototype.getBoundingClientRect.call(element);
    return getComputedStyle(element).visibility === "visible" && box.width > 0 && box.height > 0;
  };
  const text = (element) => (
    element instanceof HTMLElement ? innerText : textContent).call(element) ?? "";
  const held = (element) => (
    element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement ||
    element instanceof HTMLSelectElement ? element.value.slice(0, longest) : null);
  return { total: found.length, elements: [...found].slice(0, atMost).map((element) => ({
    visible: shown(element), text: text(element).slice(0, longest), value: held(element),
  })) };
})
"""
_PAGE: Final = """
(([longest]) => {
  const said = (kind, name, of) => (
    of ? Object.getOwnPropertyDescriptor(kind.prototype, name).get.call(of) : null) ?? "";
  const root = said(Document, "documentElement", document);
  const body = said(Document, "body", document);
  const text = body ? said(HTMLElement, "innerText", body) : said(Node, "textContent", root);
  return {
    title: said(Document, "title", document).slice(0, longest),
    text: text.slice(0, longest),
    html: said(Element, "outerHTML", root).slice(0, 5 * longest),
  };
})
"""
# The same for what a definition's own expression asks of the document.
_DOCUMENT: Final = """
const document = new Proxy(globalThis.document, {
  get(real, name, proxy) {
    for (let at = Object.getPrototypeOf(real); at; at = Object.getPrototypeOf(at)) {
      const found = Object.getOwnPropertyDescriptor(at, name);
      if (!found) continue;
      const value = found.get ? found.get.call(real) : found.value;
      return typeof value !== "function" ? value : (...given) => (
        value.apply(real, given.map((one) => (one === proxy ? real : one))));
    }
    return Reflect.get(real, name);
  },
  set: (real, name, value) => Reflect.set(real, name, value),
});
"""


@dataclass(frozen=True)
class Found:
    """An element of the page. `value` is None for one that is no field."""

    visible: bool
    text: str
    value: str | None


@dataclass(frozen=True)
class Shown:
    """What a page shows, cut to `TEXT_AT_MOST` characters; its HTML to five times that."""

    title: str
    text: str
    html: str


class Looker:
    """Looks at the pages of one episode. Playwright's errors pass through."""

    def __init__(self) -> None:
        self._sessions: dict[Page, CDPSession] = {}
        self._frames: dict[Page, str] = {}

    async def elements(self, page: Page, selector: str) -> tuple[int, list[Found]]:
        """How many elements match, and the first `MATCHES_AT_MOST` of them.

        Raises `JudgingError` for a selector that is none.
        """
        asked = json.dumps([selector, MATCHES_AT_MOST, TEXT_AT_MOST])
        found = await self._evaluate(page, f"{_ELEMENTS}({asked})", "isolated", "selector")
        return found["total"], [Found(**element) for element in found["elements"]]

    async def shown(self, page: Page) -> Shown:
        return Shown(
            **await self._evaluate(page, f"{_PAGE}([{TEXT_AT_MOST}])", "isolated", "the page")
        )

    async def predicate(
        self, page: Page, expression: str, world: World, values: Mapping[str, str]
    ) -> bool:
        """What the expression says; null and undefined are false.

        Raises `JudgingError` if it throws, does not end, or gives anything else.
        """
        own = _DOCUMENT if world == "isolated" else ""
        source = (
            f"(async () => {{ const values = {json.dumps(dict(values))};\n{own}"
            f"return (\n{expression}\n); }})()"
        )
        said = await self._evaluate(page, source, world, "javascript")
        if said is None:
            return False
        if not isinstance(said, bool):
            gave = f"javascript gave {json.dumps(said)[:50]}, not true or false"
            raise JudgingError(gave, permanent=True)
        return said

    async def run(self, page: Page, statements: str, values: Mapping[str, str]) -> None:
        """Run statements in the page's own world. Raises `JudgingError` if they throw."""
        source = f"(async () => {{ const values = {json.dumps(dict(values))};\n{statements}\n}})()"
        await self._evaluate(page, source, "page", "javascript")

    async def _evaluate(self, page: Page, source: str, world: World, what: str) -> Any:
        for tried in range(1, _TRIES + 1):
            try:
                return await within(self._once(page, source, world, what))
            except PlaywrightError as error:
                # A document that is replaced under the question: ask the next one.
                if tried == _TRIES or not any(sign in error.message for sign in _REPLACED):
                    raise
                self._frames.pop(page, None)
            await within(page.wait_for_load_state("domcontentloaded"))
        raise AssertionError("the last try returns or raises")

    async def _once(self, page: Page, source: str, world: World, what: str) -> Any:
        session = self._sessions.get(page)
        if session is None:
            session = self._sessions[page] = await page.context.new_cdp_session(page)
        asked: dict[str, Any] = {
            "expression": source,
            "returnByValue": True,
            "awaitPromise": True,
            "timeout": _SCRIPT_MS,
        }
        if world == "isolated":
            if page not in self._frames:
                tree = await session.send("Page.getFrameTree")
                self._frames[page] = tree["frameTree"]["frame"]["id"]
            # Made anew each time: the number of a world may be another's in the next document.
            made = await session.send(
                "Page.createIsolatedWorld",
                {"frameId": self._frames[page], "worldName": _WORLD_NAME},
            )
            asked["contextId"] = made["executionContextId"]
        try:
            answered = await session.send("Runtime.evaluate", asked)
        except PlaywrightError as error:
            if any(sign in error.message for sign in _STOPPED):
                raise JudgingError(f"{what} did not end within {_SCRIPT_MS / 1000:g} s") from None
            raise
        if "exceptionDetails" in answered:
            thrown = _thrown(answered["exceptionDetails"])
            permanent = thrown.startswith(_OF_THE_DEFINITION)
            raise JudgingError(f"{what} failed: {thrown}", permanent=permanent)
        return answered["result"].get("value")


def _thrown(details: dict[str, Any]) -> str:
    exception = details.get("exception") or {}
    said = exception.get("description") or exception.get("value") or details.get("text") or ""
    return str(said).splitlines()[0][:200] if str(said) else "it threw"
