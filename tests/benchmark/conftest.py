"""A network made for measuring, as the benchmark makes it, but of 32 pixels."""

from __future__ import annotations

from pathlib import Path

import pytest

NAME, SIZE = "MobileNetV2_x0_25", 32


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cache that has this network already."""
    from fleetnet.benchmark.untrained import untrained_bundles

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETNET_CACHE", str(folder))
        list(untrained_bundles([NAME], SIZE))
    return folder


@pytest.fixture
def cache(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEETNET_CACHE", str(warm_cache))
    return warm_cache
