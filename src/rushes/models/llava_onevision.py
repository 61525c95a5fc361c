"""LLaVA-OneVision: frames of 27 x 27 patches pooled to 14 x 14 cells, and one newline behind each video."""

from rushes.models.llava import Llava


class LlavaOnevision(Llava):
    """Adapter for LlavaOnevisionForConditionalGeneration."""

    families = ("llava_onevision",)
    must_agree = (
        "video_token_id",
        "image_token_id",
        "vision_config.image_size",
        "vision_config.patch_size",
        "vision_feature_select_strategy",
        "vision_aspect_ratio",
    )
    max_frames = 32  # what the checkpoints were trained with
    image_options = ("image_sizes", "batch_num_images")
    ends_videos = True

    def _pooled(self, side: int) -> int:
        return -(-side // 2)
