from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("aiohttp")

from fleetnet.data.sources import open_source
from fleetnet.data.sources.watched import opening_watched
from fleetnet.reporting import Advance
from parquets import write
from tars import pairs, shard


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("where", ["", "file://"])
def test_indexing_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    for number in range(3):
        file = tmp_path / "d" / f"{number}.{kind}"
        if kind == "tar":
            shard(file, pairs(range(number * 2, number * 2 + 2)))
        else:
            write(file, [b"0", b"1"], [0, 1], 2)
    work: list[tuple[str, int]] = []
    done: list[int] = []

    def begin(what: str, steps: int) -> Advance:
        work.append((what, steps))
        return done.append

    with opening_watched(begin):
        open_source(f"{where}{tmp_path}/d")
        assert [steps for _, steps in work] == [3]
        assert work[0][0].startswith("indexing ")
        assert done == [1, 1, 1]
        open_source(f"{where}{tmp_path}/d")
        assert len(work) == (1 if where else 2)  # what is elsewhere is remembered
    open_source(str(tmp_path / "d"))
    assert len(work) == (1 if where else 2)
