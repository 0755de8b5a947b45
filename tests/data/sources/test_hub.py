import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.random import default_rng

pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")

from fleetnet.data.sources import SourceOptions, open_source
from fleetnet.errors import DataError
from loopback_hub import COMMIT, TOKEN, Hub
from parquets import write

CARD = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
  splits:
  - name: train
---
# Pets
"""
PAIR = [b"image 0" + bytes(9), b"image 1"]
CLASSES = {"_type": "ClassLabel", "names": ["a", "b"]}


def pets(folder: Path) -> Path:
    """Make a folder with what a repository of a data set has."""
    for number in range(2):
        images = [default_rng(2 * number + n).bytes(2000) for n in range(2)]
        write(folder / "data" / f"train-0000{number}-of-00002.parquet", images, [0, 1], 1)
    write(folder / "data" / "validation-00000-of-00001.parquet", PAIR, [1, 0], 2)
    write(folder / "data" / "extra-00000-of-00001.parquet", PAIR, [1, 1], 2)
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_copy_here_has_the_classes_of_its_card(tmp_path: Path) -> None:
    folder = pets(tmp_path)
    (folder / "data" / "extra-00000-of-00001.parquet").unlink()
    source = open_source(str(folder))
    assert source.classes == ("cat", "dog")
    splits = [sample.split for sample in source.samples]
    assert splits == ["train"] * 4 + ["val"] * 2
    (folder / "README.md").unlink()
    assert open_source(str(folder)).classes == ("0", "1")
    infos = {"default": {"features": {"label": CLASSES}}}
    (folder / "dataset_infos.json").write_text(json.dumps(infos))
    assert open_source(str(folder)).classes == ("a", "b")


@pytest.mark.parametrize("card", ["---\n", "---\n]\n---\n", "---\ndataset_info: [3, {}]\n---\n"])
def test_a_strange_card_says_nothing(tmp_path: Path, card: str) -> None:
    write(tmp_path / "a.parquet", PAIR, [0, 1], 2)
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "dataset_infos.json").write_bytes(b"[" * 9)
    assert open_source(str(tmp_path)).classes == ("0", "1")


def test_of_several_columns_one_has_to_be_named(tmp_path: Path) -> None:
    features = {"fine": CLASSES, "coarse": CLASSES, "image": {"_type": "Image"}}
    file = tmp_path / "a.parquet"
    write(file, PAIR, ["x", "x"], 2, features, fine=[0, 1], coarse=[1, 0])
    assert open_source(str(file)).classes == ("x",)
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["label"]), file)
    with pytest.raises(DataError, match="2 columns have labels: 'fine', 'coarse': name one with"):
        open_source(str(file))
    source = open_source(str(file), options=SourceOptions(label_columns=("coarse",)))
    assert [sample.label for sample in source.samples] == [1, 0]
    columns = ["left" if name == "image" else name for name in table.column_names]
    two = table.rename_columns(columns)
    features = {"left": {"_type": "Image"}, "right": {"_type": "Image"}, "label": CLASSES}
    info = json.dumps({"info": {"features": features}})
    two = two.append_column("right", table["image"]).replace_schema_metadata({"huggingface": info})
    pq.write_table(two, file)
    with pytest.raises(DataError, match="2 columns have images: 'left', 'right': name one with"):
        open_source(str(file))
    options = SourceOptions(image_column="right", label_columns=("fine",))
    assert open_source(str(file), options=options).read(1) == b"image 1"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    pets(tmp_path / "hub" / "me" / "pets")
    pets(tmp_path / "hub" / "private" / "pets")
    pets(tmp_path / "hub" / "gated" / "pets")
    several = tmp_path / "hub" / "me" / "several"
    for name in ("large", "small"):
        write(several / name / "train" / "0000.parquet", PAIR, [0, 1], 2)
    told = tmp_path / "hub" / "me" / "told"
    write(told / "x" / "one.parquet", PAIR, [0, 1], 2)
    write(told / "x" / "two.parquet", PAIR, [1, 0], 2)
    files = "[{split: train, path: x/one*}, {split: test, path: [x/two.parquet]}]"
    (told / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n"
    )
    (tmp_path / "hub" / "me" / "texts").mkdir()
    hub = Hub(tmp_path / "hub")
    yield hub
    hub.close()


_SCRIPT = """
import json, sys
from fleetnet.cluster.parts import parts_of
from fleetnet.data.remote import store
from fleetnet.data.shard_images import images_in
from fleetnet.data.sources import open_source, notes_of
from fleetnet.errors import FleetnetError
from fleetnet.left_out import LeftOut
store.WAIT_S = 0.01
for address in sys.argv[1:]:
    try:
        source = open_source(address)
        print(json.dumps({
            "classes": source.classes,
            "names": [sample.name for sample in source.samples],
            "splits": [sample.split for sample in source.samples],
            "notes": list(notes_of(source)),
            "stored": [image.name for image in images_in(address)],
            "parts": [part.files[0].url for part in parts_of([address], 9, LeftOut())],
            "last": source.read(len(source.samples) - 1).hex(),
        }))
    except FleetnetError as error:
        print(json.dumps(str(error)))
