"""What lmms-eval finds: `lmms-eval --model rushes --model_args target=...,draft=... --tasks mvbench`.

The entry-point group `lmms_eval.models` holds callables that give a `ModelManifest` (lmms-eval 0.7.3,
models/registry_v2.py `load_entrypoint_manifests`; the group is there since 0.6). Every run of lmms-eval calls them, so
the model itself, which imports torch and transformers, is named here and not imported.
"""

from typing import Any

MODEL = "rushes.integrations.lmms_model.Rushes"


def manifest() -> Any:
    """The `ModelManifest` of the model `rushes`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="rushes", simple_class_path=MODEL)
