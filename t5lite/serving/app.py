"""The web application: OpenAI's routes over an engine, answers whole or as a stream of events."""

import asyncio
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from t5lite.decoding import Row
from t5lite.evaluation.stepwise_generation import Piece, Wanted
from t5lite.serving.answers import Answer, Delta
from t5lite.serving.engine import Engine, Job, OverloadedError, StoppedError
from t5lite.serving.protocol import (
    CompletionRequest,
    Envelope,
    RequestError,
    TokenLogprobs,
    Usage,
    choice_body,
    model_body,
    models_body,
    parse_completion,
)
from t5lite.serving.served import ServedModel

MAX_BODY_BYTES = 8 << 20
"""Of a request."""
_SERVER_ERROR = "server_error"


class CompletionsApp:
    """Answers OpenAI's requests for completions of one model.

    Args:
      served: the model.
      engine: what writes; not started here.
      max_choices: most answers to one request.
    """

    def __init__(self, served: ServedModel, engine: Engine, *, max_choices: int):
        self._served, self._engine, self._max_choices = served, engine, max_choices
        self._created = int(time.time())
        self.application = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/v1/completions", self._completions, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ],
            exception_handlers={
                RequestError: _refused,
                HTTPException: _refused_by_route,
                ClientDisconnect: _gone,
                Exception: _failed,
            },
        )

    async def _models(self, request: Request) -> Response:
        del request
        return JSONResponse(models_body(self._served.name, self._created))

    async def _model(self, request: Request) -> Response:
        self._check_name(request.path_params["name"])
        return JSONResponse(model_body(self._served.name, self._created))

    async def _chat(self, request: Request) -> Response:
        del request
        raise RequestError(
            "this server has no chat, for what a dialogue looks like is not known of its model; ask "
            "/v1/completions with the whole text as prompt",
            status=404,
            code="unsupported_endpoint",
        )

    async def _completions(self, request: Request) -> Response:
        asked = parse_completion(await _body(request), max_choices=self._max_choices)
        self._check_name(asked.model)
        # A long text keeps the tokenizer busy: others are answered meanwhile.
        rows = await run_in_threadpool(self._rows, asked)
        completion = _Completion(self._served, asked, rows)
        if asked.max_tokens:
            completion.submit(self._engine)
        if asked.stream:
            return _Stream(completion)
        return JSONResponse(await _unless_gone(request, completion.whole()))

    def _check_name(self, name: str) -> None:
        if name != self._served.name:
            raise RequestError(
                f"the model {name!r} does not exist; this server has {self._served.name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _rows(self, asked: CompletionRequest) -> list[Row]:
        rows = [self._served.prompts.row(prompt) for prompt in asked.prompts]
        for row in rows:
            self._served.prompts.check_room(row, asked.max_tokens)
        return rows


class _Completion:
    """One request that was accepted.

    Args:
      served: the model.
      asked: the request.
      rows: what the model reads of each of its prompts.
    """

    def __init__(self, served: ServedModel, asked: CompletionRequest, rows: list[Row]):
        self._asked, self._rows = asked, rows
        self._envelope = Envelope(f"cmpl-{uuid.uuid4().hex}", int(time.time()), served.name)
        echoes = [_text_of(prompt, served) if asked.echo else "" for prompt in asked.prompts]
        self._echoes = [echo for echo in echoes for _ in range(asked.n)]
        self._answers = [
            Answer(served.vocabulary, num_logprobs=asked.logprobs, prefix=echo) for echo in self._echoes
        ]
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._job: Job | None = None

    def submit(self, engine: Engine) -> None:
        """Have it written.

        Raises:
          RequestError: if too much waits, or the server is shutting down.
        """
        loop = asyncio.get_running_loop()

        def deliver(piece: Piece | Exception) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

        asked = self._asked
        seed = secrets.randbits(32) if asked.seed is None else asked.seed
        rows = [row for row in self._rows for _ in range(asked.n)]
        wanted = [
            Wanted(
                row=row,
                max_tokens=asked.max_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                seed=seed + number,
                stops=asked.stop,
                num_top=asked.logprobs or 0,
            )
            for number, row in enumerate(rows)
        ]
        try:
            self._job = engine.submit(wanted, deliver)
        except OverloadedError as error:
            raise RequestError(str(error), status=429, kind=_SERVER_ERROR, code="overloaded") from error
        except StoppedError as error:
            raise _stopped(error) from error

    async def whole(self) -> dict[str, Any]:
        """Return the JSON of all answers.

        Raises:
          RequestError: if the engine fails, or is stopped.
        """
        deltas: list[list[Delta]] = [[] for _ in self._answers]
        async for number, delta in self._deltas():
            deltas[number].append(delta)
        choices = []
        for number, found in enumerate(deltas):
            text = self._echoes[number] + "".join(delta.text for delta in found)
            finish = found[-1].finish if found else "length"
            choices.append(choice_body(number, text, finish, _joined(found)))
        return self._envelope.body(choices, self._usage())

    async def events(self) -> AsyncIterator[str]:
        """Yield the answers as server-sent events, piece by piece."""
        try:
            for number, echo in enumerate(self._echoes):
                finish = None if self._job else "length"
                if echo or finish:
                    yield _event(self._envelope.body([choice_body(number, echo, finish, None)]))
            async for number, delta in self._deltas():
                if delta.is_news:
                    choice = choice_body(number, delta.text, delta.finish, delta.logprobs)
                    yield _event(self._envelope.body([choice]))
        except RequestError as error:  # the answer has begun, so its status is told
            yield _event(error.body())
            return
        if self._asked.include_usage:
            yield _event(self._envelope.body([], self._usage()))
        yield "data: [DONE]\n\n"

    async def _deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Yield what comes, until all texts have ended; nobody listening ends them too."""
        if self._job is None:
            return
        unended = len(self._answers)
        try:
            while unended:
                piece = await self._pieces.get()
                if isinstance(piece, StoppedError):
                    raise _stopped(piece)
                if isinstance(piece, Exception):
                    raise RequestError(
                        f"the model failed: {piece}", status=500, kind=_SERVER_ERROR
                    ) from piece
                unended -= piece.finish is not None
                yield piece.number, self._answers[piece.number].add(piece)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Have no more of it written: nobody waits."""
        if self._job is not None:
            self._job.cancel()

    def _usage(self) -> Usage:
        read = sum(len(row.ids) for row in self._rows)
        return Usage(read, sum(answer.num_tokens for answer in self._answers))


class _Stream(StreamingResponse):
    """The events of a completion; who hangs up, even before the first, ends it."""

    def __init__(self, completion: _Completion):
        super().__init__(completion.events(), media_type="text/event-stream")
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._completion.cancel()


async def _body(request: Request) -> bytes:
    """Return the body of a request; one that is too long is read, so that the answer is, but not kept."""
    content, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            content += chunk
    if size > MAX_BODY_BYTES:
        limit = f"{MAX_BODY_BYTES >> 20} MiB"
        raise RequestError(f"the request's body has more than {limit}", status=413, param="prompt")
    return bytes(content)


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """Return what ``work`` does, unless the client hangs up before.

    Raises:
      ClientDisconnect: if it does.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


def _text_of(prompt: str | tuple[int, ...], served: ServedModel) -> str:
    return prompt if isinstance(prompt, str) else served.vocabulary.decode(prompt)


def _joined(deltas: list[Delta]) -> TokenLogprobs | None:
    parts = [delta.logprobs for delta in deltas if delta.logprobs is not None]
    if not parts:
        return None
    return TokenLogprobs(
        [token for part in parts for token in part.tokens],
        [log_prob for part in parts for log_prob in part.log_probs],
        [top for part in parts for top in part.tops],
        [offset for part in parts for offset in part.offsets],
    )


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _stopped(error: StoppedError) -> RequestError:
    return RequestError(str(error), status=503, kind=_SERVER_ERROR, code="shutting_down")


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestError)
    return JSONResponse(error.body(), status_code=error.status)


async def _refused_by_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = (
        f"{request.method} {request.url.path}: {error.detail}; this server has /v1/completions and /v1/models"
    )
    return JSONResponse(RequestError(message).body(), status_code=error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=499)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    del request
    refused = RequestError(f"internal error: {type(error).__name__}", status=500, kind=_SERVER_ERROR)
    return JSONResponse(refused.body(), status_code=500)
