"""A clock with events, and what is used at a rate: lines, where one follows the other, and stations that all share."""

import heapq
import itertools


class Clock:
    """Events in order of time, then of their making: the same input gives the same run."""

    def __init__(self):
        self.now = 0.0
        self._events = []
        self._count = itertools.count()

    def at(self, time, action):
        heapq.heappush(self._events, (time, next(self._count), action))

    def run(self):
        events = self._events
        while events:
            self.now, _, action = heapq.heappop(events)
            action()


class Line:
    """Does `rate` units a second, for who came first, then for the next."""

    def __init__(self, clock, rate):
        self.rate = rate
        self.served = 0.0
        self._clock = clock
        self._free = 0.0

    def use(self, amount, done):
        self.served += amount
        self._free = max(self._free, self._clock.now) + amount / self.rate
        self._clock.at(self._free, done)


class Station:
    """Does `rate` units a second in all, however many uses share it.

    Kept in units per use: `level` rises by rate / uses a second, and a use ends when the level has risen by its amount.
    So a use that comes or goes costs a few steps, not one for each other use.
    """

    def __init__(self, clock, rate):
        self.rate = rate
        self.served = 0.0
        self._clock = clock
        self._uses = []  # (level at which it ends, number, action)
        self._count = itertools.count()
        self._level = 0.0
        self._since = 0.0
        self._turn = 0

    def use(self, amount, done):
        self._advance()
        self.served += amount
        heapq.heappush(self._uses, (self._level + amount, next(self._count), done))
        self._plan()

    def _advance(self):
        if self._uses:
            self._level += (self._clock.now - self._since) * self.rate / len(self._uses)
        self._since = self._clock.now

    def _plan(self):
        """Only the newest plan counts; a use that comes or goes makes a new one."""
        self._turn += 1
        if self._uses:
            turn = self._turn
            wait = max(0.0, self._uses[0][0] - self._level) * len(self._uses) / self.rate
            self._clock.at(self._clock.now + wait, lambda: self._end(turn))

    def _end(self, turn):
        if turn != self._turn:
            return
        self._advance()
        level, _, done = heapq.heappop(self._uses)
        self._level = max(self._level, level)
        self._plan()
        done()


def use_all(uses, done):
    """Uses lines and stations at once, [(which, amount)]; `done` when the slowest is through."""
    left = len(uses)

    def one_done():
        nonlocal left
        left -= 1
        if left == 0:
            done()

    for which, amount in uses:
        which.use(amount, one_done)
