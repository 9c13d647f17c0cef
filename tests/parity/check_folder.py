"""Checks that diffusers and transformers read a model folder that soup wrote, and compute what soup computes.

    python tests/parity/check_folder.py EXPORT_FOLDER_PROGRAM [MODEL_FOLDER...]

Needs torch, diffusers, transformers and safetensors; set_up.sh makes environments that have them. The further model
folders are only loaded. Fails on any warning that the libraries log while loading.
"""

import json
import logging
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

import diffusers
import torch
import transformers
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
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


def same_in_all_versions(tokenizer, text):
    """Soup cuts text as transformers 5 does. transformers 4 differs from it, and its two tokenizers from each other."""
    if transformers.__version__.startswith("5."):
        return True
    if any(text.count(token) != text.lower().count(token) for token in ("<|startoftext|>", "<|endoftext|>")):
        return False  # in capitals they are special tokens to 4 and plain text to 5
    return tokenizer.is_fast or (text.isascii() and text.isprintable())  # the slow one cleans in its own way


# Said, because without the package accelerate diffusers warns where it is left open.
PLAINLY = {"low_cpu_mem_usage": False}


def load(folder):
    """U-Net and text encoder: every tensor found, none left over, no warning."""
    collector = Collector()
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).addHandler(collector)
    unet, unet_report = UNet2DConditionModel.from_pretrained(folder / "unet", output_loading_info=True, **PLAINLY)
    text_encoder, text_report = CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)
    # The autoencoder is soup's own: the pipeline works on latents.
    pipeline = StableDiffusionPipeline.from_pretrained(folder, vae=None, **PLAINLY)
    for report in (unet_report, text_report):
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not report[kind], (kind, report[kind])
    assert not collector.lines, collector.lines
    print(f"{folder.name}: loads without a warning")
    return unet, text_encoder, pipeline


def check(program, folder):
    strings = TRICKY + random_strings(random.Random(1), 10_000 - len(TRICKY))
    (folder / "strings.json").write_text(json.dumps(strings))
    subprocess.run([program, folder, folder / "strings.json"], check=True)
    unet, text_encoder, pipeline = load(folder)
    ema = UNet2DConditionModel.from_pretrained(folder, subfolder="unet_ema", **PLAINLY)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    tokenizers = [t.from_pretrained(folder / "tokenizer") for t in (CLIPTokenizer, CLIPTokenizerFast)]
    written = json.loads((folder / "unet" / "config.json").read_text())
    assert set(written) == set(unet.config.keys()) - {"_name_or_path", "_use_default_values"}, "keys of unet/config.json"

    expected_ids = json.loads((folder / "ids.json").read_text())
    length = tokenizers[0].model_max_length
    for tokenizer in tokenizers:
        ids = [tokenizer(s, padding="max_length", truncation=True, max_length=length)["input_ids"] for s in strings]
        compared = [i for i in range(len(strings)) if same_in_all_versions(tokenizer, strings[i])]
        different = [i for i in compared if ids[i] != expected_ids[i]]
        for i in different[:5]:
            print(repr(strings[i][:80]), ids[i], expected_ids[i])
        print(f"{type(tokenizer).__name__}: {len(different)} of {len(compared)} strings differ")
        assert len(compared) > 500 and not different

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
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        prompts, latents=tensors["sample"], num_inference_steps=10, guidance_scale=3.0, output_type="latent"
    ).images
    close("the same by StableDiffusionPipeline", tensors["sampled"], images)


if __name__ == "__main__":
    print(*(f"{library.__name__} {library.__version__}" for library in (torch, diffusers, transformers)), sep=", ")
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as temporary:
        check(sys.argv[1], pathlib.Path(temporary))
    for model in sys.argv[2:]:
        load(pathlib.Path(model))
