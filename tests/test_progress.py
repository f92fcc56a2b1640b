"""What long work says of itself, without a terminal and on one."""

import io
import logging
import sys

import pytest

from pipeline.common import progress
from pipeline.common.progress import Progress, duration

log = logging.getLogger("work")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only element."""
    time = [0.0]
    monkeypatch.setattr(progress, "now", lambda: time[0])
    return time


def test_a_line_every_half_minute(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(1000, "image", "items", log) as work:
        for _ in range(1000):
            clock[0] += 0.2
            work.update()
    times = [int(message.split()[1].replace(",", "")) * 0.2 for message in caplog.messages]
    assert times == pytest.approx([3.0, 33.0, 63.0, 93.0, 123.0, 153.0, 183.0], abs=1.3)
    assert caplog.messages[1] == "image: 166 of 1,000 items, about 3 min left"


def test_short_work_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(10, "image", "items", log) as work:
        for _ in range(10):
            clock[0] += 0.25
            work.update()
    assert not caplog.messages


def test_work_that_goes_on(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(200, "none K=1", "epochs", log, done=100, most=True) as work:
        clock[0] += 40
        work.update(loss=0.123456, ndcg=0.5)
    assert caplog.messages == [
        "none K=1: 101 of 200 epochs, loss 0.1235, ndcg 0.5, about 66 min left at most"
    ]


def test_a_terminal_has_a_bar(
    clock: list[float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Progress(3, "image", "items", log) as work:
        clock[0] += 100
        work.update(3)
    assert not caplog.messages and "image" in terminal.getvalue()


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 59.6, 150, 7000, 8000, 200_000)] == [
        "1 s", "60 s", "2 min", "117 min", "2 h", "2 days",
    ]  # fmt: skip
