"""Successive halving within a budget of time, whatever trains the candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleetnet.amounts import count, share
from fleetnet.errors import FleetnetError, Interrupted
from fleetnet.reporting import Say
from fleetnet.training.progress import EpochRecord
from fleetnet.training.search import plan
from fleetnet.training.search.candidates import Candidate
from fleetnet.training.search.state import Point, SearchState, Trial
from fleetnet.weights.subject import LAST

WINNER = "winner"
"""Folder of the last training."""
Clock = Callable[[], float]
"""Returns seconds from any time on."""


class Stopwatch:
    """How much of a budget is spent.

    Args:
        clock: that measures.
        before: seconds that were spent before this process.
    """

    def __init__(self, clock: Clock, before: float = 0.0) -> None:
        self._clock, self._before, self._started = clock, before, clock()

    @property
    def spent(self) -> float:
        """Seconds."""
        return self._before + self._clock() - self._started


@dataclass(frozen=True)
class Job:
    """A training that a search wants.

    Attributes:
        candidate: how to train.
        epochs: how many.
        folder: of the run; if one was begun there, it goes on.
        weights: to start from, instead of the candidate's own.
        whole: whether to train on all images that are not held out, not only the inner ones.
        epoch_ended: called after each epoch; tells whether to go on.
        in_time: asked after each step; the training is given up if there is no time left.
    """

    candidate: Candidate
    epochs: int
    folder: Path
    weights: Path | None
    whole: bool
    epoch_ended: Callable[[EpochRecord], bool]
    in_time: Callable[[], bool]


class Work(Protocol):
    """What trains, and knows how long that takes."""

    @property
    def growth(self) -> float:
        """How many times as long an epoch on all images takes as one on the inner ones."""
        ...

    def lr(self, candidate: Candidate, epochs: int) -> float:
        """Return the highest learning rate of a candidate."""
        ...

    def epoch_s(self, candidate: Candidate) -> float:
        """Measure how many seconds an epoch on the inner images takes."""
        ...

    def train(self, job: Job) -> bool:
        """Train, and tell whether all epochs were done.

        Raises:
            FleetnetError: of the code ``diverged`` if the loss is no longer a number.
            Interrupted: a signal ended it, and it is saved.
        """
        ...


class Search:
    """A search that is ready to begin or to go on.

    Args:
        state: of the search, which this updates and saves.
        work: trains.
        folder: of the search.
        clock: measures what is spent.
        say: called with a line about what is tried.
    """

    def __init__(
        self, state: SearchState, work: Work, folder: Path, clock: Clock, say: Say
    ) -> None:
        self.state = state
        self._work = work
        self._folder = folder
        self._say = say
        self._watch = Stopwatch(clock, state.spent_s)

    @property
    def left_s(self) -> float:
        """Seconds that are left of the budget."""
        return self.state.budget_s - self._watch.spent

    def run(self) -> Trial:
        """Try the candidates, train the best one on, and return that last training.

        Raises:
            FleetnetError: the budget is too short, or no candidate could be trained.
            Interrupted: a signal ended the search, which is saved.
        """
        if self.state.last is None:
            self.admit()
            self.save()
            self._try_all()
        return self._train_last()

    def admit(self) -> None:
        """Decide which candidates there is time for, unless that was done; nothing is written.

        Raises:
            FleetnetError: the budget is too short.
        """
        if self.state.admitted is None:
            self._measure()
            self._admit()

    def save(self) -> None:
        """Save what is known, and how much is spent."""
        self.state.spent_s = self._watch.spent
        self.state.save(self._folder)

    def _measure(self) -> None:
        """Find out how long an epoch takes, of each network and size once."""
        state = self.state
        known = {
            (one.model, one.size): seconds
            for one, seconds in zip(state.candidates, state.epoch_s, strict=False)
        }
        for candidate in state.candidates[len(state.epoch_s) :]:
            key = candidate.model, candidate.size
            has_time = not known or self._watch.spent < plan.MEASURING * state.budget_s
            if key not in known and has_time:
                self._say(f"measuring {candidate.model} at {candidate.size} px")
                known[key] = self._work.epoch_s(candidate)
            state.epoch_s.append(known.get(key))

    def _admit(self) -> None:
        """Decide which candidates there is time for."""
        state = self.state
        places = [place for place, cost in enumerate(state.epoch_s) if cost is not None]
        costs = [cost for cost in state.epoch_s if cost is not None]
        spent = self._watch.spent
        chosen = plan.admitted(costs, plan.RUNGS[0] * state.budget_s - spent)
        if not chosen:
            raise plan.too_short(state.budget_s, costs, spent)
        state.admitted = [places[index] for index in chosen]
        self._say(
            f"time to try {len(chosen)} of {count(len(state.candidates), 'candidate')}, then half "
            f"of {plan.spoken(state.budget_s)} or more to train the best one"
        )

    def _try_all(self) -> None:
        """Run the rungs."""
        state = self.state
        places, ends_s = list(state.admitted or ()), 0.0
        for rung, part in enumerate(plan.RUNGS, 1):
            ends_s += part * state.budget_s
            if rung > 1:
                best = state.best(rung - 1)
                places = [trial.candidate for trial in best[: plan.survivors(len(best))]]
                if len(places) == 1:
                    return
            self._run_rung(rung, places, ends_s)
            if not state.best(rung):
                if rung == 1:
                    raise self._nothing_trained()
                return

    def _run_rung(self, rung: int, places: list[int], ends_s: float) -> None:
        """Train each of some candidates for its part of the time until ``ends_s``."""
        done = {trial.candidate for trial in self.state.of_rung(rung) if trial.ending != "running"}
        waiting = [place for place in places if place not in done]
        for number, place in enumerate(waiting):
            # Divided anew each time, so that one that was slower than expected does not end late.
            each = (ends_s - self._watch.spent) / (len(waiting) - number)
            self._try(rung, place, each, f"{len(done) + number + 1} of {len(places)}")

    def _try(self, rung: int, place: int, seconds: float, which: str) -> None:
        """Train a candidate for about so many seconds, or go on with that."""
        state, candidate = self.state, self.state.candidates[place]
        end_s = plan.SEARCH * state.budget_s
        if self._watch.spent + self._epoch_s(place) > end_s:
            self._say(f"no time is left to try {candidate.title}")
            return
        # What is one and a half times as slow as measured still ends; its epochs are whole ones.
        limit = min(self._watch.spent + 2 * max(seconds, self._epoch_s(place)), end_s)
        trial = next((one for one in state.of_rung(rung) if one.candidate == place), None)
        if trial is None:
            epochs = plan.epochs_in(max(seconds, 0), self._epoch_s(place))
            trial = self._begin(rung, place, epochs)
            state.trials.append(trial)
        self._say(
            f"round {rung}, {which}: {candidate.title}, {count(trial.epochs, 'epoch')}, "
            f"{plan.spoken(max(self.left_s, 0))} left"
        )
        before = self._last_of(place, below=rung)
        job = Job(
            candidate,
            trial.epochs,
            self._folder / trial.folder,
            None if before is None else self._folder / before.folder / LAST,
            whole=False,
            epoch_ended=self._recorder(trial),
            in_time=lambda: self._watch.spent <= limit,
        )
        self._train(trial, job)

    def _train_last(self) -> Trial:
        """Train the best candidate for what is left."""
        state = self.state
        best = state.winner
        candidate = state.candidates[best.candidate]
        if state.last is None:
            seconds = self.left_s - plan.for_export(state.budget_s)
            epoch_s = self._epoch_s(best.candidate) * self._work.growth
            state.last = self._begin(
                len(plan.RUNGS) + 1, best.candidate, plan.epochs_in(max(seconds, 0), epoch_s)
            )
        last = state.last
        if last.ending == "running":
            self._say(
                f"best: {candidate.title}, {share(best.score)} of "
                f"{count(state.val_images, 'inner image')}; training it for "
                f"{count(last.epochs, 'epoch')}, {plan.spoken(max(self.left_s, 0))} left"
            )
            job = Job(
                candidate,
                last.epochs,
                self._folder / WINNER,
                self._folder / best.folder / LAST,
                whole=True,
                epoch_ended=self._recorder(last, until_s=plan.OVERRUN * state.budget_s),
                in_time=lambda: True,
            )
            self._train(last, job)
        return last

    def _begin(self, rung: int, place: int, epochs: int) -> Trial:
        lr = self._work.lr(self.state.candidates[place], epochs)
        return Trial(candidate=place, rung=rung, epochs=epochs, lr=lr, started_s=self._watch.spent)

    def _train(self, trial: Trial, job: Job) -> None:
        """Do a job, and record how it ended; one that diverges loses."""
        self.save()
        started, before = self._watch.spent, trial.seconds
        try:
            finished = self._work.train(job)
            trial.ending = "done" if finished else "out of time"
        except Interrupted as stopped:
            raise Interrupted(
                f"stopped while {job.candidate.title} trained, all saved; go on with the same "
                "command and continue=",
                stopped.exit_code,
                arguments=["continue"],
            ) from None
        except FleetnetError as error:
            if error.code != "diverged" or job.whole:
                raise
            trial.ending, trial.points = "diverged", []
            self._say(f"{job.candidate.title}: {error}")
        finally:
            trial.seconds = before + self._watch.spent - started
            self.save()

    def _recorder(
        self, trial: Trial, until_s: float | None = None
    ) -> Callable[[EpochRecord], bool]:
        """Return what records an epoch, and tells whether there is time for one more."""

        def record(epoch: EpochRecord) -> bool:
            # Those that were recorded before a kill are told of once more when the run goes on.
            if epoch.epoch > len(trial.points):
                trial.points.append(Point(spent_s=self._watch.spent, top1=epoch.score))
                self.save()
            if until_s is None:
                return True
            each = (self._watch.spent - trial.started_s) / epoch.epoch
            return self._watch.spent + each <= until_s

        return record

    def _last_of(self, place: int, below: int) -> Trial | None:
        """Return a candidate's trial in the rung before."""
        found = [one for one in self.state.trials if one.candidate == place and one.rung < below]
        return max(found, key=lambda one: one.rung, default=None)

    def _epoch_s(self, place: int) -> float:
        """Return how long an epoch takes, from training if there was any."""
        trained = [one for one in self.state.trials if one.candidate == place and one.points]
        if trained:
            last = trained[-1]
            return last.seconds / len(last.points)
        measured = self.state.epoch_s[place]
        return 1.0 if measured is None else measured

    def _nothing_trained(self) -> FleetnetError:
        trials, budget_s = self.state.of_rung(1), self.state.budget_s
        if trials and all(trial.ending == "diverged" for trial in trials):
            return FleetnetError(
                "the loss of every candidate turned into no number: look at the data (fleetnet "
                "data check)",
                code="diverged",
            )
        return FleetnetError(
            f"no candidate finished an epoch in half of {plan.spoken(budget_s)}: the machine is "
            f"slower than it was when it was measured; give "
            f"budget='{plan.spoken(2 * budget_s)}'",
            code="budget",
            arguments=["budget"],
            budget_s=budget_s,
            least_s=2 * budget_s,
        )
