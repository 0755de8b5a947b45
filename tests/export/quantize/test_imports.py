"""What the libraries that quantise do when they are imported."""

import subprocess
import sys

import pytest

CODE = """
import sys
before = [*sys.path]
import fleetnet.export.quantize.nncf
import fleetnet.export.quantize.session
print(*(folder for folder in sys.path if folder not in before))
"""


@pytest.mark.slow
def test_importing_quantisers_leaves_the_search_path_as_it_was() -> None:
    """ONNX Runtime's scripts would stand in for modules of the same names, such as benchmark."""
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
