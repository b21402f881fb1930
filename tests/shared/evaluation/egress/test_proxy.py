"""What the proxy lets through, in what form, and how it refuses; spoken to without a browser."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11
import pytest

from shared.evaluation.egress.exchange import said
from shared.evaluation.egress.fence import Fence
from shared.evaluation.egress.policy import REFUSALS_LIMIT, Policy, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

Answer = tuple[int, str]


class Server:
    """An origin server on loopback that answers each request with `answer` and keeps it."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        request = b""
        while data := await reader.read(65536):
            request += data
            connection.receive_data(data)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.EndOfMessage):
                    self.requests.append(request)
                    request = b""
                    writer.write(self.answer)
                    if b"Content-Length" not in self.answer and b"chunked" not in self.answer:
                        return
                    connection = h11.Connection(h11.SERVER)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Browser:
    """Speaks to a proxy on one connection."""

    def __init__(self, fence: Fence) -> None:
        self._port = int(fence.settings["server"].rpartition(":")[2])

    async def __aenter__(self) -> Browser:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.connection = h11.Connection(h11.CLIENT)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(
        self,
        target: str,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Answer:
        """Send one request and return status and body."""
        headers = [("Host", "whatever.example"), *headers]
        self._send(h11.Request(method=method, target=target, headers=headers))
        if body:
            self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        status, said = 0, b""
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(20):
                    self.connection.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Response):
                status, self.headers = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                said += event.data
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("it was closed")
            else:
                if self.connection.our_state is h11.DONE:
                    self.connection.start_next_cycle()
                return status, said.decode()

    def _send(self, event: h11.Event) -> None:
        self.writer.write(self.connection.send(event) or b"")


@asynccontextmanager
async def fenced(policy: Policy) -> AsyncIterator[Fence]:
    fence = await Fence(policy).start()
    try:
        yield fence
    finally:
        fence.stop()


def leading_to(**names: list[str]) -> Policy:
    """A policy whose names lead to these addresses, the last one of each again and again."""

    async def resolve(host: str) -> Sequence[str]:
        answers = names[host.partition(".")[0]]
        if not answers:
            raise OSError(f"no such host: {host}")
        return (answers.pop(0) if len(answers) > 1 else answers[0]).split()

    return Policy(resolve=resolve)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def ask(policy: Policy, target: str, method: str = "GET") -> Answer:
    async with fenced(policy) as fence, Browser(fence) as browser:
        return await browser.ask(target, method)


def test_an_allowed_origin_is_asked_and_answers_on_one_connection() -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(f"{server.url}/start")
            async with Browser(fence) as browser:
                for path in ("/a?b=c", "/", ""):
                    assert await browser.ask(server.url + path) == (200, "hello")
        first = server.requests[0]
        assert first.startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert b"127.0.0.1:%d\r\n" % server.port in first
        assert b"whatever.example" not in first
        assert server.requests[2].startswith(b"GET / HTTP/1.1\r\n")
        assert server.connections == 1
        assert fence.policy.refused == ()

    asyncio.run(check())


def test_nothing_is_allowed_before_it_is() -> None:
    async def check() -> None:
        async with Server().running() as server:
            status, line = await ask(Policy(), server.url)
            assert (status, server.connections) == (403, 0)
            assert line == f"{server.url} is refused: the task does not allow it\n"

    asyncio.run(check())


@pytest.mark.parametrize(
    "other",
    [
        "http://localhost:{port}",
        "http://127.0.0.2:{port}",
        "http://127.0.0.1:{other}",
        "http://[::ffff:127.0.0.1]:{port}",
        "http://allowed.example@evil.example:{port}",
    ],
)
def test_an_origin_is_allowed_exactly(other: str) -> None:
    async def check() -> None:
        async with Server().running() as server, Server().running() as second:
            policy = Policy()
            policy.allow_own(server.url)
            target = other.format(port=server.port, other=second.port)
            assert (await ask(policy, f"{target}/x"))[0] == 403
            assert server.connections == second.connections == 0
            assert [refusal.target for refusal in policy.refused] == [f"{target}/x"]

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["127.0.0.1", "10.0.0.1 ::1", "169.254.169.254", "fe80::1%1"])
def test_an_allowed_name_that_leads_inside_is_refused(kind: str) -> None:
    async def check() -> None:
        policy = leading_to(shop=[kind])
        policy.allow("http://shop.example", "https://shop.example")
        status, line = await ask(policy, "http://shop.example/")
        assert status == 403
        assert "its name leads to a" in line
        assert (await ask(policy, "shop.example:443", "CONNECT"))[0] == 403
        assert len(policy.refused) == 2

    asyncio.run(check())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost", "10.0.0.1", "[::1]"])
