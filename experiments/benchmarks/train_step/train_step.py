"""The training step of train_step.cpp with PyTorch and diffusers' U-Net, on what make_model.py wrote: a line of JSON."""

import argparse
import json
import pathlib
import resource
import statistics
import time

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=10.0)
parser.add_argument("--steps", type=int, default=0, help="exactly so many instead, none of them warm-up")
parser.add_argument("--device", default="cpu")
parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
parser.add_argument("--recompute", action="store_true")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()

torch.set_num_threads(options.threads)
device = torch.device(options.device)
unet = UNet2DConditionModel.from_pretrained(options.folder / "unet").to(device).train()
scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
inputs = {name: tensor.to(device) for name, tensor in load_file(options.folder / "inputs.safetensors").items()}
latents, noise, timesteps, text = (inputs[name] for name in ("latents", "noise", "timesteps", "text"))
if options.channels_last:
    unet = unet.to(memory_format=torch.channels_last)
    latents = latents.contiguous(memory_format=torch.channels_last)
if options.recompute:
    unet.enable_gradient_checkpointing()
network = torch.compile(unet) if options.compile else unet
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5, betas=(0.9, 0.99), fused=True)


def synchronise():
    if device.type == "cuda":
        torch.cuda.synchronize()


def step():
    with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        noised = scheduler.add_noise(latents, noise, timesteps)
        target = scheduler.get_velocity(latents, noise, timesteps)
        output = network(noised, timesteps, text).sample
        loss = torch.nn.functional.mse_loss(output.float(), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


# Between laps the clock is read; on a GPU a lap is several steps, so that they queue as in a training.
lap = 1 if options.steps > 0 or device.type == "cpu" else 5
losses = []


def run_lap():
    for _ in range(lap):
        loss = step()
        if len(losses) < 2:
            losses.append(loss.item())
    synchronise()


if options.steps == 0:
    run_lap()
    run_lap()
synchronise()
times = []
begin = last = time.perf_counter()
while len(times) < options.steps if options.steps > 0 else last - begin < options.seconds:
    run_lap()
    now = time.perf_counter()
    times.append(now - last)
    last = now
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
if device.type == "cuda":
    peak = torch.cuda.max_memory_allocated() // 2**20
names = ["diffusers", "channels last" if options.channels_last else "", "compiled" if options.compile else ""]
print(
    json.dumps(
        {
            "program": ", ".join(filter(None, names)),
            "threads": options.threads,
            "batch": latents.shape[0],
            "parameters": sum(p.numel() for p in unet.parameters()),
            "losses": losses,
            "median": lap * latents.shape[0] / statistics.median(times),
            "best": lap * latents.shape[0] / min(times),
            "steps": lap * len(times),
            "peak_mib": peak,
        }
    )
)
