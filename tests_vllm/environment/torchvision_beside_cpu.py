"""Run at the start of every Python of the test environment, vLLM's spawned processes among them.

The registry's torchvision does not import beside a CPU build of torch; `rushes._torchvision` knows what to do, but vLLM
imports torchvision before it loads any plug-in. So the moment of that import is caught here, and nothing is imported
before it.
"""

import sys
from importlib.abc import MetaPathFinder


class BesideCpu(MetaPathFinder):
    """Finds nothing; declares torchvision's operators when somebody looks for it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            if "rushes._torchvision" not in sys.modules:  # else it is rushes that looks, and about to do it
                from rushes._torchvision import ensure_torchvision

                ensure_torchvision()


sys.meta_path.insert(0, BesideCpu())
