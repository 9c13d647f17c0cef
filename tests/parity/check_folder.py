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
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer, CLIPTokenizerFast

from comparison import close, same_ids
from strings import TRICKY, random_strings


class Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


# Said, because without the package accelerate diffusers warns where it is left open.
PLAINLY = {"low_cpu_mem_usage": False}


def load(folder):
    """U-Net, text encoder and VAE: every tensor found, none left over, no warning."""
    collector = Collector()
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).addHandler(collector)
    unet, unet_report = UNet2DConditionModel.from_pretrained(folder / "unet", output_loading_info=True, **PLAINLY)
    text_encoder, text_report = CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)
    reports = [unet_report, text_report]
    # Without vae/ the autoencoder is soup's own, and the pipeline works on latents.
    parts = {"vae": None}
    if (folder / "vae").exists():
        _, report = AutoencoderKL.from_pretrained(folder / "vae", output_loading_info=True, **PLAINLY)
        reports.append(report)
        parts = {}  # the pipeline finds it by itself
    pipeline = StableDiffusionPipeline.from_pretrained(folder, **parts, **PLAINLY)
    for report in reports:
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not report[kind], (kind, report[kind])
    assert not collector.lines, collector.lines
    print(f"{folder.name}: loads without a warning")
    return unet, text_encoder, pipeline


def check(folder, strings):
    unet, text_encoder, pipeline = load(folder)
    ema = UNet2DConditionModel.from_pretrained(folder, subfolder="unet_ema", **PLAINLY)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    tokenizers = [t.from_pretrained(folder / "tokenizer") for t in (CLIPTokenizer, CLIPTokenizerFast)]
    written = json.loads((folder / "unet" / "config.json").read_text())
    assert set(written) == set(unet.config.keys()) - {"_name_or_path", "_use_default_values"}, "keys of unet/config.json"

    soup_ids = json.loads((folder / "ids.json").read_text())
    length = tokenizers[0].model_max_length
    for tokenizer in tokenizers:
        same_ids(tokenizer, strings, soup_ids)

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
    if pipeline.vae is not None:
        check_images(pipeline, prompts, tensors)


def check_images(pipeline, prompts, tensors):
    """From noise to pixels by the whole pipeline, and back to moments."""
    written = json.loads(pathlib.Path(pipeline.vae.config._name_or_path, "config.json").read_text())
    keys = set(pipeline.vae.config.keys()) - {"_name_or_path", "_use_default_values"}
    assert set(written) == keys, "keys of vae/config.json"
    images = pipeline(
        prompts, latents=tensors["sample"], num_inference_steps=10, guidance_scale=3.0, output_type="pt"
    ).images
    assert 0.0 < images.std(), "one colour only"
    close("images by StableDiffusionPipeline", (tensors["images"] / 2 + 0.5).clamp(0, 1), images)
    with torch.no_grad():
        close("moments", tensors["moments"], pipeline.vae.encode(tensors["images"]).latent_dist.parameters)


if __name__ == "__main__":
    print(*(f"{library.__name__} {library.__version__}" for library in (torch, diffusers, transformers)), sep=", ")
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as temporary:
        strings = TRICKY + random_strings(random.Random(1), 10_000 - len(TRICKY))
        (pathlib.Path(temporary) / "strings.json").write_text(json.dumps(strings))
        subprocess.run([sys.argv[1], temporary, pathlib.Path(temporary) / "strings.json"], check=True)
        check(pathlib.Path(temporary) / "latents", strings)
        check(pathlib.Path(temporary) / "images", strings)
    for model in sys.argv[2:]:
        load(pathlib.Path(model))