def test_an_allowed_host_inside_is_refused_unless_its_operator_names_it(host: str) -> None:
    async def check() -> None:
        async with Server().running() as server:
            url = f"http://{host}:{server.port}"
            policy = Policy()
            policy.allow(url)
            status, line = await ask(policy, url)
            assert (status, server.connections) == (403, 0)
            assert "is refused: it is a" in line
            assert (await ask(policy, f"{host}:{server.port}", "CONNECT"))[0] == 403
            if host != "10.0.0.1":
                policy.open_inner(host.strip("[]"))
                assert (await ask(policy, url))[0] == (502 if host == "[::1]" else 200)

    asyncio.run(check())


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_metadata_and_link_local_addresses_are_refused_to_everybody(host: str) -> None:
    async def check() -> None:
        policy = Policy(inner_hosts=[host.strip("[]"), "shop.example"])
        policy.allow_own(f"http://{host}", f"https://{host}")
        for target, method in ((f"http://{host}/latest", "GET"), (f"{host}:443", "CONNECT")):
            status, line = await ask(policy, target, method)
            assert status == 403
            assert "it is a" in line
        named = Policy(resolve=lambda _: _found(host.strip("[]")), inner_hosts=["shop.example"])
        named.allow("http://shop.example")
        assert (await ask(named, "http://shop.example/"))[0] == 403

    asyncio.run(check())


async def _found(address: str) -> Sequence[str]:
    return [address]


def test_what_is_served_opens_one_port_only() -> None:
    async def check() -> None:
        async with Server().running() as server, Server().running() as other:
            policy = Policy()
            policy.allow_own(server.url)
            policy.allow(other.url)
            assert (await ask(policy, server.url))[0] == 200
            assert (await ask(policy, other.url))[0] == 403
            assert other.connections == 0

    asyncio.run(check())


def test_a_name_is_resolved_once_and_pinned() -> None:
    """DNS rebinding: the second answer of the name server would lead inside."""

    async def check() -> None:
        async with Server().running() as server:
            asked = []

            async def resolve(host: str) -> Sequence[str]:
                asked.append(host)
                return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

            policy = Policy(resolve=resolve, inner_hosts={"Shop.example"})
            policy.allow(f"http://shop.example:{server.port}")
            for _ in range(3):
                answer = await ask(policy, f"http://shop.example:{server.port}/")
                assert answer == (200, "hello")
            assert asked == ["shop.example"]

    asyncio.run(check())


def test_of_several_addresses_only_public_ones_are_tried() -> None:
    async def check() -> None:
        async with Server().running() as server:
            # A documentation address refuses; nothing is tried on loopback in its place.
            policy = leading_to(shop=["127.0.0.1 ::1 10.1.1.1"])
            policy.allow(f"http://shop.example:{server.port}")
            assert (await ask(policy, f"http://shop.example:{server.port}"))[0] == 403
            assert server.connections == 0

    asyncio.run(check())


def test_localhost_is_asked_of_nobody() -> None:
    async def check() -> None:
        async with Server().running() as server:
            policy = leading_to()
            policy.allow_own(f"http://localhost:{server.port}")
            assert await ask(policy, f"http://localhost:{server.port}/") == (200, "hello")

    asyncio.run(check())


def test_what_cannot_be_reached_is_no_refusal_and_is_tried_again() -> None:
    async def check() -> None:
        async with Server().running() as server:
            tries = []

            async def resolve(host: str) -> Sequence[str]:
                tries.append(host)
                if len(tries) == 1:
                    raise OSError("the name server is away")
                return ["127.0.0.1"]

            policy = Policy(resolve=resolve, inner_hosts={"shop.example"})
            policy.allow(f"http://shop.example:{server.port}")
            url = f"http://shop.example:{server.port}/"
            status, line = await ask(policy, url)
            assert (status, line.count("\n")) == (502, 1)
            assert "the name server is away" in line
            assert await ask(policy, url) == (200, "hello")
            closed = f"http://127.0.0.1:{closed_port()}"
            policy.allow_own(closed)
            assert (await ask(policy, closed))[0] == 502
            assert policy.refused == ()

    asyncio.run(check())


def test_a_tunnel_carries_bytes_both_ways() -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(server.url)
            async with Browser(fence) as browser:
                # What follows at once, in the same packet, belongs to the tunnel.
                browser.writer.write(
                    b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % server.port
                    + b"GET /within HTTP/1.1\r\nHost: y\r\n\r\n"
                )
                async with asyncio.timeout(20):
                    head = await browser.reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 ")
                    assert await browser.reader.readexactly(len(server.answer)) == server.answer
            assert server.requests == [b"GET /within HTTP/1.1\r\nHost: y\r\n\r\n"]

    asyncio.run(check())


def test_a_tunnel_elsewhere_is_refused_and_so_is_what_follows() -> None:
    async def check() -> None:
        async with Server().running() as server, Server().running() as allowed:
            policy = Policy()
            policy.allow_own(allowed.url)
            async with fenced(policy) as fence, Browser(fence) as browser:
                browser.writer.write(
                    b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % server.port
                    + b"GET %s HTTP/1.1\r\nHost: y\r\n\r\n" % allowed.url.encode()
                )
                async with asyncio.timeout(20):
                    said = await browser.reader.read()
            assert said.startswith(b"HTTP/1.1 403 ")
            assert said.count(b"HTTP/1.1") == 1
            assert server.connections == allowed.connections == 0

    asyncio.run(check())


