"""LLaVA-NeXT-Video: frames of 24 x 24 patches pooled to 12 x 12 cells, nothing between them."""

from rushes.models.llava import Llava


class LlavaNextVideo(Llava):
    """Adapter for LlavaNextVideoForConditionalGeneration, on a Llama or a Mistral."""

    families = ("llava_next_video",)
    must_agree = (
        "video_token_id",
        "image_token_id",
        "vision_config.image_size",
        "vision_config.patch_size",
        "vision_feature_select_strategy",
        "spatial_pool_mode",
        "spatial_pool_stride",
    )
    max_frames = 16  # 2,304 tokens; 32 frames are more than the 4,096 that the checkpoints hold

    def _pooled(self, side: int) -> int:
        return side // int(self.config.spatial_pool_stride)
