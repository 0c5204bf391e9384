"""What a request may say, and what it is told when it may not."""

import json

import pytest

from t5lite.serving.protocol import RequestError, parse_completion


def parse(**fields):
    return parse_completion(json.dumps({"model": "m", "prompt": "a", **fields}).encode(), max_choices=8)


def test_fields_left_out_or_null_are_as_openai_has_them():
    asked = parse(max_tokens=None, temperature=None, stop=None, n=None, user="someone")
    assert asked == parse()
    assert (asked.max_tokens, asked.temperature, asked.top_p, asked.n) == (16, 1.0, 1.0, 1)
    assert not asked.stream
    assert asked.logprobs is None


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("", ("",)),
        (["a", "b"], ("a", "b")),
        ([5, 6], ((5, 6),)),
        ([[5], [6, 7]], ((5,), (6, 7))),
    ],
)
def test_prompts_are_texts_or_tokens(prompt, prompts):
    assert parse(prompt=prompt).prompts == prompts


def test_options_that_change_nothing_are_taken():
    neutral = {"best_of": 2, "n": 2, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}}
    assert parse(**neutral, suffix=None).n == 2
    assert parse(stream=True, stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": None}, "prompt", "is missing"),
        ({"prompt": []}, "prompt", "neither a text"),
        ({"prompt": ["a", 1]}, "prompt", "neither a text"),
        ({"prompt": [True]}, "prompt", "neither a text"),
        ({"n": 1000}, "n", r"1 prompts with n=1,000 ask for 1,000 answers; allowed: 8"),
        ({"prompt": ["a"] * 9}, "prompt", "9 prompts with n=1 ask for 9 answers"),
        ({"n": 0}, "n", "n=0 must be 1 or more"),
        ({"max_tokens": -1}, "max_tokens", "must be 0 or more"),
        ({"max_tokens": 0}, "max_tokens", "writes nothing"),
        ({"temperature": 2.5}, "temperature", "from 0 to 2"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"logprobs": 6}, "logprobs", "0 to 5"),
        ({"seed": 1 << 64}, "seed", "64 bits"),
        ({"stop": [""]}, "stop", "empty text"),
        ({"stop": ["a"] * 5}, "stop", "allowed: 4"),
        ({"stop": 3}, "stop", "neither a text nor"),
        ({"best_of": 3}, "best_of", "not supported"),
        ({"suffix": "x"}, "suffix", "not supported"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"stream_options": {}}, "stream_options", "stream=true alone"),
        ({"top_pp": 0}, None, "unknown field 'top_pp'; did you mean 'top_p'"),
        ({"max_tokens": 2.5}, None, "max_tokens"),
        ({"stream": "yes"}, None, "stream"),
        ({"model": None}, None, "model"),
    ],
)
def test_what_is_wrong_is_said(fields, param, message):
    with pytest.raises(RequestError, match=message) as refused:
        parse(**fields)
    assert refused.value.status == 400
    assert refused.value.body()["error"] == {
        "message": str(refused.value),
        "type": "invalid_request_error",
        "param": param,
        "code": None,
    }


@pytest.mark.parametrize(
    "where", [{"prompt": ["a", "\ud800"]}, {"model": "\ud800"}, {"stop": "x\ud800"}, {"\ud800": 1}]
)
def test_half_a_character_is_refused_wherever_it_is(where):
    body = json.dumps({"model": "m", "prompt": "a", **where}).encode()
    assert b"\\ud800" in body
    with pytest.raises(RequestError, match=r"has '\\ud800', half of a character; send whole ones"):
        parse_completion(body, max_choices=8)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"a"', b"\xff", b'{"model": "m", "prompt": "a", "temperature": NaN}', b"[" * 100_000],
)
def test_a_body_that_is_no_request_is_refused(body):
    with pytest.raises(RequestError):
        parse_completion(body, max_choices=8)
