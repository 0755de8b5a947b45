"""An app for Android that shows what the camera sees and its most probable classes."""

from __future__ import annotations

from importlib.resources import files as resources

from fleetnet.bundle import Manifest
from fleetnet.export.native_program import library
from fleetnet.export.targets.target import Files

ASSETS = "app/src/main/assets"
"""Where the network's files lie in a project."""
_MAIN = "app/src/main"
_KOTLIN = f"{_MAIN}/java/org/fleetnet/classify"
_PLACES = {
    "settings.gradle.kts": "settings.gradle.kts",
    "build.gradle.kts": "build.gradle.kts",
    "gradle.properties": "gradle.properties",
    "app.gradle.kts": "app/build.gradle.kts",
    "AndroidManifest.xml": f"{_MAIN}/AndroidManifest.xml",
    "activity.xml": f"{_MAIN}/res/layout/activity.xml",
    "strings.xml": f"{_MAIN}/res/values/strings.xml",
    "MainActivity.kt": f"{_KOTLIN}/MainActivity.kt",
    "NcnnNetwork.kt": f"{_KOTLIN}/NcnnNetwork.kt",
}
_LITERT = ("Classifier.kt", "LiteRtNetwork.kt", "Native.kt", "Pixels.kt")


def project(manifest: Manifest) -> Files:
    """Return the project's files, but for those in :data:`ASSETS`, by their paths."""
    return {
        **{place: _source(name) for name, place in _PLACES.items()},
        **{f"{_KOTLIN}/{name}": _source(name) for name in _LITERT},
        **{f"{_MAIN}/cpp/{name}": content for name, content in library(manifest).items()},
    }


def kotlin(_files: Files, manifest: Manifest) -> Files:
    """Return what an app of one's own takes for LiteRT: sources in Kotlin, and of the C core."""
    return {
        **{f"android/{name}": _source(name) for name in _LITERT},
        **{f"android/cpp/{name}": content for name, content in library(manifest).items()},
    }


def _source(name: str) -> bytes:
    return (resources("fleetnet.export") / "android_project" / name).read_bytes()
