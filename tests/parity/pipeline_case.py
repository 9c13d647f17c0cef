"""A whole small Stable Diffusion 2 as diffusers writes it, for make_fixtures.py."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from schedule_cases import SCHEDULES


def pipeline_case(folder, tokenizer_folder, captions, random_weights):
    """A whole small Stable Diffusion 2, as save_pretrained writes it, and the latents it makes of given noise."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.model_max_length,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
    )
    for seed, module in enumerate((text_encoder, unet, vae)):
        random_weights(module, 200 + seed)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            prediction_type="v_prediction",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            **{"beta_schedule": "scaled_linear"},
            **SCHEDULES["scaled_linear"],
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "model")
    # As people have it: a scheduler made from a configuration in memory forgets what it was not told in so many words.
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "model")
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(210))
    tensors = {"noise": noise}
    for name, scheduler, options in [
        ("ddim", DDIMScheduler, {}),
        ("euler", EulerDiscreteScheduler, {}),
        ("dpmpp_2m_karras", DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    ]:
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **options)
        tensors[name] = pipeline(
            captions[:2],
            negative_prompt=["trash can"] * 2,
            latents=noise,
            num_inference_steps=8,
            guidance_scale=4.0,
            guidance_rescale=0.5,
            output_type="latent",
        ).images
    tensors["images"] = vae.decode(tensors["ddim"] / vae.config.scaling_factor).sample.detach()
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "samples.safetensors")
