"""A U-Net with random weights and one batch for it, for both programs of this benchmark to train on.

    python make_model.py FOLDER {small,sd2} --batch N --size LATENT_PIXELS

small is the U-Net of configs/base-icons.yaml, sd2 that of Stable Diffusion 2 (866 million parameters). Writes unet/,
inputs.safetensors (latents, noise, timesteps, text) and work.json (floating-point operations of a step).
"""

import argparse
import json
import pathlib

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

MODELS = {
    "small": dict(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=96,
        norm_num_groups=8,
        use_linear_projection=True,
    ),
    "sd2": dict(attention_head_dim=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True),
}
TEXT_LENGTH = {"small": 16, "sd2": 77}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("model", choices=MODELS)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--size", type=int, required=True)
options = parser.parse_args()

torch.manual_seed(1)
config = MODELS[options.model]
unet = UNet2DConditionModel(sample_size=options.size, **config)
unet.save_pretrained(options.folder / "unet", max_shard_size="100GB")
shape = (options.batch, unet.config.in_channels, options.size, options.size)
inputs = {
    "latents": torch.randn(shape),
    "noise": torch.randn(shape),
    "timesteps": torch.randint(0, 1000, (options.batch,)),
    "text": torch.randn(options.batch, TEXT_LENGTH[options.model], config["cross_attention_dim"]),
}
save_file(inputs, options.folder / "inputs.safetensors")

# Forward, on shapes alone; the backward pass is twice that.
meta = unet.to("meta")
counter = FlopCounterMode(display=False)
with counter, torch.no_grad():
    meta(torch.empty(shape, device="meta"), torch.empty(options.batch, device="meta"), inputs["text"].to("meta"))
flops = 3 * counter.get_total_flops() / options.batch
(options.folder / "work.json").write_text(json.dumps({"model": options.model, "flops_per_image": flops}))
