"""What the OpenAPI document says, held against the server by requests that are made from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from client.conftest import served
from fleetnet.serving.rest.openapi import openapi_document

schema = schemathesis.openapi.from_dict(openapi_document())
# What a schema says of an image, or of which tensors belong together, is less than what is asked.
EXAMPLES = int(os.environ.get("FLEETNET_EXAMPLES", "25"))
CONTENT = ("/classify", "/explain", "infer")


@pytest.fixture(scope="module")
def address(network: Path) -> Iterator[str]:
    with served(models={"net": network}, limits={"images": 8}) as started:
        yield started


@schema.parametrize()
@settings(max_examples=EXAMPLES)
def test_it_answers_as_its_document_says(case: schemathesis.Case[Any], address: str) -> None:
    """Statuses, types and schemas of answers; and that what the document forbids is refused."""
    excluded: list[Any] = [not_a_server_error]  # 503 and 504 are in the document, and no faults
    if case.path.endswith(CONTENT):
        excluded.append(positive_data_acceptance)
    response = case.call(base_url=address)
    if response.status_code == 413:  # a refusal too
        excluded.append(negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded)
    assert response.status_code != 500
