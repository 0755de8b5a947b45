"""``fleetnet predict`` with a server in place of a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from client.conftest import served
from conftest import Run


def test_a_server_answers_as_the_model_does(
    fleetnet: Run, server: str, network: Path, picture: Path, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(picture, tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"none")
    for form in ("--json", "--csv"):
        here = fleetnet("predict", str(network), str(tmp_path), form, "-k", "4")
        there = fleetnet("predict", f"{server}/net", str(tmp_path), form, "-k", "4")
        assert (there.code, here.code) == (1, 1)
        if form == "--csv":
            assert [row.split(",")[:2] for row in there.out.splitlines()] == [
                row.split(",")[:2] for row in here.out.splitlines()
            ]
            continue
        for local, remote in zip(here.out.splitlines(), there.out.splitlines(), strict=True):
            one, other = json.loads(local), json.loads(remote)
            assert (other["image"], other["error"]) == (one["image"], one["error"])
            for score, expected in zip(other["top"], one["top"], strict=True):
                assert score["class"] == expected["class"]
                assert score["probability"] == pytest.approx(expected["probability"], abs=1e-6)


def test_one_image_and_the_only_model(fleetnet: Run, server: str, picture: Path) -> None:
    done = fleetnet("predict", server, str(picture))
    assert done.code == 0, done.err
    assert f"{picture.name}  square" in done.out


def test_a_token_comes_from_the_environment(
    fleetnet: Run, network: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("infer a-token-of-a-client\n")
    with served(models={"net": network}, tokens=tokens) as address:
        refused = fleetnet("predict", f"{address}/net", str(picture))
        assert (refused.code, refused.out) == (2, "")
        assert "this needs a token" in refused.err
        assert "FLEETNET_TOKEN" in refused.err
        monkeypatch.setenv("FLEETNET_TOKEN", "a-token-of-a-client")
        assert fleetnet("predict", f"{address}/net", str(picture)).code == 0


@pytest.mark.parametrize(
    ("model", "more", "told"),
    [
        ("SERVER/other", [], "no model 'other'"),
        ("127.0.0.1:8000/net", [], "a server's address is http://127.0.0.1:8000/net"),
        ("localhost:8000", [], "a server's address is http://localhost:8000"),
        ("SERVER/net", ["--engine", "openvino"], "--engine is the server's choice"),
        ("SERVER/net", ["--batch-size", "4"], "--batch-size is the server's choice"),
        ("SERVER/net", ["--exact"], "--exact is the server's choice"),
        ("SERVER/net", ["--reject", "0"], "--reject is the server's choice"),
        ("SERVER/net", ["--reject", "off"], "--reject is the server's choice"),
        ("http://", [], "is no address of a server"),
        ("http://127.0.0.1:1/net", [], "cannot connect to 127.0.0.1:1"),
    ],
)
def test_what_gives_no_answer_is_one_line(
    fleetnet: Run, server: str, picture: Path, model: str, more: list[str], told: str
) -> None:
    done = fleetnet("predict", model.replace("SERVER", server), str(picture), *more)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1
