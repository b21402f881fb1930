"""The HTTP side of the stand-in: chat completions and the list of models, on loopback only."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from shared.evaluation.stand_in import MODEL
from shared.evaluation.stand_in.answering import Said, decide
from shared.evaluation.stand_in.counting import PICTURE_TOKENS, PrefixCache, count_tokens

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 8 * 1024 * 1024
_CREATED = 1_735_689_600


class _Text(BaseModel):
    type: Literal["text"]
    text: str


class _Address(BaseModel):
    url: str = Field(pattern=r"^(data:image/|https?://)")


class _Picture(BaseModel):
    """Counted and not looked at."""

    type: Literal["image_url"]
    image_url: _Address


class _Called(BaseModel):
    name: str
    arguments: str = ""


class _ToolCall(BaseModel):
    id: str
    function: _Called


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Annotated[_Text | _Picture, Field(discriminator="type")]] | None = None
    tool_calls: list[_ToolCall] = []

    @property
    def text(self) -> str:
        parts = [self.content] if isinstance(self.content, str) else []
        if isinstance(self.content, list):
            parts = [part.text for part in self.content if isinstance(part, _Text)]
        parts += [f"{call.function.name} {call.function.arguments}" for call in self.tool_calls]
        return "\n".join(parts)

    @property
    def pictures(self) -> int:
        parts = self.content if isinstance(self.content, list) else []
        return sum(isinstance(part, _Picture) for part in parts)


class _Function(BaseModel):
    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = {}


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _Request(BaseModel):
    """The part of a chat completion request that the stand-in heeds; the rest is ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: Literal[False, None] = None
    n: Literal[1, None] = None
    tools: list[_Tool] = []


class _RefusedError(Exception):
    """A request that is answered with an error in OpenAI's form."""

    def __init__(self, status: HTTPStatus, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class StandIn:
    """A running stand-in server. `base_url` is what an OpenAI client takes."""

    def __init__(self, port: int = 0, latency_ms: int = 0) -> None:
        """Bind to `port` on loopback (0: any free one). Raises OSError when it is taken."""
        self._server = ThreadingHTTPServer(
            (LOOPBACK, port), partial(_Handler, latency_ms / 1000, PrefixCache())
        )
        self._server.daemon_threads = True
        self.base_url = f"http://{LOOPBACK}:{self._server.server_address[1]}/v1"

    def serve(self) -> None:
        """Answer until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def start(self) -> None:
        """Answer in a daemon thread."""
        Thread(target=self.serve, name="stand-in", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_running: tuple[int, StandIn] | None = None
_starting = Lock()


def running_stand_in() -> StandIn:
    """The stand-in of this process, started on first use; a forked child gets its own."""
    global _running
    with _starting:
        if _running is None or _running[0] != os.getpid():
            stand_in = StandIn()
            stand_in.start()
            _running = (os.getpid(), stand_in)
        return _running[1]


def complete(body: bytes, cache: PrefixCache) -> dict[str, object]:
    """The chat completion for a request body. Raises _RefusedError for a bad one."""
    request = _read(body)
    tools = [tool.function for tool in request.tools]
    prompt = "\n".join(
        [
            *(tool.model_dump_json() for tool in tools),
            *(f"{message.role}: {message.text}" for message in request.messages),
        ]
    )
    asked = [message.text for message in request.messages if message.role == "user"]
    turns = sum(message.role in ("user", "tool") for message in request.messages)
    said = decide(asked[0] if asked else "", turns)
    message, written = _message(said, {tool.name for tool in tools})
    pictures = PICTURE_TOKENS * sum(message.pictures for message in request.messages)
    prompt_tokens, completion_tokens = count_tokens(prompt) + pictures, count_tokens(written)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cache.cached_tokens(prompt)},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _message(said: Said, offered: set[str]) -> tuple[dict[str, object], str]:
    """The answer, as a call where the action's function is offered; and what it was written as."""
    if said.action is None or said.action.kind not in offered:
        return {"role": "assistant", "content": said.text, "refusal": None}, said.text
    function = {"name": said.action.kind, "arguments": said.arguments}
    call = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
    message: dict[str, object] = {"role": "assistant", "content": None, "refusal": None}
    message["tool_calls"] = [call]
    return message, f"{said.action.kind} {said.arguments}"


def _read(body: bytes) -> _Request:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request body is not JSON") from None
    try:
        request = _Request.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the request"
        message = f"{where}: {first['msg']}"
        raise _RefusedError(HTTPStatus.BAD_REQUEST, message) from None
    if request.model != MODEL:
        raise _RefusedError(
            HTTPStatus.NOT_FOUND,
            f"The model `{request.model[:200]}` does not exist: there is `{MODEL}`",
            "model_not_found",
        )
    return request


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "stand-in"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 300
    "Seconds after which an idle connection is closed."

    def __init__(
        self, latency_seconds: float, cache: PrefixCache, *args: object, **kwargs: object
    ) -> None:
        self._latency_seconds = latency_seconds
        self._cache = cache
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._refuse(self._no_such_path())
        model = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": MODEL}
        self._send(HTTPStatus.OK, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        try:
            body = self._body()
            if self.path != "/v1/chat/completions":
                raise self._no_such_path()
            completion = complete(body, self._cache)
        except _RefusedError as refused:
            return self._refuse(refused)
        time.sleep(self._latency_seconds)
        self._send(HTTPStatus.OK, completion)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            message = f"the request body is longer than {MAX_BODY_BYTES} bytes"
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        return self.rfile.read(int(length))

    def _no_such_path(self) -> _RefusedError:
        return _RefusedError(
            HTTPStatus.NOT_FOUND,
            "there is nothing here: POST /v1/chat/completions and GET /v1/models are",
        )

    def _refuse(self, refused: _RefusedError) -> None:
        error = {
            "message": str(refused),
            "type": "invalid_request_error",
            "param": None,
            "code": refused.code,
        }
        self._send(refused.status, {"error": error})

    def _send(self, status: HTTPStatus, document: dict[str, object]) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        log.debug("stand-in: " + format, *args)
