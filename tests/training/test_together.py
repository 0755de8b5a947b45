"""Several processes train one network as one process would."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fleetnet.data.loader import Loader
from fleetnet.data.shares import Place, share
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError
from fleetnet.preprocess import Preprocess
from fleetnet.training.launch import Launch
from fleetnet.training.launch_environment import Launched
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_setup import build_loaders, split_data
from fleetnet.training.schedules import Schedule
from samples import TINY, make_folder
from training.runs_together import SETTINGS, kept

HERE = Path(__file__).parent
ALL = os.environ.get("FLEETNET_RANKS") == "all"
KILLS = int(os.environ.get("FLEETNET_KILLS", "1"))


def output_of(script: str, *arguments: object) -> Any:
    """Return what a script of processes that train together prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("images", [0, 1, 2, 3, 5, 8, 64, 65])
def test_a_batch_is_shared_so_that_images_stay_with_those_they_are_mixed_with(
    images: int, size: int
) -> None:
    shares = [share(images, Place(rank, size)) for rank in range(size)]
    assert sorted(np.concatenate(shares)) == list(range(images))
    for positions in shares:
        assert len(positions) != 1 or images == 1
        # Mixing flips a batch: within a share that has to give the same partner.
        assert list(positions[::-1]) == list(images - 1 - positions)
    sizes = [len(positions) for positions in shares if len(positions)]
    assert not sizes or max(sizes) - min(sizes) <= 3


def test_split_order_and_variation_do_not_depend_on_how_many_processes_there_are(
    shapes: Path,
) -> None:
    source = open_source(str(shapes))
    recipe = Recipe.load(overrides=[*TINY, "data.repeats=2"])
    parts = split_data(source, recipe, lambda _: None, print)
    whole, _ = build_loaders(source, parts, recipe)
    for size in (2, 3):
        loaders = [
            build_loaders(source, parts, recipe, Place(rank, size))[0] for rank in range(size)
        ]
        for together, *shares in zip(
            whole.batches(2, 1), *(one.batches(2, 1) for one in loaders), strict=True
        ):
            count = len(together.labels)
            for rank, own in enumerate(shares):
                rows = torch.from_numpy(share(count, Place(rank, size)))
                assert torch.equal(own.indices, together.indices[rows])
                assert torch.equal(own.pixels, together.pixels[rows])
                assert torch.equal(own.labels, together.labels[rows])


def test_held_out_images_are_loaded_once_by_one_of_the_processes(shapes: Path) -> None:
    source = open_source(str(shapes))
    indices = np.arange(11)
    for size in (1, 2, 4):
        seen = [
            index
            for rank in range(size)
            for batch in Loader(
                source,
                indices,
                Preprocess(resize=36, crop=32),
                batch_size=4,
                workers=0,
                place=Place(rank, size),
            ).batches()
            for index in batch.indices.tolist()
        ]
        assert sorted(seen) == list(indices)


def test_the_learning_rate_follows_the_batch_as_the_recipe_says() -> None:
    base = [
        "optimizer.lr=0.1",
        "batch_size=128",
        "optimizer.accumulate=8",
        "schedule.warmup_epochs=0",
    ]
    rates = {
        how: Schedule(Recipe.load(overrides=[*base, f"optimizer.lr_scaling={how}"]), 10).lr_at(0)
        for how in ("none", "linear", "root")
    }
    assert rates == {"none": 0.1, "linear": pytest.approx(0.4), "root": pytest.approx(0.2)}


def test_what_the_environment_says_of_a_launch() -> None:
    assert Launched.found({}) is None
    assert Launched.found({"RANK": "0"}) is None
    alone = Launched.found({"RANK": "0", "WORLD_SIZE": "1"})
    assert alone is not None
    assert alone.place.size == 1
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    found = Launched.found(
        {
            "RANK": "3",
            "WORLD_SIZE": "4",
            "LOCAL_RANK": "1",
            "TORCHELASTIC_RESTART_COUNT": "2",
            **address,
        }
    )
    assert found == Launched(Place(3, 4), 1, restarts=2)
    for wrong, says in (
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "2", "WORLD_SIZE": "2", **address}, "from 0 to WORLD_SIZE - 1 = 1"),
        ({"RANK": "first", "WORLD_SIZE": "2", **address}, "no number"),
    ):
        with pytest.raises(FleetnetError, match=says):
            Launched.found(wrong)


@pytest.fixture(scope="module")
def steps() -> Any:
    sizes = (2, 3, 4) if ALL else (3,)
    return output_of("steps_together.py", "ReXNet_1_0" if ALL else "MobileNetV2_x0_25", *sizes)


@pytest.mark.slow
def test_with_synchronised_norms_processes_take_the_steps_of_one(steps: Any) -> None:
    """With mixing, accumulation, clipping, an average, and batches too small for all of them.

    In double precision, so that all that is left is the order of sums: in single precision, an
    untrained network makes much of that.
    """
    for size, found in steps["exact"].items():
        assert found["loss"] < 1e-9, size
        assert found["weights"] < 1e-6, size
        assert found["hits"] == 0, size
        assert found["digests"] == 1, "the average of the weights is the same in all processes"


