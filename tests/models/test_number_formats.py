import pytest
import torch

from fleetnet.models.number_formats import multiplies_bf16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"avx2": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_a_processor_says_what_it_is_built_for(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bf16() is expected


def test_a_gpu_that_emulates_bf16_is_not_built_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert not multiplies_bf16("cuda")
    assert not multiplies_bf16("mps")
