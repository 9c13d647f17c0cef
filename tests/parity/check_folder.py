"""Checks that diffusers and transformers read a model folder that soup wrote, and compute what soup computes.

    python tests/parity/check_folder.py EXPORT_FOLDER_PROGRAM

Needs torch, diffusers, transformers and safetensors. Fails on any warning that the libraries log while loading.
"""

import json
import logging
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer, CLIPTokenizerFast

from strings import TRICKY, random_strings


class Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def close(name, found, expected, tolerance=1e-4):
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: largest difference {error:.2e} of the largest value")
    assert error <= tolerance, name


def check(program, folder):
    strings = TRICKY + random_strings(random.Random(1), 10_000 - len(TRICKY))
    (folder / "strings.json").write_text(json.dumps(strings))
    subprocess.run([program, folder, folder / "strings.json"], check=True)
    collector = Collector()
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).addHandler(collector)
    warnings.simplefilter("error")

    unet, unet_report = UNet2DConditionModel.from_pretrained(folder / "unet", output_loading_info=True)
    ema = UNet2DConditionModel.from_pretrained(folder, subfolder="unet_ema")
    text_encoder, text_report = CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    tokenizers = [t.from_pretrained(folder / "tokenizer") for t in (CLIPTokenizer, CLIPTokenizerFast)]
    for report in (unet_report, text_report):
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not report[kind], (kind, report[kind])
    assert not collector.lines, collector.lines
    written = json.loads((folder / "unet" / "config.json").read_text())
    assert set(written) == set(unet.config.keys()) - {"_name_or_path", "_use_default_values"}, "keys of unet/config.json"

    expected_ids = json.loads((folder / "ids.json").read_text())
    length = tokenizers[0].model_max_length
    for tokenizer in tokenizers:
        ids = [tokenizer(s, padding="max_length", truncation=True, max_length=length)["input_ids"] for s in strings]
        different = [i for i in range(len(strings)) if ids[i] != expected_ids[i]]
        for i in different[:5]:
            print(repr(strings[i][:80]), ids[i], expected_ids[i])
        print(f"{type(tokenizer).__name__}: {len(different)} of {len(strings)} strings differ")
        assert not different

    tensors = load_file(folder / "outputs.safetensors")
    prompts = json.loads((folder / "prompts.json").read_text())

    def encode(texts):
        tokens = tokenizers[0](texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return text_encoder(tokens["input_ids"]).last_hidden_state

    with torch.no_grad():
        text = encode(prompts)
        close("text states", tensors["text"], text)
        for name, network in (("unet", unet), ("unet_ema", ema)):
            close(name, tensors["output"], network(tensors["sample"], tensors["timesteps"], text).sample)
        scheduler.set_timesteps(10)
        states = torch.cat([encode([""]).expand(3, -1, -1), text])
        sample = tensors["sample"]
        for t in scheduler.timesteps:
            without, with_text = unet(torch.cat([sample, sample]), t, states).sample.chunk(2)
            sample = scheduler.step(without + 3.0 * (with_text - without), t, sample).prev_sample
        close("10 guided DDIM steps", tensors["sampled"], sample)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        check(sys.argv[1], pathlib.Path(temporary))
