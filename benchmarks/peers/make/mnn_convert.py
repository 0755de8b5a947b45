"""MNN's converter, only its compiled part, in the environment of MNN.

The program ``mnnconvert`` around it installs a package with whatever ``pip`` comes first, and
reports each conversion to its makers.
"""

from __future__ import annotations

import sys

from _tools import mnnconvert  # at the top of MNN's wheel

mnnconvert(["mnnconvert", *sys.argv[1:]])
