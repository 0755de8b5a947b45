"""Pages whose own name was made to lead to this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.conftest import served
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import ForbiddenError, RequestError
from fleetnet.serving.rest.hosts import Hosts
from serving.raw import asked, statuses


def hosts_of(tokens: Path | None = None, **values: object) -> Hosts:
    return Hosts.of(Settings.load_all(None, {}, values), Tokens(tokens))


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8000", "localhost.", "127.0.0.1", "127.0.0.1:80", "[::1]:8000",
     "192.168.1.2:8000"],
)  # fmt: skip
def test_this_machines_names_and_addresses_are_its(host: str) -> None:
    hosts_of().check([host])


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost@evil.example", "", "evil.example:127.0.0.1", "0x7f.1", "[evil.example]"],
)  # fmt: skip
def test_other_names_are_refused_where_anybody_here_may_ask(host: str) -> None:
    with pytest.raises(ForbiddenError, match="is not called"):
        hosts_of().check([host])


def test_whoever_gives_a_token_or_comes_over_the_network_may_use_any_name(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("infer a-token-of-a-client\n")
    hosts_of(tokens).check(["service.example"])
    hosts_of(host="0.0.0.0").check(["service.example"])  # noqa: S104 - nothing listens
    hosts_of(hosts=["*"]).check(["service.example"])


def test_configured_names_are_the_only_ones(tmp_path: Path) -> None:
    hosts = hosts_of(hosts=["Service.example"], host="10.0.0.1")
    hosts.check(["service.example:443"])
    hosts.check([])  # no browser
    with pytest.raises(ForbiddenError):
        hosts.check(["localhost"])
    with pytest.raises(RequestError, match="several"):
        hosts.check(["service.example", "service.example"])


def test_a_request_says_which_host_it_is_for(network: Path) -> None:
    with served(models={"net": network}) as address:
        assert statuses(asked(address, "GET /v2 HTTP/1.1\r\nConnection: close\r\n\r\n")) == [400]
        assert statuses(asked(address, "GET /v2 HTTP/1.0\r\n\r\n")) == [200]


def test_a_page_that_was_led_here_gets_nothing(network: Path) -> None:
    with served(models={"net": network}) as address:
        for path in ("/v2/models/net", "/metrics", "/", "/models/net/card"):
            head = f"GET {path} HTTP/1.1\r\nConnection: close\r\nHost: "
            assert statuses(asked(address, f"{head}evil.example:80\r\n\r\n")) == [403]
            assert statuses(asked(address, f"{head}localhost\r\n\r\n")) == [200]
            assert statuses(asked(address, f"{head}localhost\r\nHost: localhost\r\n\r\n")) == [400]
