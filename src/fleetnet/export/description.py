"""The page of information that comes with converted files."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

from fleetnet.amounts import count
from fleetnet.bundle import MANIFEST, Artifact, Manifest, Verification
from fleetnet.export.targets import Target
from fleetnet.export.targets.target import plain_name
from fleetnet.inference.judging import sentence

README = "README.md"
WIDTH = 100
"""Of lines, in signs."""


def description(target: Target, manifest: Manifest) -> str:
    """Return the page beside the files of a manifest's only artifact, which ``target`` made."""
    (artifact,) = manifest.artifacts
    values = {
        "file": artifact.files[0].name,
        "batch": artifact.batch or "N",
        "images": artifact.batch or 1,
        "crop": manifest.preprocess.crop,
        "name": plain_name(manifest),
    }
    folder = f"{target.version_folder}/" if target.version_folder else ""
    files = "\n".join(
        f"- `{folder}{file.name}`, {count(file.bytes, 'byte')}" for file in artifact.files
    )
    contract = _filled(_contract(target, manifest, folder), values)
    return f"""\
# {manifest.model.name} as {target.title} in {artifact.precision}

{files}
- `{folder}{MANIFEST}`: classes, preprocessing, hashes of the files, where the network is from

{fill(contract, WIDTH, break_long_words=False, break_on_hyphens=False)}

{_filled(target.how or _how(target), values)}
{_rejection(target, manifest)}
{_verification(target, manifest)}
"""


def _filled(text: str, values: Mapping[str, object]) -> str:
    """Put values where a text has their names in braces; other braces are a language's own."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _contract(target: Target, manifest: Manifest, folder: str) -> str:
    """Return what the files take and give, in the bundle's own numbers."""
    preprocess, model = manifest.preprocess, manifest.model
    taken = target.takes or "`uint8[{batch}, {crop}, {crop}, 3]`, RGB"
    mean, std = (
        " ".join(f"{one:.4g}" for one in channels) for channels in (preprocess.mean, preprocess.std)
    )
    divided = "" if manifest.temperature == 1 else f", divided by {manifest.temperature!r},"
    return (
        f"Takes {taken}. An upright picture becomes that as `preprocess` in `{folder}{MANIFEST}` "
        f"says: its short side is resized to {preprocess.resize} ({preprocess.interpolation}), and "
        f"a square of {preprocess.crop} is cut from the middle. Normalisation (mean {mean}, "
        f"standard deviation {std}) is inside. Gives logits, "
        f"`{target.gives}[{{batch}}, {model.num_classes}]`, which{divided} become probabilities by "
        f"{model.activation}."
    )


_SCORES = {
    "energy": "the natural logarithm of the sum of the logits' exponentials",
    "max-logit": "the largest logit",
    "probability": "the largest probability: softmax of the logits",
}


def _rejection(target: Target, manifest: Manifest) -> str:
    """Return from which certainty on an answer counts; only a line's end if every one does."""
    rejection = manifest.rejection
    if rejection is None:
        return ""
    divided = rejection.score == "probability" and manifest.temperature != 1
    images = count(rejection.images, "image")
    who = (
        "What answers with the files compares by itself."
        if target.rejects
        else "The files give logits and reject nothing by themselves, nor do programs beside them: "
        "compare."
    )
    what = _SCORES[rejection.score] + (f" / {manifest.temperature!r}" if divided else "")
    return f"""
**Not every answer counts.** An image is to be rejected if its score is below
{rejection.threshold!r}, or is not a number; the score is {what}. That accepted
{rejection.coverage:.1%} of {images} in fp32, {rejection.risk:.1%} of those wrong.
{who}{_moved(manifest)}
"""


def _moved(manifest: Manifest) -> str:
    """Say of scores that fewer bits move."""
    (artifact,) = manifest.artifacts
    if artifact.precision == "fp32":
        return ""
    return (
        f"\nIn {artifact.precision}, scores are not quite those of fp32: count anew on images of "
        "yours."
    )


def _how(target: Target) -> str:
    return f"To run it: `pip install {target.package}`, then\n\n    {target.command}"


def _verification(target: Target, manifest: Manifest) -> str:
    (artifact,) = manifest.artifacts
    if not artifact.verification:
        return f"Not verified: nothing where it was made runs {target.title}."
    (record,) = artifact.verification
    return _made(artifact) + (
        f"Verified with {record.engine} {record.engine_version} against the trained network on "
        f"{count(record.images, 'image')} ({record.source}):\n"
        f"probabilities differ by up to {record.max_abs_diff:.1e}, the most probable class is the "
        f"same on {record.top1_agreement:.1%}.{_judged(record)}"
    )


def _made(artifact: Artifact) -> str:
    """Return what rounded a network to int8, and whose weights, if it was calibrated here."""
    if artifact.quantization is None:
        return ""
    return fill(f"int8 by {artifact.quantization.tool}.", WIDTH, break_on_hyphens=False) + "\n\n"


def _judged(record: Verification) -> str:
    """Return what fewer bits lost, if that was judged."""
    return f"\nIt {sentence(record.judgement)}." if record.judgement else ""
