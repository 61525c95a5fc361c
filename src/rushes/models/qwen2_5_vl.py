"""Qwen2.5-VL: Qwen2-VL whose positions in time follow the seconds between frames."""

from rushes.models.base import Inputs
from rushes.models.qwen2_vl import Qwen2_VL


class Qwen2_5_VL(Qwen2_VL):
    """Adapter for Qwen2_5_VLForConditionalGeneration."""

    families = ("qwen2_5_vl",)
    _timing = ("second_per_grid_ts",)

    def _time(self, inputs: Inputs) -> tuple[list[float], float]:
        seconds = inputs.get("second_per_grid_ts")
        per_second = float(self.config.vision_config.tokens_per_second)
        return [] if seconds is None else [float(s) for s in seconds], per_second
