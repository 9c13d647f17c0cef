"""Checks that soup reads model folders that diffusers and transformers wrote, and computes what they compute.

    python tests/parity/check_reading.py READ_FOLDER_PROGRAM

Small Stable Diffusion 1 and 2 with random weights: saved whole, in several files, and in half precision.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from comparison import close, same_ids
from make_fixtures import random_weights
from strings import TRICKY, random_strings

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "parity"
PROMPTS = ["a red folder with a small arrow", "", "an icon of a printer, in the style of tango; " * 3]
NOISE = dict(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False
)


def make_pipeline(seed, tokenizer, activation, scheduler, **unet_options):
    tokenizer = CLIPTokenizer.from_pretrained(FIXTURES / tokenizer)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=3,
            max_position_embeddings=tokenizer.model_max_length,
            hidden_act=activation,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 24, 32, 32),
        norm_num_groups=4,
        cross_attention_dim=24,
        **unet_options,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=4,
        sample_size=64,
    )
    for i, module in enumerate((text_encoder, unet, vae)):
        random_weights(module, seed + i)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def check(program, pipeline, strings, work, dtype, **saving):
    folder = work / "model"
    pipeline.to(dtype).save_pretrained(folder, **saving)
    pipeline.to(torch.float32)  # with the numbers that were saved
    print(len(list(folder.rglob("*.safetensors"))), "files of weights")
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "sample": torch.randn(3, 4, 8, 8, generator=generator),
        "timesteps": torch.tensor([1, 500, 999]),
        "images": torch.rand(2, 3, 64, 48, generator=generator) * 2 - 1,
        "latents": torch.randn(2, 4, 5, 8, generator=generator),
    }
    save_file(inputs, work / "inputs.safetensors")
    (work / "prompts.json").write_text(json.dumps(PROMPTS))
    (work / "strings.json").write_text(json.dumps(strings))
    subprocess.run([program, folder, work], check=True)

    found = load_file(work / "outputs.safetensors")
    tokenizer, text_encoder, vae = pipeline.tokenizer, pipeline.text_encoder, pipeline.vae
    ids = tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt"
    )["input_ids"]
    with torch.no_grad():
        states = text_encoder(ids, output_hidden_states=True)
        text = states.last_hidden_state
        close("text states", found["text"], text)
        # As StableDiffusionPipeline.encode_prompt does with clip_skip = 1, which fails with transformers 5.
        final_norm = getattr(text_encoder, "text_model", text_encoder).final_layer_norm
        close("text states of the layer before", found["penultimate_text"], final_norm(states.hidden_states[-2]))
        output = pipeline.unet(inputs["sample"], inputs["timesteps"], text).sample
        close("U-Net", found["output"], output)
        close("moments", found["moments"], vae.encode(inputs["images"]).latent_dist.parameters)
        images = vae.decode(inputs["latents"] / vae.config.scaling_factor).sample
        close("decoded", found["decoded"], images)
    if strings:
        same_ids(tokenizer, strings, json.loads((work / "ids.json").read_text()))
    assert json.loads((work / "remarks.json").read_text()) == []


def main(program):
    strings = TRICKY + random_strings(random.Random(2), 10_000 - len(TRICKY))
    first = make_pipeline(
        1, "tokenizer", "quick_gelu", PNDMScheduler(skip_prk_steps=True, **NOISE)
    )
    second = make_pipeline(
        11,
        "tokenizer_objects",
        "gelu",
        DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **NOISE),
        attention_head_dim=(2, 3, 4, 4),
        use_linear_projection=True,
        upcast_attention=True,
    )
    forms = [
        ("one file a part", strings, torch.float32, {}),
        ("several files a part", [], torch.float32, {"max_shard_size": "100KB"}),
        ("half precision", [], torch.float16, {"variant": "fp16"}),
    ]
    for name, pipeline in (("Stable Diffusion 1", first), ("Stable Diffusion 2", second)):
        for form, compared, dtype, saving in forms:
            print(f"{name}, {form}")
            with tempfile.TemporaryDirectory() as work:
                check(program, pipeline, compared, pathlib.Path(work), dtype, **saving)


if __name__ == "__main__":
    print(*(f"{library.__name__} {library.__version__}" for library in (torch, diffusers, transformers)), sep=", ")
    main(sys.argv[1])