"""


def opened(hub: Hub, tmp_path: Path, *addresses: str, token: str = "") -> list[Any]:
    """Open data sets in a process of its own, because the library reads where the hub is once."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "FLEETNET_CACHE": str(tmp_path / "cache"),
        "no_proxy": "*",
        **({"HF_TOKEN": token} if token else {}),
    }
    command = [sys.executable, "-W", "ignore", "-c", _SCRIPT, *addresses]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_data_sets_by_name(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = 2
    pets, split, path, one, small, told = opened(
        hub,
        tmp_path,
        "hf://me/pets",
        "hf://me/pets@main:train",
        "hf://datasets/me/pets/data/train-*.parquet",
        "hf://me/several/small",
        "hf://datasets/me/several@main/small:train",
        "hf://me/told",
    )
    assert not hub.cuts
    assert pets["classes"] == ["cat", "dog"]
    assert pets["splits"] == ["train"] * 4 + ["val"] * 2
    assert pets["names"][-1] == "validation-00000-of-00001.parquet#1"
    assert bytes.fromhex(pets["last"]) == b"image 1"
    (note,) = pets["notes"]
    assert "'extra' is left out" in note
    for found in (split, path):
        assert found["names"] == pets["names"][:4]
        assert found["splits"] == [None] * 4
        assert found["stored"] == found["names"]
        assert [part.rpartition("/")[2] for part in found["parts"]] == [
            "train-00000-of-00002.parquet",
            "train-00001-of-00002.parquet",
        ]
    assert one == small
    assert one["classes"] == ["0", "1"]
    assert told["splits"] == [None, None, "test", "test"]
    resolved = [path for path in hub.asked if "/resolve/" in path and path.endswith(".parquet")]
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved)


def test_what_is_not_there_is_one_line(hub: Hub, tmp_path: Path) -> None:
    missing, gated, revision, several, other, split, texts, none = opened(
        hub,
        tmp_path,
        "hf://me/nothing",
        "hf://gated/pets",
        "hf://me/pets@v9",
        "hf://me/several",
        "hf://me/several/smal",
        "hf://me/pets:trian",
        "hf://me/texts",
        "hf://pets",
    )
    assert "hf://me/nothing does not exist on the hub, or is private: set HF_TOKEN" in missing
    assert "accepted its terms" in gated
    assert "no revision 'v9'" in revision
    assert (
        "several configurations: name one of large, small, as in hf://me/several/large" in several
    )
    assert "no configuration 'smal'" in other
    assert "'small'" in other
    assert "no split 'trian'" in split
    assert "no Parquet files" in texts
    assert "write hf://owner/name" in none
    private, granted = (
        opened(hub, tmp_path, "hf://private/pets:train", token=token)[0] for token in ("", TOKEN)
    )
    assert "is private: set HF_TOKEN" in private
    assert granted["classes"] == ["cat", "dog"]
