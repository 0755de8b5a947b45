"""Work whose time is made up, to test what measures without measuring."""

from __future__ import annotations

from collections.abc import Callable


class World:
    """Work whose time is made up, and the clock that it moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def clock(self) -> float:
        return self.now

    def work(self, name: str, seconds: Callable[[int], float] | float) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            count = self.log.count(name)
            self.now += seconds(count) if callable(seconds) else seconds

        return run
