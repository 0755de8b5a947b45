from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import comparison, files, loader, network, prepare, sizes
from benchmarks.peers.comparison import Outcome, Place
from benchmarks.peers.contenders import (
    LITE0,
    SUBJECTS,
    Contender,
    Trained,
    fewer_bits,
    file_roads,
    networks,
    trained_roads,
)
from benchmarks.peers.headlines import headline_table
from benchmarks.peers.process import PeerError, Worker, environment
from benchmarks.peers.report import Report
from benchmarks.peers.rounds import interleave, ratio_spread
from benchmarks.peers.run import FULL, QUICK, _pythons, chosen
from benchmarks.peers.tables import Table, speed_tables

TRAINED = [
    Trained("EfficientNet-Lite0, ImageNet", LITE0, int8=False, note="98.3 % agree"),
    Trained("ReXNet_1_0, ELPV defect", "rexnet_100.run", int8=True, note="9 of 76 are kept"),
]
FAKE = Path(__file__).with_name("fake_worker.py")


def worker(folder: Path, way: str) -> Worker:
    command: list[str | Path] = [sys.executable, FAKE, "1", way]
    return Worker(command, os.sched_getaffinity(0), environment(1), folder / "log.txt")


class TestWorker:
    def test_answers(self, tmp_path: Path) -> None:
        with worker(tmp_path, "well") as one:
            assert one.ask(do="about") == {"about": "fake, 1 threads, 1"}
            assert one.ask(do="network", name="n", model="m", inputs="i") == {}
            seconds = one.ask(do="time", name="n", warm=1, runs=3, inputs=2)["seconds"]
            assert len(seconds) == 3
            assert min(seconds) > 0

    def test_what_libraries_print_is_not_an_answer(self, tmp_path: Path) -> None:
        with worker(tmp_path, "chatty") as one:
            assert "about" in one.ask(do="about")
        assert "hello from C" in (tmp_path / "log.txt").read_text()

    def test_an_error_leaves_it_alive(self, tmp_path: Path) -> None:
        with worker(tmp_path, "well") as one:
            with pytest.raises(PeerError, match=r"^ValueError: no such layer: Swish$"):
                one.ask(do="network", name="n", model="unknown", inputs="i")
            assert "about" in one.ask(do="about")

    @pytest.mark.parametrize(
        ("way", "reason"),
        [
            ("broken import", "ModuleNotFoundError: No module named 'engine'"),
            ("dies", "it ended (exit code 3): out of cheese"),
            ("killed", "it ended (killed by SIGSEGV)"),
            ("rubbish", "it said 'Welcome!', which is no answer"),
        ],
    )
    def test_says_why_not(self, tmp_path: Path, way: str, reason: str) -> None:
        with worker(tmp_path, way) as one:
            for _ in range(2):
                with pytest.raises(PeerError) as caught:
                    one.ask(do="about")
                assert str(caught.value) == reason

    @pytest.mark.slow
    def test_one_that_hangs_is_ended_with_its_children(self, tmp_path: Path) -> None:
        for count in itertools.count():  # however long it takes to have a child
            patience = 0.5 * 2**count
            with worker(tmp_path, "hangs") as one:
                with pytest.raises(PeerError, match=f"no answer within {patience:g} s"):
                    one.ask(patience, do="about")
                said = (tmp_path / "log.txt").read_text()
                if said.endswith("\n"):
                    break
        child = int(said.split()[-1])
        while Path(f"/proc/{child}").exists() and _state(child) != "Z":
            time.sleep(0.01)

    def test_no_interpreter(self, tmp_path: Path) -> None:
        with pytest.raises(PeerError, match="cannot start /nowhere: No such file"):
            Worker(["/nowhere"], os.sched_getaffinity(0), {}, tmp_path / "log.txt")

    def test_stands_still_between_requests(self, tmp_path: Path) -> None:
        with worker(tmp_path, "well") as one:
            one.ask(do="about")
            while _state(one._process.pid) != "T":
                time.sleep(0.01)

    def test_nothing_of_our_paths_reaches_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/ours")
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        variables = environment(2)
        assert "PYTHONPATH" not in variables
        assert variables["OMP_NUM_THREADS"] == "2"

    @pytest.mark.parametrize("line", [b"[]", b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
    def test_lines_that_are_no_answers(self, tmp_path: Path, line: bytes) -> None:
        script = tmp_path / "says.py"
        script.write_text(f"import sys; sys.stdout.buffer.write({line!r} + b'\\n'); input()")
        cores = os.sched_getaffinity(0)
        with (
            Worker([sys.executable, script], cores, environment(1), tmp_path / "log") as one,
            pytest.raises(PeerError, match="which is no answer"),
        ):
            one.ask(do="about")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class TestReplies:
    @pytest.mark.parametrize("value", [None, 1, "text", [1, 2], [1, 2, "3"], [1, 2, True], {}])
    def test_not_so_many_numbers(self, value: object) -> None:
        with pytest.raises(PeerError, match="without 3 numbers for seconds"):
            comparison.numbers_of({"seconds": value}, "seconds", 3)

    def test_rows(self) -> None:
        assert comparison.rows_of({"top": [[1, 2], [3, 4]]}, "top", 2, 2) == [[1, 2], [3, 4]]
        for rows in (None, [[1, 2]], [[1, 2], [3]], [[1, 2], 3]):
            with pytest.raises(PeerError):
                comparison.rows_of({"top": rows}, "top", 2, 2)

    def test_text(self) -> None:
        with pytest.raises(PeerError, match="without about"):
            comparison.text_of({"about": 3}, "about")


class TestRounds:
    def test_every_contender_has_a_turn_in_each_round(self) -> None:
        order: list[str] = []

        def turn(name: str) -> float:
            order.append(name)
            return len(order)

        times, left_out = interleave("abc", turn, 20)
        assert not left_out
        assert {name: len(values) for name, values in times.items()} == dict.fromkeys("abc", 20)
        rounds = [order[start : start + 3] for start in range(0, 60, 3)]
        assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
        assert len({tuple(one) for one in rounds}) > 1

    def test_a_contender_that_fails_is_out_with_all_its_times(self) -> None:
        turns = 0

        def turn(name: str) -> float:
            nonlocal turns
            turns += 1
            if name == "b" and turns > 4:
                raise PeerError("it broke")
            return 1.0

        times, left_out = interleave("abc", turn, 5)
        assert left_out == {"b": "it broke"}
        assert {name: len(values) for name, values in times.items()} == {"a": 5, "c": 5}

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "1", None, True])
    def test_a_time_that_is_none(self, value: object) -> None:
        _, left_out = interleave("a", lambda _: value, 2)  # type: ignore[arg-type,return-value]
        assert "seconds" in left_out["a"]

    def test_ratios_are_of_one_round(self) -> None:
        # Both are disturbed in the second round; their ratio is not.
        times = {"peer": [2.0, 20.0, 2.0], "ours": [1.0, 10.0, 1.0]}
        assert ratio_spread(times, "peer", "ours") == (2, 2, 2, 2, 2)
        assert ratio_spread(times, "peer", "absent") is None


