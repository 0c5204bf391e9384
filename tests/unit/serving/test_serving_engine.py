"""Who waits for whom, and what everybody is told, whatever writes."""

import queue
import threading
from types import SimpleNamespace

import pytest

from t5lite.serving.engine import Engine, OverloadedError, StoppedError


class Letters:
    """Writes a letter a step of each wanted string, when it is let go on."""

    def __init__(self):
        self.batches: list[list[str]] = []
        self.steps = threading.Semaphore(0)
        self.ended: list[int] = []

    def fit_together(self, wanted):
        return len({each.isupper() for each in wanted}) == 1

    def write(self, params, wanted):
        del params
        self.batches.append(list(wanted))
        if "!" in wanted:
            raise RuntimeError("out of memory")
        return Spelling(self, wanted)


class Spelling:
    def __init__(self, letters, wanted):
        self._letters, self._left = letters, dict(enumerate(map(list, wanted)))

    @property
    def unfinished(self):
        return bool(self._left)

    def end(self, number):
        self._letters.ended.append(number)
        self._left.pop(number, None)

    def step(self):
        assert self._letters.steps.acquire(timeout=30)
        for number, left in list(self._left.items()):
            letter = left.pop(0)
            if not left:
                del self._left[number]
            yield Spelled(number, letter, None if left else "stop")


class Spelled(SimpleNamespace):
    def __init__(self, number, text, finish):
        super().__init__(number=number, text=text, finish=finish)

    def _replace(self, number):
        return Spelled(number, self.text, self.finish)


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def engine(letters):
    made = Engine(letters, None, batch_size=2, max_waiting=4)
    yield made
    made.stop()
    letters.steps.release(100)
    if made._thread.is_alive():
        made.join()


def ask(engine, *wanted):
    told: queue.Queue = queue.Queue()
    return engine.submit(wanted, told.put), told


def text(told, number=0):
    found = ""
    while True:
        piece = told.get(timeout=30)
        if isinstance(piece, Exception):
            return piece
        if piece.number == number:
            found += piece.text
            if piece.finish:
                return found


def test_what_waits_is_written_together_in_order(engine, letters):
    asked = [ask(engine, "ab", "c"), ask(engine, "X"), ask(engine, "d")]
    letters.steps.release(100)
    engine.start()
    assert [text(told) for _, told in asked] == ["ab", "X", "d"]
    assert letters.batches == [["ab", "c"], ["X"], ["d"]]


def test_too_much_that_waits_is_refused_and_what_is_cancelled_makes_room(engine):
    job, _ = ask(engine, "a", "b", "c")
    with pytest.raises(OverloadedError, match="3 texts are waiting, and 2 more do not fit in the 4"):
        ask(engine, "d", "e")
    job.cancel()
    ask(engine, "d", "e")


def test_nobody_waits_for_a_text_that_was_cancelled(engine, letters):
    (long, _), (_, short) = ask(engine, "a" * 1000), ask(engine, "bcd")
    engine.start()
    letters.steps.release(1)
    assert short.get(timeout=30).text == "b"
    long.cancel()
    _, after = ask(engine, "e")
    letters.steps.release(10)
    assert text(short) == "cd"
    assert text(after) == "e"
    assert set(letters.ended) == {0}


def test_a_batch_that_fails_is_told_and_the_next_is_written(engine, letters, caplog):
    (_, failed), (_, fine) = ask(engine, "!", "!"), ask(engine, "a")
    letters.steps.release(100)
    engine.start()
    assert str(text(failed)) == "out of memory"
    assert failed.empty()
    assert text(fine) == "a"
    assert "a batch of 2 texts failed" in caplog.text


def test_who_waits_when_it_stops_is_told(engine, letters):
    (_, writing), (_, waiting) = ask(engine, "abcdef", "ghijkl"), ask(engine, "m")
    engine.start()
    letters.steps.release(1)
    assert writing.get(timeout=30).text == "a"
    engine.stop()
    letters.steps.release(100)
    assert isinstance(text(writing), StoppedError)
    assert isinstance(text(waiting), StoppedError)
    with pytest.raises(StoppedError):
        ask(engine, "n")
