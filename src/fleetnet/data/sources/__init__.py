"""Sources of labelled images: one class for each kind, all with the same small protocol."""

from fleetnet.data.sources.csvfile import CsvSource
from fleetnet.data.sources.elpv import ELPV, ElpvSource
from fleetnet.data.sources.folder import FolderSource
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import MultiLabel
from fleetnet.data.sources.listfile import ListSource
from fleetnet.data.sources.open import open_source, open_source_spec
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.parquet import ParquetSource
from fleetnet.data.sources.protocol import ReadsEnds, Source, fingerprint, left_out_of, notes_of
from fleetnet.data.sources.registry import SOURCES
from fleetnet.data.sources.samples import Indices, Sample, SampleTable, SplitName
from fleetnet.data.sources.webdataset import WebDatasetSource
from fleetnet.errors import DataError

__all__ = [
    "ELPV",
    "SOURCES",
    "CsvSource",
    "DataError",
    "ElpvSource",
    "FolderSource",
    "Indices",
    "ListSource",
    "MultiLabel",
    "ParquetSource",
    "ReadsEnds",
    "Sample",
    "SampleTable",
    "Source",
    "SourceKind",
    "SourceOptions",
    "SplitName",
    "WebDatasetSource",
    "fingerprint",
    "left_out_of",
    "notes_of",
    "open_source",
    "open_source_spec",
]
