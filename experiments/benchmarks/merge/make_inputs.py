"""Writes K model files of 64 tensors, 1 GiB in all each, as fine-tunings of one base: make_inputs.py FOLDER K f32|bf16 [MIB]."""

import pathlib
import sys

import torch
from safetensors.torch import save_file

folder, count, dtype = pathlib.Path(sys.argv[1]), int(sys.argv[2]), {"f32": torch.float32, "bf16": torch.bfloat16}[sys.argv[3]]
tensor_bytes = int(sys.argv[4] if len(sys.argv) > 4 else 1024) * 2**20 // 64
columns = 1024
rows = tensor_bytes // dtype.itemsize // columns
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
base = 0.03 * torch.randn(rows, columns)
for k in range(count):
    delta = 0.001 * torch.randn(rows, columns)
    tensors = {f"layer.{i:02d}.weight": (base.roll(i * 77) + delta.roll(i * 13)).to(dtype) for i in range(64)}
    save_file(tensors, folder / f"{sys.argv[3]}_{k:02d}.safetensors", metadata={"format": "pt"})