@pytest.mark.slow
def test_with_norms_of_their_own_two_processes_are_one_that_accumulates_to_the_bit(
    steps: Any,
) -> None:
    """One process whose two batches are the shares has the same norms, and adds as they do."""
    first, second = steps["shared"]
    assert first == second == steps["accumulated"]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_folder(tmp_path_factory.mktemp("damaged") / "data", 12)
    for name in ("000", "001", "002"):
        next((folder / "circle").glob(f"{name}.*")).write_bytes(b"bad")
    return folder


@pytest.fixture(scope="module")
def runs(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs")
    sizes = (1, 2, 3, 4) if ALL else (2, 3)
    return {**output_of("runs_together.py", damaged, folder, *sizes), "sizes": sizes}


@pytest.mark.slow
def test_all_processes_know_the_same_and_each_image_counts_once(runs: Any) -> None:
    first, second = runs["whole"]
    for key in ("losses", "top1", "images"):
        assert first[key] == second[key]
    assert first["images"] == runs["kept"]["whole"]["held_out"] == 9
    assert runs["kept"]["whole"]["trained"] == 24
    assert sorted(line.partition(":")[0] for line in first["unreadable"]) == [
        f"circle/00{number}.jpg" for number in range(3)
    ]


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_ends_all(runs: Any) -> None:
    for one in runs["stopped"]:
        assert (one["error"], one["code"]) == ("Interrupted", 143)
    assert runs["kept"]["stopped"]["step"] == 2
    assert runs["kept"]["stopped"]["trained"] > 8  # of both processes


@pytest.mark.slow
def test_what_two_processes_have_saved_any_number_of_them_goes_on_with(runs: Any) -> None:
    for size in runs["sizes"]:
        results = runs[f"again-{size}"]
        assert len(results) == size
        assert all(one["losses"] == results[0]["losses"] for one in results)
        left = runs["kept"][f"again-{size}"]
        assert (left["epoch"], left["step"]) == (2, 8)
        assert (left["trained"], left["held_out"]) == (24, 9)
    assert runs["again-2"] == runs["whole"], "to the bit"
    assert runs["kept"]["again-2"] == runs["kept"]["whole"]


@pytest.mark.slow
def test_what_is_wrong_in_one_process_is_said_once_and_ends_all(runs: Any) -> None:
    other, own = runs["refused"]
    assert (own["error"], own["says"]) == ("DataError", "rank 1: the disk is gone")
    assert (other["error"], other["says"]) == ("RankError", "")


@pytest.mark.slow
def test_a_process_that_hangs_is_named(runs: Any) -> None:
    first, hung = runs["hung"]
    assert hung is None
    assert first["error"] == "RankError"
    assert first["says"].startswith("no answer for 15 seconds from rank 1 (process ")


@pytest.mark.slow
@pytest.mark.skipif(not ALL, reason="FLEETNET_RANKS=all; torchrun's store is not kept to loopback")
def test_torchrun_starts_killed_processes_anew(damaged: Path, runs: Any, tmp_path: Path) -> None:
    """In a network of its own, in which there is nothing but the loopback interface."""
    run, notes = tmp_path / "run", tmp_path / "notes"
    arguments = [
        *("--nnodes", 1, "--nproc-per-node", 2, "--max-restarts", 3, "--local-addr", "127.0.0.1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:29511", "--rdzv-id", "trial"),
        *("--", HERE / "dying.py", 2, notes, "train", damaged, "-m", "MobileNetV2_x0_25"),
        *("-o", run, "--log", "none", "--set", "checkpoint_minutes=0"),
        *(word for setting in SETTINGS for word in ("--set", setting)),
    ]
    torchrun = shlex.join([sys.executable, "-m", "torch.distributed.run", *map(str, arguments)])
    command = ["unshare", "--net", "--map-root-user", "sh", "-c", f"ip link set lo up; {torchrun}"]
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": path}
    subprocess.run(command, env={**os.environ, **own}, check=True)
    assert [*map(int, notes.read_text().split())] == [0, 0, 1]
    assert kept(run) == runs["kept"]["whole"]


@pytest.mark.slow
def test_killed_processes_start_anew_and_lose_only_what_was_not_saved(
    damaged: Path, runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a save after every step: nothing. FLEETNET_KILLS=10 kills ten times."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run, notes, said = tmp_path / "run", tmp_path / "notes", list[str]()
    settings = [*SETTINGS, "checkpoint_minutes=0"]
    arguments: Sequence[object] = [
        *("train", damaged, "-m", "MobileNetV2_x0_25", "-o", run, "--log", "none"),
        *(word for setting in settings for word in ("--set", setting)),
    ]
    command = [sys.executable, HERE / "dying.py", KILLS, notes, *arguments]
    code = Launch([*map(str, command)], 2, restarts=KILLS, say=said.append).run()
    assert code == 0, said
    assert len(said) == KILLS
    assert "rank 1 (process " in said[0]
    assert "was killed by SIGKILL" in said[0]
    # The second process dies in its first step, the first one in its second save.
    assert [*map(int, notes.read_text().split())] == [n // 2 for n in range(KILLS + 1)]
    assert kept(run) == runs["kept"]["whole"]
