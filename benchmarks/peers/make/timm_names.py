"""Write the names of a timm network's tensors in the order of its computing: NAME FILE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workers"))

from timm_side import timm

if __name__ == "__main__":
    state = timm.create_model(sys.argv[1]).state_dict()
    names = [key for key in state if not key.endswith("num_batches_tracked")]
    Path(sys.argv[2]).write_text(json.dumps(names), "utf-8")
