"""What people write by hand: torch.stack(...).mean(0) of every tensor, through the safetensors package.

stack_mean.py OUTPUT INPUT...
"""

import contextlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

with contextlib.ExitStack() as stack:
    files = [stack.enter_context(safe_open(path, "pt")) for path in sys.argv[2:]]
    mean = {name: torch.stack([file.get_tensor(name) for file in files]).mean(0) for name in files[0].keys()}
    save_file(mean, sys.argv[1], metadata={"format": "pt"})
