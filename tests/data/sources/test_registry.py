"""Data sources are found: a file in the folder, another package's, or one added by hand."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from conftest import Run
from fleetnet.data import sources
from fleetnet.data.sources import SOURCES, SourceOptions, open_source, open_source_spec
from fleetnet.errors import DataError, FleetnetError
from samples import make_folder

ONE_FILE = dedent(
    '''
    """Images named in a file, a label and a path a line; or in a folder with such a file."""

    from pathlib import Path

    from fleetnet.data.sources import SampleTable, SourceKind
    from fleetnet.data.sources.files import ImageFiles


    class Named(ImageFiles):
        multi_label = False

        def __init__(self, data, options):
            path = Path(data.removeprefix("named:"))
            path = path / "all.named" if path.is_dir() else path
            rows = [line.split(" ", 1) for line in path.read_text("utf-8").splitlines()]
            self.description, self.spec = "named", options.spec(path.resolve())
            self.root = Path(options.root) if options.root else path.parent
            self.classes = tuple(sorted({label for label, _ in rows}))
            labels = [self.classes.index(label) for label, _ in rows]
            self.samples = SampleTable([name for _, name in rows], labels)


    SOURCE = SourceKind(
        name="named",
        title="named files",
        open=Named,
        options=("root",),
        words=("named:",),
        suffixes=(".named",),
        holds=lambda folder: (folder / "all.named").is_file(),
        instead=lambda data: f"{data}: call it .named" if data.endswith(".nam") else None,
    )
    '''
)


@pytest.fixture(autouse=True)
def looked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sources looked for anew, and forget in the end what was found."""
    monkeypatch.setattr(SOURCES, "_found", None)
    monkeypatch.setattr(SOURCES, "_broken", {})


def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a file where the sources of Fleetnet are, as far as Python can tell."""
    (folder / "named.py").write_text(text)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "fleetnet.data.sources.named", raising=False)
    importlib.invalidate_caches()


def in_a_package(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str, text: str) -> None:
    """Install a package with entry points, as far as Python can tell."""
    (folder / "others_source.py").write_text(text)
    described = folder / "others-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[fleetnet.sources]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "others_source", raising=False)
    importlib.invalidate_caches()


def holds_what_a_source_does(folder: Path) -> None:
    root = make_folder(folder / "images", 2, ("circle", "square"))
    names = [sample.name for sample in open_source(str(root)).samples]
    rows = "\n".join(f"{name.partition('/')[0]} {name}" for name in names)
    for table in (root / "all.named", folder / "other.named"):
        table.write_text(rows)
    elsewhere = SourceOptions(root=str(root))
    for data in (str(root), f"{root}/all.named", f"named:{root}"):
        source = open_source(data)
        assert source.description == "named"
        assert source.classes == ("circle", "square")
        assert len(open_source_spec(source.spec).samples) == 4
        assert source.read(3)
    assert open_source(str(folder / "other.named"), options=elsewhere).read(0)
    with pytest.raises(DataError, match="classes= has no meaning for named files "):
        open_source(str(root), options=SourceOptions(classes="x"))
    with pytest.raises(DataError, match=r"call it \.named"):
        open_source("x.nam")
    with pytest.raises(DataError, match=r"in \.txt, \.lst, .*, \.parquet or \.named"):
        open_source(__file__)


def test_a_file_in_the_folder_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    in_the_folder(tmp_path / "code", monkeypatch, ONE_FILE)
    holds_what_a_source_does(tmp_path)
    assert list(SOURCES) == [
        "elpv",
        "pool",
        "list",
        "csv",
        "tar",
        "parquet",
        "hub",
        "remote",
        "named",
    ]


def test_another_package_brings_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_package(tmp_path, monkeypatch, "named = others_source:SOURCE", ONE_FILE)
    holds_what_a_source_does(tmp_path)


def test_a_source_is_added_by_hand(tmp_path: Path) -> None:
    inside: dict[str, object] = {}
    exec(ONE_FILE, inside)  # noqa: S102 - our own text
    SOURCES.add(inside["SOURCE"])  # type: ignore[arg-type]
    holds_what_a_source_does(tmp_path)
    with pytest.raises(FleetnetError, match="there is a data source 'named' already"):
        SOURCES.add(inside["SOURCE"])  # type: ignore[arg-type]


def test_another_package_cannot_replace_our_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = ONE_FILE.replace('(".named",)', '(".csv",)').replace('"named:",', '"elpv",')
    in_a_package(tmp_path, monkeypatch, "named = others_source:SOURCE", greedy)
    assert open_source("elpv").description.startswith("ELPV")
    (tmp_path / "a.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="lists no images"):
        open_source(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("place", ["folder", "package"])
def test_a_source_that_cannot_be_imported_leaves_the_others_alone(
    place: str, fleetnet: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import nowhere_at_all\n" + ONE_FILE
    if place == "folder":
        in_the_folder(tmp_path, monkeypatch, text)
    else:
        in_a_package(tmp_path, monkeypatch, "named = others_source:SOURCE", text)
    assert len(open_source(str(shapes)).classes) == 3
    reason = "the data source 'named' cannot be loaded: No module named 'nowhere_at_all'"
    (tmp_path / "a.named").touch()
    for data in ("named", "named:x", tmp_path / "a.named"):
        fleetnet("data", "check", data).assert_one_line(reason)
    with pytest.raises(DataError) as raised:
        open_source("no-such-folder")
    assert "cannot be loaded" not in str(raised.value)
