"""What ``fleetnet serve`` refuses, each in one line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from conftest import Run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to serve"),
        (["NETWORK", "NETWORK"], "two models are called 'network'"),
        (["../x=NETWORK"], "is no name of a model"),
        (["net/a/b=NETWORK"], "is no version"),
        (["NETWORK", "--folder", "nowhere"], "is no folder of models"),
        (["NETWORK", "--config", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["NETWORK", "--tokens", "nowhere"], "cannot read nowhere"),
        (["NETWORK", "--split", "2"], "a share is VERSION=SHARE"),
        (["NETWORK", "--split", "2=200%"], "a share is from 0 to 1"),
        (["a=NETWORK", "b=NETWORK", "--shadow", "2"], "Give NAME/2"),
        (["NETWORK", "--log", "loud"], "log: it must be 'text' or 'json'"),
        (["NETWORK", "--engine", "openvin", "--port", "0"], "did you mean 'openvino'"),
        (["NETWORK", "--host", "no.such.host.invalid"], "is no address to listen on"),
    ],
)
def test_bad_input_is_one_line(
    fleetnet: Run, network: Path, arguments: list[str], said: str
) -> None:
    result = fleetnet("serve", *(word.replace("NETWORK", str(network)) for word in arguments))
    assert result.code == 2, result
    *logged, last = result.err.strip().splitlines()
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in result.err
    assert all(" warning " in line or " info " in line for line in logged)


def test_what_served_leaves_no_log_behind(fleetnet: Run, network: Path) -> None:
    """Its handler would write to a standard error that a later server does not have."""
    names = ("fleetnet.serving", "grpc", "uvicorn")
    loggers = [logging.getLogger(name) for name in names]
    former = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    assert fleetnet("serve", str(network), "--tokens", "nowhere").code == 2
    assert [(one.handlers[:], one.level, one.propagate) for one in loggers] == former
