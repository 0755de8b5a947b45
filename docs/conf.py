"""How ``make docs`` builds these pages and the API reference with Sphinx.

Pages are written for whoever reads them as files, so nothing in them is Sphinx's own: the order of
the pages is that of the links in the index, ``docs/README.md``.
"""

import ast
import functools
import importlib
import re
from pathlib import Path
from typing import Any, TypeVar

from docutils.nodes import Element, Node, document
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from fleetnet import __version__

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "README.md"

project = "Fleetnet"
author = "The Fleetnet authors"
release = __version__
html_title = f"Fleetnet {release}"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]

root_doc = "README"
include_patterns = ["*.md", "docs/**", "benchmarks/**/README.md", "examples/README.md"]
exclude_patterns = [".*", "build", "docs/api/modules.rst", "runs", "src", "tests"]

myst_heading_anchors = 4  # links to headings work as on the forges

# Of what docstrings refer to, all of ours must exist; other libraries' names lead nowhere here.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!fleetnet\.).*")]

apidoc_modules = [
    {
        "path": ROOT / "src" / "fleetnet",
        "destination": "docs/api",
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_default_options = {"ignore-module-all": True}  # a name has one home
autodoc_mock_imports = ["mlflow", "ray", "wandb"]  # big, and needed by few files
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def contents() -> str:
    """Return the tree of pages, in the order and under the headings of the index."""
    lines = ["", "```{toctree}", ":hidden:", "", "docs/README", "```"]
    for section in INDEX.read_text("utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        lines += ["", "```{toctree}", ":hidden:", f":caption: {heading}", ""]
        for link in re.findall(r"\]\(([^)#:]+)\.md\)", text):
            lines.append((INDEX.parent / link).resolve().relative_to(ROOT).as_posix())
        lines.append("```")
    return "\n".join(lines)


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the tree of pages on the first page."""
    if page == root_doc:
        source[0] += contents()


def keep_colons(
    _app: Sphinx, what: str, _name: str, _found: object, _options: object, lines: list[str]
) -> None:
    """Keep Napoleon from taking what stands before a variable's first colon for its type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")


@functools.cache
def imported_from(module: str) -> dict[str, str]:
    """Return the names that a module imports, for annotations too, with where each is from."""
    source = Path(str(importlib.import_module(module).__file__)).read_text("utf-8")
    imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    return {
        alias.asname or alias.name: str(node.module) for node in imports for alias in node.names
    }


def home_of(module: str, name: str) -> str:
    """Return the module that defines a name which another has, be it by way of a third."""
    while name in imported_from(module):
        module = imported_from(module)[name]
        if not module.startswith("fleetnet"):
            break
    return module


def name_fully(_app: Sphinx, page: document) -> None:
    """Say which class a name in an annotation means: several modules have a ``Source``."""
    for reference in page.findall(pending_xref):
        name, module = str(reference.get("reftarget")), str(reference.get("py:module"))
        if not module.startswith("fleetnet") or name not in imported_from(module):
            continue
        home = home_of(module, name)
        # Aliases of types have no page, and stay the text that they are.
        if home.startswith("fleetnet") and isinstance(
            getattr(importlib.import_module(home), name, None), type
        ):
            reference["reftarget"] = f"{home}.{name}"


def find_home(
    app: Sphinx, environment: BuildEnvironment, reference: pending_xref, content: Element
) -> Node | None:
    """Lead a name that a package only passes on, ``fleetnet.Bundle``, to where it is defined.

    Type variables and private classes in annotations have no page: they stay text.
    """
    package, _, name = str(reference.get("reftarget")).rpartition(".")
    if reference.get("refdomain") != "py" or not package.startswith("fleetnet"):
        return None
    try:
        found: Any = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError):
        return None
    if isinstance(found, TypeVar) or name.startswith("_"):
        return content
    if hasattr(found, "__qualname__"):
        target = f"{found.__module__}.{found.__qualname__}"
    else:
        target = f"{home_of(package, name)}.{name}"
    python = environment.domains.python_domain
    return python.resolve_xref(
        environment,
        reference["refdoc"],
        app.builder,
        reference["reftype"],
        target,
        reference,
        content,
    )


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before Napoleon
    app.connect("doctree-read", name_fully)
    app.connect("missing-reference", find_home)
