"""Several processes that train one network together, over PyTorch's distributed package."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.distributed import FileStore, PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from fleetnet.amounts import count
from fleetnet.data.seeds import generator
from fleetnet.data.shares import ALONE
from fleetnet.errors import FleetnetError, Interrupted, at, one_line
from fleetnet.training.launch_environment import Launched
from fleetnet.training.meeting import Store, meet
from fleetnet.training.step_results import StepOutput

T = TypeVar("T")

_SIGNING_S = {"gone": 2.0, "late": 5.0}
"""How long those who notice that something is wrong wait for others to notice it as well.

Whoever waits for long may notice later than the first one by what their steps differ.
"""
_TELLING_S = 1.0
"""How long one who knows what is wrong waits for the first one to say the same."""
_SIGNS = (
    "gloo",
    "NCCL",
    "Connection closed",
    "Connection reset",
    "Broken pipe",
    "Timed out",
    "timed out",
    "timeout",
    "Socket",
)
"""In errors that PyTorch raises when another process is gone or does not answer."""


_NO_BUFFERS: dict[str, Any] = {
    # The name since PyTorch 2.13, and the one before.
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


class RankError(FleetnetError):
    """A process of the group has ended or does not answer; the message names it.

    The message is empty where another process says it, or has said what is wrong.
    """

    code = "rank"


class Ranks:
    """This process among those that train together; by itself, the only one.

    Whatever is agreed here is exchanged on the processors, beside the work of a GPU, so nothing
    waits for a device.

    Args:
        launched: where this process is among the others; None for one alone.
        store: where the processes leave word for each other.
        timeout_s: how long one waits for another.
    """

    def __init__(
        self,
        launched: Launched | None = None,
        store: Store | None = None,
        timeout_s: float = 0.0,
    ) -> None:
        self.place = ALONE if launched is None else launched.place
        self.local_rank = 0 if launched is None else launched.local_rank
        self.launch = "" if launched is None else launched.name
        self._store = store
        self._timeout_s = timeout_s
        self._group: distributed.ProcessGroup | None = None
        if store is not None:
            store.set(f"who/{self.place.rank}", f"process {os.getpid()} on {platform.node()}")
            if "gloo" not in str(distributed.get_backend_config()):
                timeout = datetime.timedelta(seconds=timeout_s)
                self._group = distributed.new_group(backend="gloo", timeout=timeout)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.place.size

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.place.rank == 0

    def told(self, *values: int) -> list[list[int]]:
        """Tell all the others some numbers, and return those of each process, by rank."""
        if self.size == 1:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.int64)
        every = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(every, own, group=self._group)
        return [found.tolist() for found in every]

    def collected(self, value: T) -> list[T]:
        """Return the values of all processes, by rank; only the first process gets them."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(value, values, group=self._group)
        return values or []

    def from_first(self, make: Callable[[], T]) -> T:
        """Return to all processes what the first one makes; what it raises, all raise.

        Raises:
            FleetnetError: as ``make``.
        """
        if self.size == 1:
            return make()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except FleetnetError as error:
                made[1] = error
        distributed.broadcast_object_list(made, group=self._group)
        if made[1] is not None:
            raise made[1] if self.is_first else RankError()
        found: T = made[0]
        return found

    def check_same(self, value: str, what: str) -> None:
        """Refuse to go on where processes differ in what all have to have in common.

        Raises:
            FleetnetError: names the first process that differs.
        """
        if self.size == 1:
            return
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, (value, platform.node()), group=self._group)
        for rank, (other, host) in enumerate(values):
            if other != values[0][0]:
                message = f"rank {rank} on {host} has other {what} than rank 0 on {values[0][1]}"
                raise FleetnetError(message) if self.is_first else RankError()

    def shared(self, network: nn.Module) -> DistributedDataParallel:
        """Return the network with an exchange of gradients in its backward pass.

        Its buffers are not exchanged; the parameters are set to those of the first process.
        """
        device = next(network.parameters()).device
        # Of depthwise filters, whose one channel may have any stride.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            **_NO_BUFFERS,
        )

    def seed_noise(self, seed: int, step: int) -> None:
        """Let each process draw other dropout in a step, the same again if it is repeated."""
        if self.size > 1:
            torch.manual_seed(int(generator(seed, "noise", step, self.place.rank).integers(2**63)))

    def summed(self, output: StepOutput, images: Sequence[int]) -> StepOutput:
        """Return the figures of a step in all processes, from those of this one."""
        if self.size == 1:
            return output
        # In double precision a sum over the images, so that the processes' shares do not matter.
        sums = torch.stack(
            [
                *(
                    loss.double() * own
                    for loss, own in zip(output.losses, output.images, strict=True)
                ),
                *(hits.double() for hits in output.hits),
            ]
        )
        distributed.all_reduce(sums)
        losses, hits = sums.tensor_split(2)
        means = losses / torch.tensor(images, dtype=torch.float64).to(losses.device)
        return StepOutput(tuple(images), tuple(means), tuple(hits.long()), output.lr)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Go on after the block only if it went well in all processes; in it, none may wait.

        Raises:
            FleetnetError: of the lowest rank whose block raised one.
            RankError: without a message, in all other processes.
        """
        failed: FleetnetError | None = None
        try:
            yield
        except FleetnetError as error:
            if self.size == 1:
                raise
            failed = error
        if self.size == 1:
            return
        which = [rank for rank, (bad,) in enumerate(self.told(failed is not None)) if bad]
        if not which:
            return
        if failed is not None and self.place.rank == which[0]:
            raise self._placed(failed) from None
        raise RankError

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Say which process is to blame where one waits in vain for another in the block.

        Raises:
            RankError: another process has ended or does not answer; named by one of those left.
            FleetnetError: as the block, with this process's rank.
        """
        try:
            yield
        except (RankError, Interrupted):
            self._sign("told")
            raise
        except FleetnetError as error:
            if self.size == 1:
                raise
            self._sign("told")
            # What is wrong in all of them, such as the loss, the first one says.
            if not self.is_first and self._has_signed(0):
                raise RankError from None
            raise self._placed(error) from None
        except RuntimeError as error:
            if self.size == 1 or not any(sign in str(error) for sign in _SIGNS):
                raise
            raise self._lost(error) from None

    def _placed(self, error: FleetnetError) -> FleetnetError:
        """Return the error of this process, which says which one that is if not the first."""
        return error if self.is_first else at(f"rank {self.place.rank}", error, type(error))

    def _sign(self, word: str) -> None:
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                self._store.set(f"left/{self.place.rank}", word)

    def _has_signed(self, rank: int) -> bool:
        """Tell whether a process says that something is wrong, now or in a moment."""
        end = time.monotonic() + _TELLING_S
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):
                if self._store is not None and self._store.check([f"left/{rank}"]):
                    return True
            time.sleep(0.05)
        return False

    def _lost(self, error: RuntimeError) -> RankError:
        """Return the error that names those who have not noticed that anything is wrong."""
        late = "imed out" in str(error) or "timeout" in str(error)
        word = "late" if late else "gone"
        self._sign(word)
        try:
            words = self._words(_SIGNING_S[word])
        except RuntimeError:  # the store was in the first process
            return RankError(f"rank 0, or the machine that it ran on, is gone: {one_line(error)}")
        if "told" in words.values() or self.place.rank != min(words):
            return RankError()
        missing = [rank for rank in range(self.size) if rank not in words]
        if not missing:
            return RankError(f"the processes have lost each other: {one_line(error)}")
        names = ", ".join(f"rank {rank} ({self._who(rank)})" for rank in missing)
        if "late" in words.values():
            waited = count(round(self._timeout_s), "second")
            return RankError(
                f"no answer for {waited} from {names}: it hangs, or takes longer than timeout="
                f"{self._timeout_s:g} for a step, a checkpoint or the figures of an epoch",
                arguments=["timeout"],
            )
        return RankError(f"gone: {names}")

    def _words(self, within_s: float) -> Mapping[int, str]:
        """Return what each process that noticed has signed with, after some time for that."""
        store, end = self._store, time.monotonic() + within_s
        assert store is not None  # noqa: S101 - of several processes
        words: dict[int, str] = {}
        while len(words) < self.size and time.monotonic() < end:
            for rank in range(self.size):
                if rank not in words and store.check([f"left/{rank}"]):
                    words[rank] = store.get(f"left/{rank}").decode()
            time.sleep(0.05)
        return words

    def _who(self, rank: int) -> str:
        store = self._store
        assert store is not None  # noqa: S101 - of several processes
        key = f"who/{rank}"
        return store.get(key).decode() if store.check([key]) else "unknown"


