"""The training step of train_step.cpp with PyTorch eager and diffusers' U-Net: images per second as JSON."""

import argparse
import json
import resource
import statistics
import time

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--size", type=int, default=16)
parser.add_argument("--in-channels", type=int, default=3)
parser.add_argument("--text-length", type=int, default=16)
parser.add_argument("--channels", type=lambda text: tuple(map(int, text.split(","))), default=(32, 64, 96))
parser.add_argument("--seconds", type=float, default=10.0)
parser.add_argument("--channels-last", action="store_true")
options = parser.parse_args()

torch.set_num_threads(options.threads)
unet = UNet2DConditionModel(
    sample_size=options.size,
    in_channels=options.in_channels,
    out_channels=options.in_channels,
    down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    block_out_channels=options.channels,
    layers_per_block=1,
    attention_head_dim=4,
    cross_attention_dim=96,
    norm_num_groups=8,
    use_linear_projection=True,
).train()
scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
latents = torch.randn(options.batch, options.in_channels, options.size, options.size)
text = torch.randn(options.batch, options.text_length, 96)
if options.channels_last:
    unet = unet.to(memory_format=torch.channels_last)
    latents = latents.contiguous(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, fused=True)


def step():
    timesteps = torch.randint(0, 1000, (options.batch,))
    noise = torch.randn_like(latents)
    noised = scheduler.add_noise(latents, noise, timesteps)
    target = scheduler.get_velocity(latents, noise, timesteps)
    loss = torch.nn.functional.mse_loss(unet(noised, timesteps, text).sample, target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


step()
step()
rates = []
begin = last = time.perf_counter()
while last - begin < options.seconds:
    step()
    now = time.perf_counter()
    rates.append(options.batch / (now - last))
    last = now
print(
    json.dumps(
        {
            "program": "diffusers, channels last" if options.channels_last else "diffusers",
            "threads": options.threads,
            "channels": options.channels,
            "in_channels": options.in_channels,
            "size": options.size,
            "parameters": sum(p.numel() for p in unet.parameters()),
            "median": statistics.median(rates),
            "best": max(rates),
            "steps": len(rates),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    )
)
