"""The OpenAPI document, written from the schema, and the page that shows it."""

from __future__ import annotations

import functools
import html
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import fleetnet
from fleetnet.serving.rest import schema

_JSON = "application/json"
_SCHEMAS: tuple[type[BaseModel], ...] = (
    schema.ClassifyRequest,
    schema.ClassifyResponse,
    schema.ErrorResponse,
    schema.ExplainResponse,
    schema.IndexEntry,
    schema.IndexRequest,
    schema.InferRequest,
    schema.InferResponse,
    schema.LoadRequest,
    schema.ModelCard,
    schema.ModelMetadata,
    schema.ServerMetadata,
)
_ERRORS = {
    "400": "The request or the image is not what is taken.",
    "401": "There is no token, or it is not known.",
    "403": "The token has not the role 'admin', or another site's page sent this.",
    "404": "There is no such path, model or version.",
    "408": "The body came too slowly.",
    "413": "The body or the number of images is over the limit.",
    "415": "The content is of a type that is not taken.",
    "431": "The headers are too long.",
    "429": "The queue is full: Retry-After says when to try again.",
    "503": "The service starts or is being stopped.",
    "504": "The deadline passed.",
}
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$", "maxLength": 100}
_MODEL = {"name": "model", "in": "path", "required": True, "schema": _NAME}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": _NAME}
_TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "After so many milliseconds the answer is worth nothing.",
    "schema": {"type": "number", "minimum": 0, "maximum": 3_600_000},
}
_QUERY = [
    {"name": name, "in": "query", "description": text, "schema": kind}
    for name, text, kind in (
        ("model", "Name or alias; may be left out where one model is loaded.", {"type": "string"}),
        ("version", "Left out, the default answers.", {"type": "string"}),
        ("top_k", "Classes to name.", {"type": "integer", "minimum": 1, "default": 5}),
        ("probabilities", "Of all classes too.", {"type": "boolean", "default": False}),
        ("embeddings", "Where the bundle can.", {"type": "boolean", "default": False}),
    )
]
_CLASS = {
    "name": "class",
    "in": "query",
    "description": "Index of the class to look for; left out, the most probable one.",
    "schema": {"type": "integer", "minimum": 0},
}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of JSON before binary tensors; left out where all is JSON.",
    "schema": {"type": "integer", "minimum": 0},
}
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_IMAGE = {"image/*": {"schema": {"type": "string", "format": "binary"}}, **_BYTES}
_IMAGES = {
    **_IMAGE,
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "image": {"type": "array", "items": {"type": "string", "format": "binary"}}
            },
        }
    },
}


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return the document, in version 3.1."""
    _, made = models_json_schema(
        [(each, "validation") for each in _SCHEMAS], ref_template="#/components/schemas/{model}"
    )
    names = {"ErrorResponse": schema.ErrorResponse}
    assert all(name in made["$defs"] for name in names)  # noqa: S101 - what every error refers to
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleetnet",
            "version": fleetnet.__version__,
            "description": "Image classifiers over HTTP.",
        },
        "paths": _paths(),
        "components": {
            "schemas": made["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"key": []}, {}],
    }


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/classify": {
            "post": _operation(
                "Classify images", "ClassifyResponse", body="ClassifyRequest", content=_IMAGES,
                parameters=[*_QUERY, _TIMEOUT], or_400="ClassifyResponse",
            )
        },
        "/explain": {
            "post": _operation(
                "Say where in an image a class is found", "ExplainResponse", content=_IMAGE,
                parameters=[*_QUERY[:2], _CLASS, _TIMEOUT],
            )
        },
        "/v2": {"get": _operation("What the server is", "ServerMetadata")},
        "/v2/health/live": {"get": _operation("Whether the process is alive", None)},
        "/v2/health/ready": {"get": _operation("Whether requests are answered", None)},
        "/v2/repository/index": {
            "post": _operation("What is loaded and could be", "IndexEntry", many=True,
                               body="IndexRequest", needed=False)
        },
        "/metrics": {"get": _operation("Figures for Prometheus", None, plain=True)},
    }  # fmt: skip
    for verb in ("load", "unload"):
        paths[f"/v2/repository/models/{{model}}/{verb}"] = {
            "post": _operation(
                f"{verb.capitalize()} a model, which takes the role 'admin'", None,
                body="LoadRequest", needed=False, parameters=[_MODEL],
            )
        }  # fmt: skip
    for path, parameters in (
        ("/models/{model}/card", [_MODEL]),
        ("/models/{model}/versions/{version}/card", [_MODEL, _VERSION]),
    ):
        paths[path] = {
            "get": _operation("What is known of a model", "ModelCard", parameters=parameters)
        }
    for path, parameters in (
        ("/v2/models/{model}", [_MODEL]),
        ("/v2/models/{model}/versions/{version}", [_MODEL, _VERSION]),
    ):
        paths[path] = {
            "get": _operation("What a model takes and gives", "ModelMetadata",
                              parameters=parameters)
        }  # fmt: skip
        paths[f"{path}/ready"] = {
            "get": _operation("Whether a model is ready", None, parameters=parameters)
        }
        paths[f"{path}/infer"] = {
            "post": _operation(
                "Infer, by the Open Inference Protocol; JSON, or JSON before binary tensors",
                "InferResponse", body="InferRequest", content=_BYTES,
                parameters=[*parameters, _TIMEOUT, _LENGTH],
            )
        }  # fmt: skip
        answered = paths[f"{path}/infer"]["post"]["responses"]["200"]
        answered["content"] |= _BYTES
        answered["headers"] = {_LENGTH["name"]: {"schema": _LENGTH["schema"]}}
    return paths


def _operation(
    summary: str,
    answer: str | None,
    *,
    body: str | None = None,
    content: dict[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    many: bool = False,
    needed: bool = True,
    plain: bool = False,
    or_400: str | None = None,
) -> dict[str, Any]:
    kind: dict[str, Any] = _reference(answer) if answer else {"type": "object"}
    if many:
        kind = {"type": "array", "items": kind}
    shown = {"text/plain": {"schema": {"type": "string"}}} if plain else {_JSON: {"schema": kind}}
    wrong = {_JSON: {"schema": _reference("ErrorResponse")}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": shown},
            **{status: {"description": text, "content": wrong} for status, text in _ERRORS.items()},
        },
    }
    for status in ("429", "503"):
        operation["responses"][status]["headers"] = {
            "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}
        }
    if or_400 is not None:  # of several images none can be read, and each says why
        either = [_reference("ErrorResponse"), _reference(or_400)]
        refused = operation["responses"]["400"]
        operation["responses"]["400"] = {
            **refused,
            "content": {_JSON: {"schema": {"anyOf": either}}},
        }
    if parameters:
        operation["parameters"] = parameters
    if body is not None or content is not None:
        kinds = {**({_JSON: {"schema": _reference(body)}} if body else {}), **(content or {})}
        operation["requestBody"] = {"required": needed, "content": kinds}
    return operation


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@functools.cache
def docs_page() -> str:
    """Return the document as a page of HTML that loads nothing."""
    rows = []
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            named = ", ".join(one["name"] for one in operation.get("parameters", []))
            kinds = ", ".join(operation.get("requestBody", {}).get("content", {}))
            rows.append(
                f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
                f"<td>{html.escape(operation['summary'])}</td>"
                f"<td>{html.escape(named)}</td><td>{html.escape(kinds)}</td></tr>"
            )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Fleetnet: HTTP interface</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/style.css"></head><body class="docs">
<header class="top"><a class="brand" href="/">Fleetnet</a>
<nav aria-label="Pages"><a href="/">Playground</a>
<a href="/openapi.json">openapi.json</a></nav></header>
<main><h1>HTTP interface</h1>
<p class="soft">For programs it is described in full in
<a href="/openapi.json">openapi.json</a>.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Requests"><table>
<thead><tr><th>Request</th><th>What for</th><th>Parameters</th><th>Body</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table></div></main></body></html>
"""