class TestContenders:
    @pytest.mark.parametrize(
        "members",
        [
            *(networks(1), networks(2), file_roads(2), file_roads(1)),
            *(fewer_bits(TRAINED), trained_roads(TRAINED, 2)),
        ],
    )
    def test_names_are_unique_and_bases_exist(self, members: list[Contender]) -> None:
        names = [one.name for one in members]
        assert len(set(names)) == len(names)
        for one in members:
            assert set(one.against) <= set(names)
            assert one.ours or one.against
            assert (comparison.WORKERS / f"{one.worker}.py").is_file()

    def test_every_peer_gets_our_weights(self) -> None:
        subjects = {one.subject for one in networks(1)}
        assert subjects == {subject.ours for subject in SUBJECTS}

    def test_random_weights_are_compared_in_fp32_alone(self) -> None:
        assert all(one.fp32 for one in [*networks(1), *file_roads(2)])

    def test_int8_takes_part_where_its_guard_let_it_pass(self) -> None:
        names = {one.name for one in fewer_bits(TRAINED)}
        assert "ReXNet_1_0, ELPV defect: fleetnet, int8" in names
        assert "EfficientNet-Lite0, ImageNet: fleetnet, int8" not in names
        assert {one.subject for one in trained_roads(TRAINED, 2)} == {TRAINED[0].title}


