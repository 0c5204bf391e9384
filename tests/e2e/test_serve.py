"""OpenAI's client against a run: the same texts as generate's, whole and as a stream, and every refusal."""

import json
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from t5lite.cli.main import main
from t5lite.runner.generation import generate
from t5lite.serving.app import CompletionsApp
from t5lite.serving.engine import Engine
from t5lite.serving.served import load_served
from t5lite.serving.server import Server, bound_socket, url
from tests.e2e.conftest import start

PROMPTS = ["It is a truth universally", "Emma Woodhouse, handsome"]
LENGTHS = {"encoder_length": 48, "max_decode_length": 24}


@pytest.fixture(scope="module")
def address(pretrained: Path):
    served = load_served(pretrained, name="tiny", **LENGTHS)
    engine = Engine(served.generator, served.params, batch_size=4, max_waiting=16)
    server = Server(CompletionsApp(served, engine, max_choices=16), engine)
    listening = bound_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_on, args=[listening])
    thread.start()
    yield url(listening)
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def greedy(client):
    return client.completions.create(model="tiny", prompt=PROMPTS, max_tokens=24, temperature=0)


def test_greedy_texts_are_those_of_generate(greedy, client, pretrained):
    texts = [choice.text for choice in greedy.choices]
    assert texts == generate(pretrained, PROMPTS, **LENGTHS)
    assert {choice.finish_reason for choice in greedy.choices} <= {"stop", "length"}
    assert greedy.usage.total_tokens == greedy.usage.prompt_tokens + greedy.usage.completion_tokens
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_a_stream_has_the_same_text_in_pieces_also_of_two_clients_at_once(greedy, client):
    def streamed(prompt):
        options = {"include_usage": True}
        pieces = client.completions.create(
            model="tiny", prompt=prompt, max_tokens=24, temperature=0, stream=True, stream_options=options
        )
        *chunks, last = pieces
        assert last.usage is not None
        assert not last.choices
        assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        return [chunk.choices[0].text for chunk in chunks]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(streamed, PROMPTS))
    assert ["".join(pieces) for pieces in found] == [choice.text for choice in greedy.choices]
    assert max(map(len, found)) > 2


def test_a_seed_says_what_is_sampled_and_stop_strings_end_it(client):
    def sampled(**options):
        given = {"model": "tiny", "prompt": PROMPTS[0], "max_tokens": 12, "seed": 5, "top_p": 0.9, **options}
        return [choice.text for choice in client.completions.create(**given).choices]

    both = sampled(n=2)
    assert both == sampled(n=2)
    assert both[0] != both[1]
    assert sampled() == both[:1]
    stop = both[0][3:5]
    assert sampled(stop=stop) == [both[0].partition(stop)[0]]


def test_log_probabilities_and_echo(client):
    given = {"model": "tiny", "prompt": PROMPTS[0], "max_tokens": 4, "temperature": 0, "logprobs": 2}
    (choice,) = client.completions.create(**given, echo=True).choices
    told = choice.logprobs
    assert choice.text.startswith(PROMPTS[0])
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    assert told.token_logprobs == [max(top.values()) for top in told.top_logprobs]
    assert all(log_prob <= 0 for log_prob in told.token_logprobs)
    assert told.text_offset[0] == len(PROMPTS[0])
    (only,) = client.completions.create(model="tiny", prompt="x", max_tokens=0, echo=True).choices
    assert (only.text, only.finish_reason) == ("x", "length")


def post(address, body: bytes, path="/completions") -> tuple[int, dict]:
    request = urllib.request.Request(address + path, data=body, headers={"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    with refused.value as answer:
        return answer.code, json.loads(answer.read())["error"]


def completion(**fields) -> bytes:
    return json.dumps({"model": "tiny", "prompt": "a", **fields}).encode()


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b'{"model": "tiny", ', 400, None, "is not JSON"),
        (completion(n=1000), 400, None, "ask for 1,000 answers; allowed: 16"),
        (completion(nn=1), 400, None, "unknown field 'nn'"),
        (completion(model="gpt"), 404, "model_not_found", "'gpt' does not exist; this server has 'tiny'"),
        (completion(prompt="so " * 1_000_000), 400, "context_length_exceeded", "reads 48 at most"),
        (completion(prompt="x" * (9 << 20)), 413, None, "more than 8 MiB"),
        (completion(max_tokens=25), 400, "context_length_exceeded", "there is room for 24"),
        (completion(prompt=[10**6]), 400, None, "has the id 1000000"),
        (completion(prompt=[-1]), 400, None, "has the id -1"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_openai_does(body, status, code, message, address):
    found, error = post(address, body)
    assert (found, error["code"]) == (status, code)
    assert message in error["message"]


def test_what_is_not_there_is_refused_as_openai_does(address, client):
    assert "no chat" in post(address, b"{}", "/chat/completions")[1]["message"]
    assert post(address, b"{}", "/embeddings")[0] == 404
    assert post(address, b"{}", "/models")[0] == 405
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        client.models.retrieve("other")


def test_a_client_that_hangs_up_holds_nobody_up(address, client):
    host, port = re.findall(r"//([\d.]+):(\d+)", address)[0]
    for stream in (True, False):
        body = completion(max_tokens=24, n=16, stream=stream)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            if stream:
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
    # All that may wait may wait again.
    assert len(client.completions.create(model="tiny", prompt="a", max_tokens=2, n=8).choices) == 8


def test_a_port_in_use_is_said_before_anything_is_read(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--run", "nothere", "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1 is in use; give another by --port" in capsys.readouterr().err
    assert main(["serve", "--run", "nothere", "--port", "70000"]) == 2
    assert main(["serve", "--run", "nothere", "--host", "no.such.host.invalid"]) == 2
    assert main(["serve", "--run", "nothere", "--port", "0"]) == 2
    assert "nothere is not a run directory" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_it(pretrained: Path):
    process = start(["serve", "--run", str(pretrained), "--port", "0"])
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if found := re.search(r" run, step 40, at (http\S+) ", line):
                break
        with urllib.request.urlopen(f"{found[1]}/models", timeout=60) as answer:
            assert json.loads(answer.read())["data"][0]["id"] == "run"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "t5lite serve: interrupted\n"