@pytest.mark.parametrize("framing", ["length", "chunks", "end of the connection"])
def test_bodies_pass_in_every_framing(framing: str) -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(server.url)
            server.answer = {
                "length": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
                "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"493e0\r\n%b\r\n0\r\n\r\n" % (b"x" * 300_000),
                "end of the connection": b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 300_000,
            }[framing]
            async with Browser(fence) as browser:
                for length in (0, 200_000):
                    body = b"y" * length
                    headers = [("Content-Length", str(length))]
                    answer = await browser.ask(f"{server.url}/post", "POST", headers, body)
                    assert answer == (200, "x" * 300_000)
            assert server.requests[1].endswith(b"\r\n\r\n" + body)

    asyncio.run(check())


def test_what_is_meant_for_the_proxy_stays_with_it() -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(server.url)
            server.answer = (
                b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: 5\r\nSet-Cookie: a=b\r\n\r\n"
            )
            headers = [
                ("Proxy-Connection", "keep-alive"),
                ("Proxy-Authorization", "Basic c2VjcmV0"),
                ("Connection", "X-Of-This-Hop"),
                ("X-Of-This-Hop", "1"),
                ("Upgrade", "h2c"),
                ("Cookie", "a=b"),
            ]
            async with Browser(fence) as browser:
                assert await browser.ask(server.url, headers=headers) == (200, "")
            sent = server.requests[0].lower()
            assert b"cookie: a=b" in sent
            for word in (b"proxy", b"hop", b"upgrade", b"c2vjcmv0"):
                assert word not in sent
            assert browser.headers[b"set-cookie"] == b"a=b"
            assert b"keep-alive" not in browser.headers

    asyncio.run(check())


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\nab",
        b"CONNECT nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ],
)
def test_what_is_no_request_to_a_proxy_is_answered_with_400_and_the_end(said: bytes) -> None:
    async def check() -> None:
        async with fenced(Policy()) as fence, Browser(fence) as browser:
            browser.writer.write(said)
            async with asyncio.timeout(20):
                assert (await browser.reader.read()).startswith(b"HTTP/1.1 400 ")

    asyncio.run(check())


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n"]
)
def test_a_server_that_speaks_no_http_is_unreachable(answer: bytes) -> None:
    async def check() -> None:
        async with Server().running() as server:
            server.answer = answer
            policy = Policy()
            policy.allow_own(server.url)
            status, line = await ask(policy, server.url)
            assert (status, "does not speak HTTP" in line) == (502, True)

    asyncio.run(check())


def test_the_proxys_own_answers_can_be_told_from_a_servers() -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(server.url)
            for target, expected in (
                (server.url, None),
                (
                    'http://evil.example/"',
                    "http://evil.example/' is refused: the task does not allow it",
                ),
            ):
                async with Browser(fence) as browser:
                    await browser.ask(target)
                headers = {name.decode(): value.decode() for name, value in browser.headers.items()}
                assert said(headers) == expected

    asyncio.run(check())


def test_a_refusal_to_head_has_no_body() -> None:
    async def check() -> None:
        assert await ask(Policy(), "http://a.example/", "HEAD") == (403, "")

    asyncio.run(check())


def test_a_server_that_breaks_off_breaks_the_answer_off() -> None:
    async def check() -> None:
        async with Server().running() as server, fenced(Policy()) as fence:
            fence.policy.allow_own(server.url)
            server.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            async with Browser(fence) as browser:
                asking = asyncio.create_task(browser.ask(server.url))
                while not server.requests:
                    await asyncio.sleep(0.01)
                fence.stop()
                with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
                    await asking

    asyncio.run(check())


def test_refusals_are_kept_once_each_and_not_without_end() -> None:
    async def check() -> None:
        policy = Policy()
        for number in [*range(3), *range(REFUSALS_LIMIT + 20)]:
            with pytest.raises(RefusedError):
                await policy.connect(f"http://evil.example/?{number}")
        targets = [refusal.target for refusal in policy.refused]
        assert targets == [f"http://evil.example/?{n}" for n in range(REFUSALS_LIMIT)]

    asyncio.run(check())


def test_after_stop_nobody_listens_and_nothing_is_open() -> None:
    async def check() -> None:
        async with Server().running() as server:
            fence = await Fence().start()
            fence.policy.allow_own(server.url)
            port = int(fence.settings["server"].rpartition(":")[2])
            async with Browser(fence) as browser:
                assert await browser.ask(server.url) == (200, "hello")
                fence.stop()
                fence.stop()
                async with asyncio.timeout(20):
                    assert await browser.reader.read() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(check())


def test_fences_know_nothing_of_each_other() -> None:
    async def check() -> None:
        async with (
            Server().running() as server,
            fenced(Policy()) as open_fence,
            fenced(Policy()) as closed_fence,
        ):
            open_fence.policy.allow_own(server.url)
            async with Browser(open_fence) as one, Browser(closed_fence) as other:
                assert (await one.ask(server.url))[0] == 200
                assert (await other.ask(server.url))[0] == 403
            # Nor is one the way into another.
            async with Browser(open_fence) as one:
                assert (await one.ask(closed_fence.settings["server"]))[0] == 403

    asyncio.run(check())
