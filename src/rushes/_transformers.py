"""The one door to transformers: its vision modules import torchvision, which must be made importable first.

Modules write `from rushes._transformers import transformers`, never `import transformers`.
"""

from rushes._torchvision import ensure_torchvision

ensure_torchvision()

import transformers  # noqa: E402

__all__ = ["transformers"]