ONLY = Ranks()
"""A process that trains by itself."""


@contextlib.contextmanager
def joined(launched: Launched | None, timeout_s: float = 600.0) -> Iterator[Ranks]:
    """Join the other processes of a launch for the block.

    Where the caller has set up PyTorch's default group already, as Ray Train does, that is used.

    Args:
        launched: see :meth:`Launched.found`; None for a process by itself.
        timeout_s: how long one process waits for another before it gives up.

    Yields:
        This process among them.

    Raises:
        FleetnetError: they do not find each other.
    """
    if launched is None or launched.place.size == 1:
        yield Ranks(launched)
        return
    timeout = datetime.timedelta(seconds=timeout_s)
    begun_elsewhere = distributed.is_initialized()
    place = launched.place
    try:
        store = _store(launched, timeout)
        if not begun_elsewhere:
            if torch.cuda.is_available():
                torch.cuda.set_device(launched.local_rank % torch.cuda.device_count())
            nccl = torch.cuda.is_available() and distributed.is_nccl_available()
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if nccl else "gloo",
                store=PrefixStore("group", store),
                rank=place.rank,
                world_size=place.size,
                timeout=timeout,
            )
        ranks = Ranks(launched, PrefixStore("fleetnet", store), timeout_s)
    except (RuntimeError, ValueError, TimeoutError) as error:
        raise RankError(
            f"rank {place.rank} of {place.size} does not find the others: {one_line(error)}"
        ) from None
    try:
        with ranks.watching():
            yield ranks
    finally:
        if not begun_elsewhere:
            with contextlib.suppress(RuntimeError):
                distributed.destroy_process_group()


def _store(launched: Launched, timeout: datetime.timedelta) -> Any:
    """Return the store that the launch has given the processes to find each other by."""
    if launched.meeting_file:
        return FileStore(launched.meeting_file, launched.place.size)
    place = launched.place
    store, _, _ = next(rendezvous("env://", place.rank, place.size, timeout=timeout))
    meeting = PrefixStore("meeting", store)
    return PrefixStore(meet(meeting, place, timeout.total_seconds()), store)