def place(folder: Path, monkeypatch: pytest.MonkeyPatch, subjects: Sequence[str]) -> Place:
    """Lay out models of three classes, and have every worker be the fake one."""
    monkeypatch.setattr(comparison, "WORKERS", FAKE.parent)
    np.savez(folder / "inputs.npz", pixels=np.zeros(2), floats=np.zeros(2))
    for subject in subjects:
        row = np.array([0.7, 0.2, 0.1], np.float32)
        np.save(folder / f"{subject}.npy", np.stack([row, row]))
    (folder / "model").touch()
    pythons = {"ours": Path(sys.executable), "absent": folder / "absent" / "python"}
    return Place(pythons, folder, sorted(os.sched_getaffinity(0))[:1])


def contender(name: str, setting: str, **changes: object) -> Contender:
    one = Contender(
        f"net: {name}", "ours", "fake_worker", setting, 1, "net", "model", 1, True, ("net: ours",)
    )
    return replace(one, **changes)  # type: ignore[arg-type]


class TestNetwork:
    def test_names_and_leaves_out_whoever_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = place(tmp_path, monkeypatch, ["net"])
        here.unmade["unmade"] = "the converter failed"
        members = [
            contender("ours", "well"),
            contender("dies", "dies"),
            contender("rubbish", "rubbish"),
            contender("other", "three"),
            contender("not a number", "no number"),
            contender("tires", "tires"),
            contender("absent", "well", environment="absent"),
            contender("unmade", "well", model="unmade"),
            contender("peer", "well"),
        ]
        ticks: list[None] = []
        outcome = network.compare_networks(
            members, here, rounds=4, runs=2, advance=lambda: ticks.append(None)
        )
        assert list(outcome.times) == ["net: ours", "net: peer"]
        reasons = {name.partition(": ")[2]: why for name, why in outcome.left_out.items()}
        assert reasons["dies"] == "it ended (exit code 3): out of cheese"
        assert reasons["rubbish"] == "it said 'Welcome!', which is no answer"
        assert reasons["other"].startswith("it computes something else: probabilities differ")
        assert reasons["not a number"].startswith("it said ")
        assert reasons["tires"] == "RuntimeError: too tired"
        assert reasons["absent"].startswith("its environment is not installed: there is no ")
        assert reasons["unmade"] == "its model could not be made: the converter failed"
        assert outcome.agreement["net: peer"] == "0e+00, 2/2"

        (table,) = speed_tables(outcome, "Network", "agreement")
        text = table.markdown()
        for why in reasons.values():
            assert f"left out: {why}" in text
        assert "÷ ours" in text

    def test_fewer_bits_may_differ(self) -> None:
        expected = np.array([[0.5, 0.4, 0.1]], np.float32)
        found = np.array([[0.4, 0.5, 0.1]], np.float32)
        assert network.agreement(found, expected, exact=False) == "1e-01, 0/1"
        with pytest.raises(PeerError, match="something else"):
            network.agreement(found, expected, exact=True)

    def test_agreement_on_many_images_is_a_share_with_a_bound(self) -> None:
        rng = np.random.default_rng(0)
        expected = rng.dirichlet(np.ones(3), 100).astype(np.float32)
        found = expected.copy()
        found[0] = np.roll(found[0], 1)
        text = network.agreement(found, expected, exact=False)
        assert text.endswith("99.0% of 100 (surely 95.3%)")

    def test_logits_are_no_probabilities(self) -> None:
        expected = np.array([[0.5, 0.4, 0.1]], np.float32)
        for found in ([[5.0, 1.0, -2.0]], [[1.2, 0.0, -0.2]]):
            with pytest.raises(PeerError, match="no probabilities"):
                network.agreement(np.array(found, np.float32), expected, exact=False)


