"""Following many pods at once, with a bounded number of requests under way."""

from __future__ import annotations

import heapq
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from queue import SimpleQueue

from sidecar.errors import Interrupted

from .api import Api
from .mounting import Member
from .pursuit import Pursuit
from .stage import Stage, Verdict
from .verdict import Answer

WORKERS = 8
"""How many requests are under way at most."""

Show = Callable[[Pursuit], None]
"""Where every step is shown; one call at a time."""


def follow(
    api: Api,
    members: Sequence[Member],
    timeout: float,
    show: Show,
    ended: threading.Event,
) -> list[Pursuit]:
    """Make the kubelets sync, and look until all is settled; `timeout` in seconds.

    `ended` is set when this is broken off.
    """
    began = time.monotonic()
    pursuits = [Pursuit.start(member, began) for member in members]
    return _Round(api, pursuits, began + timeout, show, ended).run()


def touch(
    api: Api, members: Sequence[Member], show: Show, ended: threading.Event
) -> list[Pursuit]:
    """Make the kubelets sync, and look no further."""

    def touched(pursuit: Pursuit) -> Pursuit:
        if not pursuit.member.brought:
            return pursuit.over(Stage.IMMUTABLE, "", time.monotonic())
        ended = api.touch(pursuit.member) or Verdict(Stage.ANNOTATED)
        return pursuit.over(ended.stage, ended.detail, time.monotonic())

    return _each(touched, members, show, ended)


def look(
    api: Api, members: Sequence[Member], show: Show, ended: threading.Event
) -> list[Pursuit]:
    """Look once; how long that took says nothing of the pods."""

    def looked(pursuit: Pursuit) -> Pursuit:
        return replace(_looked(api, pursuit, 0), ended=None)

    return _each(looked, members, show, ended)


def _each(
    work: Callable[[Pursuit], Pursuit],
    members: Sequence[Member],
    show: Show,
    ended: threading.Event,
) -> list[Pursuit]:
    """Do one thing for each pod, and show them in their order."""
    began = time.monotonic()
    pursuits = [Pursuit.start(member, began) for member in members]
    done = []

    def unless_ended(pursuit: Pursuit) -> Pursuit:
        try:
            return pursuit if ended.is_set() else work(pursuit)
        except Interrupted:
            return pursuit

    with _interrupts_held(ended.set), ThreadPoolExecutor(WORKERS) as workers:
        for pursuit in workers.map(unless_ended, pursuits):
            if ended.is_set():
                break
            show(pursuit)
            done.append(pursuit)
    return done


def _looked(api: Api, pursuit: Pursuit, others: int) -> Pursuit:
    answers: dict[int, Answer | Verdict] = {
        port: api.ask(pursuit.member, port) for port in pursuit.ports
    }
    return pursuit.saw(answers, time.monotonic(), others)


@contextmanager
def _interrupts_held(note: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C be noted in this block, and raise it when the block has ended.

    An exception in the middle of the executor's own work can leave its locks taken,
    and then nothing ends. Where it is ignored it stays so.

    Raises:
        KeyboardInterrupt: it came.
    """
    came: list[int] = []

    def interrupted(number: int, _: object) -> None:
        came.append(number)
        note()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt


class _Round:
    """Workers that always take the pod which is due first."""

    def __init__(
        self,
        api: Api,
        pursuits: Sequence[Pursuit],
        deadline: float,
        show: Show,
        ended: threading.Event,
    ) -> None:
        self._api = api
        self._deadline = deadline
        self._show = show
        self._ended = ended
        self._news = threading.Condition()
        self._pursuits = list(pursuits)
        self._under_way = 0
        self._waiting = [
            (pursuit.due, number)
            for number, pursuit in enumerate(pursuits)
            if pursuit.due < inf
        ]
        heapq.heapify(self._waiting)

    def run(self) -> list[Pursuit]:
        for pursuit in self._pursuits:
            self._show(pursuit)
        # its `put` may be called by a signal handler, at any time
        over: SimpleQueue[None] = SimpleQueue()
        waker = threading.Thread(target=self._wake, args=[over])
        with _interrupts_held(lambda: self._interrupted(over)):
            waker.start()
            try:
                self._work_all()
            finally:
                over.put(None)
                waker.join()
        return self._pursuits

    def _work(self) -> None:
        try:
            while (number := self._take()) is not None:
                self._put(number, self._step(self._pursuits[number]))
        except Interrupted:
            return  # why, somebody else says
        except BaseException:
            self._ended.set()
            with self._news:
                self._news.notify_all()
            raise

    def _interrupted(self, over: SimpleQueue[None]) -> None:
        self._ended.set()
        over.put(None)

    def _wake(self, over: SimpleQueue[None]) -> None:
        over.get()
        with self._news:
            self._news.notify_all()

    def _work_all(self) -> None:
        with ThreadPoolExecutor(WORKERS) as workers:
            working = [workers.submit(self._work) for _ in range(WORKERS)]
            for worker in working:
                worker.result()

    def _take(self) -> int | None:
        """Wait for a pod to become due; None: there is nothing more to do."""
        with self._news:
            while self._waiting or self._under_way:
                now = time.monotonic()
                if self._ended.is_set() or now >= self._deadline:
                    return None
                due = self._waiting[0][0] if self._waiting else inf
                if due <= now:
                    self._under_way += 1
                    return heapq.heappop(self._waiting)[1]
                self._news.wait(min(due, self._deadline) - now)
            return None

    def _put(self, number: int, pursuit: Pursuit) -> None:
        with self._news:
            self._pursuits[number] = pursuit
            self._under_way -= 1
            if pursuit.due < inf:
                heapq.heappush(self._waiting, (pursuit.due, number))
            self._show(pursuit)
            self._news.notify_all()

    def _step(self, pursuit: Pursuit) -> Pursuit:
        now = time.monotonic()
        if pursuit.annotates_at <= now:
            refusal = self._api.touch(pursuit.member)
            now = time.monotonic()
            if refusal:
                return pursuit.over(refusal.stage, refusal.detail, now)
            return pursuit.told(now)
        return _looked(self._api, pursuit, len(self._waiting))
