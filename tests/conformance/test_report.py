"""What is said of the checks of an installation, and of bundles."""

from fleetnet.conformance.bundles import BundleCheck
from fleetnet.conformance.check import Check, Difference
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.report import BundlesReport, InstallationReport
from fleetnet.inference.comparison import Comparison

FOUND = ConformanceSet.load()
GOOD = Check("refusals", 9)
BAD = Check("inputs", 3, (Difference("grey", "other pixels"), Difference("tall", "refused")), 0.5)


def compared(difference: float, top1: float) -> Comparison:
    return Comparison("onnxruntime", "1", 60, difference, top1, 1.0, 1)


def test_an_installation_without_a_difference_conforms() -> None:
    report = InstallationReport(FOUND, [GOOD])
    assert report.failure is None
    values = report.to_json()
    assert values["passed"] is True
    assert values["set"] == str(FOUND.path)
    assert values["written_by"] == FOUND.description.written_by
    assert values["checks"] == [
        {"name": "refusals", "passed": True, "answers": 9, "max_abs_diff": None, "differences": []}
    ]


def test_what_differs_is_counted_and_the_first_named() -> None:
    report = InstallationReport(FOUND, [GOOD, BAD])
    assert str(report.failure) == (
        "2 of 12 answers are not the conformance set's, the first: grey: other pixels"
    )
    values = report.to_json()
    assert values["passed"] is False
    assert values["checks"][1]["differences"][1] == {"picture": "tall", "detail": "refused"}


def test_bundles_fail_one_by_one() -> None:
    good = BundleCheck(GOOD, "torch", (compared(0.0, 1.0),), 1e-4, (None,))
    odd_inputs = BundleCheck(BAD, "torch", (), 1e-4, ())
    odd_answers = BundleCheck(GOOD, "torch", (compared(0.25, 0.5),), 1e-4, (None,))
    report = BundlesReport(FOUND, [("a", good), ("b", odd_inputs), ("c", odd_answers)])
    assert [str(failure) for failure in report.failures] == [
        "b: grey: other pixels",
        "c: onnxruntime differs from torch by up to 0.25 (allowed: 0.0001), top-1 agrees on 50.00%",
    ]
    assert report.differences == [(), BAD.differences, ()]
    values = report.to_json()
    assert values["passed"] is False
    assert [model["passed"] for model in values["models"]] == [True, False, False]
    assert values["models"][0]["model"] == "a"
    assert values["models"][0]["inputs"] == GOOD.to_json()
    (engine,) = values["models"][2]["engines"]
    assert (engine["engine"], engine["passed"]) == ("onnxruntime", False)
    assert BundlesReport(FOUND, [("a", good)]).to_json()["passed"] is True