class TestFiles:
    def test_passes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = place(tmp_path, monkeypatch, [])
        members = [
            contender("ours", "well", against=()),
            contender("peer", "well"),
            contender("four", "four classes"),
        ]
        outcome = files.compare_files(members, here, ["a.jpg", "b.jpg"], rounds=2)
        assert outcome.agreement["net: peer"] == "100%"
        assert [len(values) for values in outcome.times.values()] == [2, 2]
        assert outcome.left_out == {"net: four": "it answered without 5 numbers for top"}

    def test_without_ours_there_is_nothing_to_agree_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = place(tmp_path, monkeypatch, [])
        members = [contender("ours", "dies", against=()), contender("peer", "well")]
        outcome = files.compare_files(members, here, ["a.jpg"], rounds=1)
        assert not outcome.agreement
        (table,) = speed_tables(outcome, "Files", "top-1")
        assert table.rows[1][-1] == "–"

    def test_starts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = place(tmp_path, monkeypatch, [])
        members = [contender("ours", "well", against=()), contender("dies", "dies")]
        outcome = files.compare_starts(members, here, ["a.jpg", "b.jpg"], rounds=2)
        assert len(outcome.times["net: ours"]) == len(outcome.processor["net: ours"]) == 2
        assert outcome.peak_bytes["net: ours"] > 2**20
        assert outcome.left_out == {"net: dies": "it ended (exit code 3): out of cheese"}


class TestSizes:
    def test_a_package_with_what_it_requires(self, tmp_path: Path) -> None:
        here = Place({"base": Path(sys.executable), "gone": tmp_path / "python"}, tmp_path, [0])
        wanted = {"base": ["pydantic"], "gone": ["pydantic"]}
        found, left_out = sizes.installed_sizes(here, wanted)
        assert {"pydantic", "pydantic-core", "typing-extensions"} <= set(found["base"])
        assert "pip" not in found["base"]
        assert all(size > 0 for size in found["base"].values())
        assert left_out["gone"].startswith("its environment is not installed")

    def test_a_package_that_is_not_there(self, tmp_path: Path) -> None:
        here = Place({"base": Path(sys.executable)}, tmp_path, [0])
        found, left_out = sizes.installed_sizes(here, {"base": ["no-such-package"]})
        assert not found
        assert "no-such-package" in left_out["base"]


class TestLoader:
    def test_hands_on_what_the_benchmark_prints(self, tmp_path: Path) -> None:
        script = tmp_path / "compare.py"
        script.write_text("import sys; print('| table |', *sys.argv[2:])")
        found = loader.compare_loaders(tmp_path, 1, 2, (0, 2), script)
        assert found == "| table | --rounds 1 --repeats 2 --workers 0 2"

    def test_says_what_went_wrong(self, tmp_path: Path) -> None:
        script = tmp_path / "compare.py"
        script.write_text("import sys; sys.exit('error: no photographs')")
        with pytest.raises(PeerError, match=r"^error: no photographs$"):
            loader.compare_loaders(tmp_path, 1, 1, (0,), script)


