"""OpenAI's completions API: what a request may say, and what is answered, as JSON.

After https://platform.openai.com/docs/api-reference/completions. A field that would be ignored is refused
unless it says what happens anyway: an answer is never other than it was asked for without a word.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from t5lite.core.errors import ConfigError
from t5lite.core.json_text import parse_json
from t5lite.core.strict_json import StrictJson

MAX_STOPS = 4
MAX_LOGPROBS = 5
_SEEDS = range(-(2**63), 2**63)
_READER = StrictJson()
_NEUTRAL: Mapping[str, Any] = {
    "best_of": None,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "presence_penalty": 0.0,
    "suffix": None,
}
"""Fields of OpenAI's that are taken with this value, or null, alone."""


class RequestError(Exception):
    """A request that is answered by an error, as OpenAI's clients know it.

    Args:
      message: what is wrong, what is allowed, what to do.
      status: of HTTP.
      kind: OpenAI's ``type``.
      param: the field that is wrong.
      code: OpenAI's ``code``, which programs look at.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ):
        super().__init__(message)
        self.status, self.kind, self.param, self.code = status, kind, param, code

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """OpenAI's ``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """A request's fields but for ``prompt`` and ``stop``, which have several forms; null is the default."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: int | None = None
    echo: bool | None = None
    seed: int | None = None
    user: str | None = None
    best_of: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    suffix: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """What is asked for; every field within its range."""

    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    """Texts, or ids of tokens."""
    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1
    """Answers to each prompt."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    """Of how many of the most probable tokens, beside the one written; None: of none."""
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with what it cost."""


def parse_completion(body: bytes, *, max_choices: int) -> CompletionRequest:
    """Return what a request's body asks for.

    Args:
      body: JSON.
      max_choices: most answers, of all prompts together.

    Raises:
      RequestError: for what is not JSON, an unknown field, a value that is not allowed, or one of another
        type.
    """
    content = _object(body)
    prompts = _prompts(content.pop("prompt", None))
    stops = _stops(content.pop("stop", None))
    try:
        fields = _READER.structure(content, _Fields, name="request")
    except ConfigError as error:
        raise RequestError(str(error)) from error
    if fields.best_of is not None and fields.best_of == (fields.n or 1):
        fields = dataclasses.replace(fields, best_of=None)
    for name, neutral in _NEUTRAL.items():
        if getattr(fields, name) not in (None, neutral):
            raise RequestError(f"{name}={getattr(fields, name)!r} is not supported; leave it out", param=name)
    options = fields.stream_options
    if options is not None and not fields.stream:
        raise RequestError("stream_options are for stream=true alone", param="stream_options")
    given = {
        field.name: getattr(fields, field.name)
        for field in dataclasses.fields(CompletionRequest)
        if getattr(fields, field.name, None) is not None
    }
    include_usage = bool(options and options.include_usage)
    request = CompletionRequest(**given, prompts=prompts, stop=stops, include_usage=include_usage)
    _check(request, max_choices)
    return request


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = parse_json(body.decode())
    except ValueError as error:  # UTF-8's and JSON's are of this kind
        raise RequestError(f"the request's body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError("the request's body is not a JSON object")
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # no answer could say it, and no vocabulary encodes it
        half = ascii(error.object[error.start])
        raise RequestError(f"the request's body has {half}, half of a character; send whole ones") from error
    return content


def _prompts(given: Any) -> tuple[str | tuple[int, ...], ...]:
    if given is None:
        raise RequestError("prompt is missing; give a text", param="prompt")
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list) and given:
        if all(isinstance(each, str) for each in given):
            return tuple(given)
        if _is_ids(given):
            return (tuple(given),)
        if all(isinstance(each, list) and each and _is_ids(each) for each in given):
            return tuple(map(tuple, given))
    raise RequestError(
        "prompt is neither a text, a list of texts, a list of token ids, nor a list of such lists",
        param="prompt",
    )


