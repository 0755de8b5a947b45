import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.errors import FleetnetError, OvertakenError
from fleetnet.study.nonlinearities import NONLINEARITIES
from fleetnet.study.rank_figures import rank_figures
from fleetnet.study.rank_plan import POINTS, RankSettings, batches
from fleetnet.study.rank_study import RESULTS, RankLine, study_rank
from fleetnet.study.results_file import ResultsFile

SETTINGS = RankSettings(networks=70, seed=3, thresholds=(0.1, 0.001))

KILLED = """
import os, signal, sys
from pathlib import Path
from fleetnet.study import rank_study
from fleetnet.study.rank_plan import RankSettings
from fleetnet.study.results_file import ResultsFile

class Dying(ResultsFile):
    def _write(self, values):
        global left
        left -= 1
        if not left:
            with self.path.open("ab") as file:
                file.write(b'{"block": "layer')
            os.kill(os.getpid(), signal.SIGKILL)
        super()._write(values)

left = int(sys.argv[2])
rank_study.ResultsFile = Dying
rank_study.study_rank(RankSettings(networks=70, seed=3, thresholds=(0.1, 0.001)), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RankLine]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, study_rank(SETTINGS, folder)


def test_all_networks_are_planned_and_the_same_ones_again() -> None:
    planned = list(batches(RankSettings(networks=1000, seed=0)))
    assert sum(batch.networks for batch in planned) == 1000
    assert planned == list(batches(RankSettings(networks=1000, seed=0)))
    assert len({batch.key for batch in planned}) == len(planned)
    assert len({batch.seed for batch in planned}) == len(planned)
    more = {batch.key: batch for batch in batches(RankSettings(networks=5000, seed=0))}
    assert all(more[batch.key].outputs == batch.outputs for batch in planned)
    assert planned[0].seed != next(batches(RankSettings(networks=1000, seed=1))).seed


def test_networks_of_one_number_have_one_width() -> None:
    widths: dict[int, set[int]] = {}
    for batch in batches(RankSettings(networks=1000, seed=0)):
        widths.setdefault(batch.number, set()).add(batch.outputs)
    assert all(len(found) == 1 for found in widths.values())
    assert len(widths) > 1


def test_a_study_measures_every_network(whole: tuple[Path, list[RankLine]]) -> None:
    _, lines = whole
    figures = rank_figures(lines, SETTINGS.thresholds)
    assert len(figures) == len(POINTS) * len(NONLINEARITIES) * 2
    assert (
        sum(one.networks for one in figures if (one.nonlinearity, one.threshold) == ("ELU", 0.1))
        == 70
    )
    for figure in figures:
        assert 0 < figure.mean <= 1
    linear = next(
        one.mean for one in figures
        if one[:4] == ("layer 1×1", 0.5, "none", 0.001)
    )  # fmt: skip
    assert linear == pytest.approx(0.5, abs=0.04)


def test_a_killed_study_ends_as_an_unbroken_one(
    tmp_path: Path, whole: tuple[Path, list[RankLine]]
) -> None:
    for writes in (1, 5, 30):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, tmp_path / "study", str(writes)],
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert ended.returncode == -signal.SIGKILL
    counted: list[int] = []
    lines = study_rank(SETTINGS, tmp_path / "study", counted.append)
    assert lines == whole[1]
    assert sum(counted) == 70
    assert (tmp_path / "study" / RESULTS).read_bytes() == (whole[0] / RESULTS).read_bytes()


def test_what_is_there_is_not_measured_again(
    whole: tuple[Path, list[RankLine]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetnet.study.rank_study.measure", None)
    assert study_rank(SETTINGS, whole[0]) == whole[1]


DAMAGED = {
    "other settings": (b'{"study": "rank", "seed": 4}\n', "other settings (version, networks, "),
    "another study": (b'{"study": "channels"}\n', "not of a study of rank"),
    "no object": (b"[1]\n", "not of a study of rank"),
    "no JSON": (b"{]\n", "line 1 is not JSON"),
    "deep": (b"[" * 100_000 + b"\n", "line 1 is not JSON"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_another_file_is_left_alone_and_refused_in_a_line(case: str, tmp_path: Path) -> None:
    content, message = DAMAGED[case]
    (tmp_path / RESULTS).write_bytes(content)
    with pytest.raises(FleetnetError) as error:
        study_rank(SETTINGS, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert (tmp_path / RESULTS).read_bytes() == content


def test_a_damaged_line_is_refused(tmp_path: Path) -> None:
    first = json.dumps(SETTINGS.model_dump(mode="json"))
    (tmp_path / RESULTS).write_text(f'{first}\n{{"block": 3}}\n')
    with pytest.raises(FleetnetError, match="line 2: block: it must be text, not 3"):
        study_rank(SETTINGS, tmp_path)


def test_two_processes_do_not_write_one_study(tmp_path: Path) -> None:
    with (
        ResultsFile(tmp_path / RESULTS, SETTINGS, RankLine).taken(),
        pytest.raises(OvertakenError, match="another process is writing"),
    ):
        study_rank(SETTINGS, tmp_path)


def test_the_command_prints_a_table_and_draws(
    whole: tuple[Path, list[RankLine]], fleetnet: Run
) -> None:
    words = ("study", "rank", "--networks", "70", "--seed", "3", "--threshold", "0.1",
             "--threshold", "0.001", "-o", whole[0])  # fmt: skip
    result = fleetnet(*words)
    assert result.code == 0, result
    assert "bottleneck depthwise" in result.out
    assert "singular values above 0.1 of the largest" in result.out
    for name in ("rank-ratio.png", "rank-thresholds.png"):
        assert (whole[0] / name).read_bytes().startswith(b"\x89PNG")
    values = json.loads(fleetnet(*words, "--json").out)
    assert values["settings"]["seed"] == 3
    assert len(values["figures"]) == len(POINTS) * len(NONLINEARITIES) * 2
    # Of one batch nothing is known of the spread between batches.
    batches = {one["networks"]: one["error"] is None for one in values["figures"]}
    assert batches == dict.fromkeys(batches, True)
    assert "standard errors take more networks" in " ".join(result.out.split())


def test_the_command_refuses_other_settings_and_thresholds(
    whole: tuple[Path, list[RankLine]], fleetnet: Run
) -> None:
    result = fleetnet("study", "rank", "--networks", "70", "-o", whole[0])
    assert result.code == 2
    assert "other settings (seed, thresholds): repeat those to go on with it, or" in result.err
    result = fleetnet("study", "rank", "--threshold", "1e-9", "-o", whole[0] / "new")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--threshold 1e-09 is a share of the largest singular value" in result.err
    assert not (whole[0] / "new").exists()