class TestPrepare:
    def test_reasons_of_what_cannot_be_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fails = [sys.executable, "-c", "import sys; sys.exit('error: unknown layer')"]
        silent = [sys.executable, "-c", "pass"]
        steps = [
            prepare.Step("one", ["/nowhere/python"], ("a",)),
            prepare.Step("two", fails, ("b",)),
            prepare.Step("three", silent, ("c",)),
        ]
        makes = [sys.executable, "-c", f"open({str(tmp_path / 'd')!r}, 'w')"]
        steps.append(prepare.Step("four", makes, ("d",)))
        monkeypatch.setattr(prepare, "_exports", lambda _: iter(steps))
        monkeypatch.setattr(prepare, "_ours", lambda *_: prepare.Step("ours", silent, ()))
        here = Place({}, tmp_path, [0])
        prepare.prepare(here, tmp_path)
        assert here.unmade == {
            "a": "its environment is not installed: there is no /nowhere/python",
            "b": "error: unknown layer",
            "c": "the conversion made no c",
        }
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named x' >&2\nexit 1\n")
        broken.chmod(0o755)
        with pytest.raises(PeerError, match="No module named x"):
            prepare.prepare(Place({"base": broken}, tmp_path, [0]), tmp_path)
        # What is there is not made again.
        here.unmade.clear()
        (tmp_path / "b").touch()
        prepare.prepare(here, tmp_path)
        assert "b" not in here.unmade

    def test_other_sources_make_models_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare.forget_if_changed(tmp_path, "one")
        (tmp_path / "net.npy").touch()
        prepare.forget_if_changed(tmp_path, "one")
        assert (tmp_path / "net.npy").exists()
        prepare.forget_if_changed(tmp_path, "two")
        assert not (tmp_path / "net.npy").exists()

    def test_fingerprint(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("1")
        before = prepare.fingerprint([tmp_path])
        (tmp_path / "notes.txt").write_text("1")
        assert prepare.fingerprint([tmp_path]) == before
        (tmp_path / "a.py").write_text("2")
        assert prepare.fingerprint([tmp_path]) != before


def made_up(members: list[Contender], slow: float = 2.0) -> Outcome:
    """Return an outcome in which all others are so many times as slow as we are."""
    outcome = Outcome(members)
    for one in members:
        outcome.times[one.name] = [0.001 * (1 if one.ours else slow)] * 3
        outcome.about[one.name] = one.setting
        outcome.agreement[one.name] = "yes"
        outcome.processor[one.name] = [0.002] * 3
    return outcome


class TestHeadlines:
    def test_like_is_compared_with_like(self) -> None:
        table = headline_table(made_up(file_roads(2), 2.5), made_up(networks(1), 1.5))
        assert table is not None
        assert all("fleetnet" not in row[2] for row in table.rows)
        ratios_ = {row[0]: row[-1] for row in table.rows}
        assert ratios_["file to top-5, MobileNetV2, cv2-linear"] == "2.50 (2.50–2.50)"
        assert ratios_["network, ReXNet_1_0"] == "1.50 (1.50–1.50)"
        others = {row[2] for row in table.rows if row[0].startswith("file to top-5, mobilenetv2")}
        assert others == {"timm-style, pipelined"}

    def test_who_is_faster_than_ours_is_shown_too(self) -> None:
        outcome = made_up(networks(1), 1.5)
        outcome.times["mobilenetv2_100: timm in OpenVINO"] = [0.0005] * 3
        outcome.times["mobilenetv2_100: timm in ncnn"] = [0.0009] * 3
        table = headline_table(None, outcome)
        assert table is not None
        rows = {row[2]: row[-1] for row in table.rows if row[0] == "network, mobilenetv2_100"}
        # The fastest, and the fastest that does not run on ours's own engine.
        assert rows == {
            "timm in OpenVINO": "0.50 (0.50–0.50)",
            "timm in ncnn": "0.90 (0.90–0.90)",
        }

    def test_without_ours_there_is_nothing_to_compare_with(self) -> None:
        outcome = made_up(networks(1))
        for one in networks(1):
            if one.ours:
                del outcome.times[one.name]
        assert headline_table(None, outcome) is None
        assert headline_table(None, None) is None


class TestReport:
    def report(self) -> Report:
        report = Report({"date": "2000-01-01"}, {1: made_up(networks(1))})
        report.files = made_up(file_roads(2))
        report.bits, report.trained = made_up(fewer_bits(TRAINED)), TRAINED
        report.trained_files = made_up(trained_roads(TRAINED, 2))
        report.starts = made_up(file_roads(2))
        report.starts.peak_bytes = dict.fromkeys(report.starts.times, 200_000_000)
        report.sizes = {"base": {"fleetnet": 1_000_000, "openvino": 200_000_000}}
        report.unsized = {"timm": "not installed"}
        report.loader = "| loader |"
        gone = "mobilenetv2_100: timm in MNN"
        report.networks[1].leave_out({gone: "it | broke\nin two"})
        return report

    @pytest.mark.slow
    def test_is_written(self, tmp_path: Path) -> None:
        written = self.report().write(tmp_path / "new" / "folder")
        pictures = {"peers_files.png", "peers_networks.png", "peers_bits.png"}
        assert {path.name for path in written} == {"peers.md", "peers.json", *pictures}
        markdown = (tmp_path / "new" / "folder" / "peers.md").read_text("utf-8")
        assert "| ---: |" in markdown
        assert "\n| **fleetnet, bf16** | 1.00 | 1.00–1.00 |" in markdown
        assert "EfficientNet-Lite0, ImageNet: 98.3 % agree; ReXNet_1_0, ELPV" in markdown
        assert "it \\| broke in two" in markdown
        assert "![Medians with quartiles](peers_files.png)" in markdown
        assert "| loader |" in markdown
        figures = json.loads((tmp_path / "new" / "folder" / "peers.json").read_text("utf-8"))
        network_figures = figures["comparisons"]["Network, 1 thread"]
        peer = network_figures["mobilenetv2_100: timm in ONNX Runtime"]
        base = "mobilenetv2_100: fleetnet"
        assert peer["times_as_long_as"][base]["median"] == pytest.approx(2)
        assert len(peer["rounds"]) == 3
        assert "seconds" not in network_figures["mobilenetv2_100: timm in MNN"]

    def test_nothing_was_measured(self, tmp_path: Path) -> None:
        members = networks(1)
        report = Report({}, {1: Outcome(members, left_out={members[0].name: "gone"})})
        report.write(tmp_path)
        assert not list(tmp_path.glob("*.png"))
        assert "left out: gone" in (tmp_path / "peers.md").read_text("utf-8")

    def test_tables_fit_a_terminal(self) -> None:
        for table in self.report().tables():
            assert {len(row) for row in table.rows} == {len(table.columns)}
            assert table.rich(200).row_count == len(table.rows)
            assert len(table.rich(200).columns) == len(table.columns)
            narrow = table.rich(80)
            assert len(narrow.columns) == len(table.columns) - len(table.details)
            cells = [cell for column in narrow.columns[1:] for cell in column.cells]
            assert not any(re.search(r"\d \([\d.]+–", str(cell)) for cell in cells)

    def test_markdown_of_a_table(self) -> None:
        table = Table("T", ("a", "b"), (("1", "2"),), "note")
        assert table.markdown() == "## T\n\nnote\n\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n"


class TestCommandLine:
    def test_a_quick_run_compares_the_main_things_still(self) -> None:
        assert chosen(networks(1), FULL) == networks(1)
        fewer = {one.name for one in chosen([*networks(1), *file_roads(2)], QUICK)}
        assert "mobilenetv2_100: timm in PyTorch, compiled" not in fewer
        assert "ReXNet_1_0: timm in ONNX Runtime" in fewer
        assert "mobilenetv2_100, bicubic: timm-style, pipelined" in fewer

    def test_interpreters(self, tmp_path: Path) -> None:
        pythons = _pythons([f"mnn={tmp_path}/python"])
        assert pythons["mnn"] == tmp_path / "python"
        assert pythons["ours"] == Path(sys.executable)

    @pytest.mark.parametrize("entry", ["mnn", "mnn=", "unknown=/usr/bin/python"])
    def test_an_environment_that_is_none(self, entry: str) -> None:
        with pytest.raises(SystemExit, match="write NAME=PYTHON"):
            _pythons([entry])