def _is_ids(given: list[Any]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in given)


def _stops(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    stops = [given] if isinstance(given, str) else given
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise RequestError("stop is neither a text nor a list of texts", param="stop")
    if len(stops) > MAX_STOPS:
        raise RequestError(f"stop has {len(stops)} texts; allowed: {MAX_STOPS}", param="stop")
    if "" in stops:
        raise RequestError("stop has an empty text, which would end every answer; leave it out", param="stop")
    return tuple(stops)


def _check(request: CompletionRequest, max_choices: int) -> None:
    ranges = {
        "max_tokens": (request.max_tokens >= 0, "0 or more"),
        "temperature": (0 <= request.temperature <= 2, "from 0 to 2"),
        "top_p": (0 < request.top_p <= 1, "above 0 and at most 1"),
        "n": (request.n >= 1, "1 or more"),
        "logprobs": (
            request.logprobs is None or 0 <= request.logprobs <= MAX_LOGPROBS,
            f"0 to {MAX_LOGPROBS}",
        ),
        "seed": (request.seed is None or request.seed in _SEEDS, "a number of 64 bits"),
    }
    for name, (holds, allowed) in ranges.items():
        if not holds:
            raise RequestError(f"{name}={getattr(request, name)} must be {allowed}", param=name)
    if request.max_tokens == 0 and not request.echo:
        raise RequestError("max_tokens=0 writes nothing; ask for echo, or for more", param="max_tokens")
    choices = request.n * len(request.prompts)
    if choices > max_choices:
        raise RequestError(
            f"{len(request.prompts):,} prompts with n={request.n:,} ask for {choices:,} answers; allowed: "
            f"{max_choices:,} at once",
            param="n" if request.n > 1 else "prompt",
        )


class TokenLogprobs(NamedTuple):
    """Of the tokens of an answer, in order."""

    tokens: Sequence[str]
    log_probs: Sequence[float | None]
    """None of a first token that nothing stands before."""
    tops: Sequence[Mapping[str, float] | None]
    """The most probable ones, and the one written, where some were asked for."""
    offsets: Sequence[int]
    """In characters, from the beginning of the answer."""

    def body(self) -> dict[str, Any]:
        """Return the JSON of ``logprobs``."""
        return {
            "tokens": list(self.tokens),
            "token_logprobs": list(self.log_probs),
            "top_logprobs": list(self.tops),
            "text_offset": list(self.offsets),
        }


class Usage(NamedTuple):
    """Tokens that a request cost."""

    prompt_tokens: int
    completion_tokens: int

    def body(self) -> dict[str, int]:
        """Return its JSON."""
        return {**self._asdict(), "total_tokens": sum(self)}


def choice_body(
    index: int, text: str, finish_reason: str | None, logprobs: TokenLogprobs | None
) -> dict[str, Any]:
    """Return the JSON of an answer, or of a piece of one."""
    told = None if logprobs is None else logprobs.body()
    return {"index": index, "text": text, "logprobs": told, "finish_reason": finish_reason}


@dataclass(frozen=True)
class Envelope:
    """What surrounds the answers to one request, or its pieces."""

    identity: str
    created: int
    """Seconds of the Unix clock."""
    model: str

    def body(self, choices: Iterable[dict[str, Any]], usage: Usage | None = None) -> dict[str, Any]:
        """Return the JSON of answers, or of one piece of a stream."""
        content = {
            "id": self.identity,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }
        return content if usage is None else {**content, "usage": usage.body()}


def models_body(model: str, created: int) -> dict[str, Any]:
    """Return the JSON of the list of models, which has one."""
    return {"object": "list", "data": [model_body(model, created)]}


def model_body(model: str, created: int) -> dict[str, Any]:
    """Return the JSON of a model."""
    return {"id": model, "object": "model", "created": created, "owned_by": "t5lite"}
