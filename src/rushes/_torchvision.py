"""Make torchvision importable beside a CPU build of torch.

The registry's torchvision is linked against CUDA. Beside a CPU torch its C++ library does not load, and its import
dies when it registers Python kernels for operators that were never declared ("operator torchvision::nms does not
exist"). Every video processor of transformers imports torchvision, but none uses those operators, so declaring their
schemas is enough. On an installation whose torchvision loads its own library this module does nothing.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def ensure_torchvision() -> torch.library.Library | None:
    """Declare torchvision's missing operators, once, if its own library cannot be loaded.

    Call it before anything imports torchvision. Returns the library handle, which the cache keeps alive (the
    declarations last as long as it does), or None when nothing had to be done.
    """
    if "torchvision" in sys.modules or _native_operators_load():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


def _native_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: let the importer say so
    natives = [p for p in Path(spec.origin).parent.glob("_C*") if p.suffix in {".so", ".pyd", ".dylib"}]
    try:
        for native in natives:
            torch.ops.load_library(str(native))
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")
