"""Checkpoint folders that are the bundled ones but for one thing."""

import json
from pathlib import Path
from typing import Any


def variant(folder: Path, source: str, drop: tuple[str, ...] = (), **contents: str | bytes) -> Path:
    """A folder with links to the files of `source`.

    Args:
        folder: To be made.
        source: A checkpoint folder.
        drop: Files to leave out.
        contents: Files to write instead, "config_json" for config.json.
    """
    folder.mkdir()
    written = {".".join(name.rsplit("_", 1)): content for name, content in contents.items()}
    for file in Path(source).iterdir():
        if file.name not in drop and file.name not in written:
            (folder / file.name).symlink_to(file)
    for name, content in written.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def config(source: str, text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **top: Any) -> str:
    """The config.json of `source` with other values."""
    made = json.loads((Path(source) / "config.json").read_text())
    made.update(top)
    made["text_config"].update(text or {})
    made["vision_config"].update(vision or {})
    return json.dumps(made)
