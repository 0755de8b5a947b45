import numpy as np
import pytest

from fleetnet.benchmark import peak
from fleetnet.benchmark.peak import has_peak, matrix_product, numpy_peak, operations
from fleetnet.inference.engines import Precision


def test_operations_of_a_product() -> None:
    assert operations(512) == 2 * 512**3


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_product_runs_in_its_precision(precision: Precision) -> None:
    if not has_peak(precision):
        pytest.skip(f"this processor does not multiply {precision}")
    run = matrix_product(64, precision, 1)
    run()
    answers = run()
    (product,) = answers.values()  # type: ignore[attr-defined]
    given = np.random.default_rng(1).uniform(-1, 1, (64, 64)).astype(np.float32)
    weights = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)
    error = float(np.abs(product - given @ weights.T).max())
    assert error < {"fp32": 1e-4, "bf16": 0.3, "int8": 0.3}[precision]
    if precision != "fp32":
        assert error > 1e-4  # it was not computed in fp32 instead


def test_numpy_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SIDES", (32,))
    flops = numpy_peak(1, runs=2)
    assert flops is not None
    assert flops > 0


def test_numpy_that_fails_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_NUMPY", "raise SystemExit({sides} and {runs} and 3)")
    assert numpy_peak(1) is None
