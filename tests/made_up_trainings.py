"""Trainings whose time and results are made up, to test a search without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fleetnet.errors import FleetnetError
from fleetnet.training.progress import EpochRecord
from fleetnet.training.search.candidates import Candidate
from fleetnet.training.search.halving import Job
from made_up_clock import World


def epoch(number: int, top1: float) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        lr=0.1,
        train_loss=1.0,
        train_top1=top1,
        top1=top1,
        top5=1.0,
        images_per_s=1.0,
        seconds=1.0,
    )


@dataclass
class MadeUpWork:
    """Trains nothing; a candidate's size says how long an epoch of it takes, in seconds.

    Attributes:
        world: whose clock it moves.
        skill: the top-1 of each network after its first epoch, with the same for the next ones.
        slower: by what an epoch takes longer than was measured.
        diverging: networks that cannot be trained.
        measuring_s: what it takes to time an epoch.
        before_epoch: called before each epoch, to interrupt it.
    """

    world: World
    skill: dict[str, float]
    slower: float = 1.0
    growth: float = 1.5
    measuring_s: float = 1.0
    diverging: tuple[str, ...] = ()
    before_epoch: Callable[[Job, int], None] = lambda _job, _number: None
    jobs: list[Job] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    """Epochs by folder, as checkpoints would have them."""

    def lr(self, candidate: Candidate, epochs: int) -> float:
        del candidate, epochs
        return 0.1

    def epoch_s(self, candidate: Candidate) -> float:
        self.world.now += self.measuring_s
        return float(candidate.size)

    def train(self, job: Job) -> bool:
        self.jobs.append(job)
        seconds = job.candidate.size * self.slower * (self.growth if job.whole else 1)
        folder = str(job.folder)
        done = self.done.get(folder, 0)
        for number in range(1, done + 1):
            job.epoch_ended(epoch(number, self.skill[job.candidate.model]))
        for number in range(done + 1, job.epochs + 1):
            self.before_epoch(job, number)
            for _ in range(10):
                self.world.now += seconds / 10
                if not job.in_time():
                    return False
            if job.candidate.model in self.diverging:
                raise FleetnetError("the loss turned nan", code="diverged")
            self.done[folder] = number
            if not job.epoch_ended(epoch(number, self.skill[job.candidate.model])):
                return number == job.epochs
        return True
