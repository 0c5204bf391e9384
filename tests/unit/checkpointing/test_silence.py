"""What is silenced after a failed read, and what is not."""

import asyncio
import gc
import logging

import pytest

from t5lite.checkpointing.reading import silence_orbax


class Failing:
    """Awaited bare, as TensorStore's futures are: the task's coroutine is asyncio's own."""

    def __init__(self, message: str):
        self.message = message

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        raise ValueError(self.message)


@pytest.mark.parametrize(("message", "logged"), [("[tensorstore_spec='{}']", 0), ("somebody else's", 1)])
def test_a_failed_read_that_nobody_awaits_is_not_logged(message, logged, caplog):
    async def drop():
        task = asyncio.ensure_future(Failing(message))
        await asyncio.sleep(0.05)
        del task
        gc.collect()

    end_silence = silence_orbax()
    try:
        with caplog.at_level(logging.ERROR, logger="asyncio"):
            asyncio.run(drop())
    finally:
        end_silence()
    assert sum("never retrieved" in record.getMessage() for record in caplog.records) == logged
