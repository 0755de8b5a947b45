"""Core ML, for iPhones, iPads and Macs: converted here, and run on Apple's systems only."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.separate import Environment, convert
from fleetnet.export.swift_program import program
from fleetnet.export.targets.target import Files, Target, only_one_image

ENVIRONMENT = Environment("coreml", megabytes=900)
FILE = "model.mlpackage.zip"
_HOW = """\
`unzip model.mlpackage.zip` gives `model.mlpackage`, an ML Program for iOS 15, macOS 12 and later,
to put into an Xcode project. Its only input is `pixels`, an RGB image, its only output `logits`. In
Swift, with `image` as a `CVPixelBuffer` of {crop} by {crop}:

    let network = try model(configuration: MLModelConfiguration())
    let logits = try network.prediction(pixels: image).logits

It computes with 32 bits, on the processor and the graphics: the Neural Engine knows 16 only.
Prediction was not run where this was made, as Core ML runs on Apple's systems alone; the package
was read again, and its input and output are as said here.

`main.swift` is a whole program for macOS, with what it has to know of this network in `Model.swift`
and Fleetnet's resizing in `core/`, which gives the pixels that Python gives, to the bit:

    unzip model.mlpackage.zip
    cc -c -O2 -ffp-contract=off core/*.c
    swiftc -O -I core main.swift Model.swift *.o -o classify
    ./classify photo.jpg

In an app, take `Picture` and `classify` of it. It was neither compiled nor run where it was
written: its syntax alone was checked."""


def to_mlpackage(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Convert the network to an ML Program that takes an image.

    A package is a folder; a bundle's files have plain names, so it is packed.

    Raises:
        FleetnetError: more than one image at a time was asked for, which Core ML's images are not.
    """
    only_one_image(batch, "Core ML")
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.program import PROGRAM, exported_program

    settings = {
        "crop": bundle.manifest.preprocess.crop,
        "classes": bundle.manifest.model.num_classes,
    }
    program = exported_program(bundle, planes=True)
    return convert(ENVIRONMENT, "coreml_convert", {PROGRAM: program}, (FILE,), settings)


TARGET = Target(
    name="coreml",
    title="Core ML",
    format="coreml",
    precisions=("fp32",),
    package="coremltools",
    command="",
    convert=to_mlpackage,
    how=_HOW,
    beside=program,
    takes="an RGB image of {crop} by {crop}, bytes from 0 to 255",
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("coremltools", "torch"),
    one_size=True,
)
