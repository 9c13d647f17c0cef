"""Checks that diffusers makes the images that `soup sample` made, from a soup's folder and from its single file.

    python tests/parity/check_soup.py SOUP_FOLDER SINGLE_FILE NOISE LATENTS PICTURE

NOISE and LATENTS are what `soup sample` was given and wrote with --sampler euler --steps 6 --guidance 4, PICTURE its
PNG with --zoom 1. Called by tests/e2e/stable_diffusion_run_test.sh.
"""

import sys
import warnings

import numpy
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from comparison import close

PROMPTS = ["computer, oxygen style", "folder"]
GAP = 2  # pixels between the images of a picture


def check(name, pipeline, noise, latents, picture):
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    options = dict(latents=noise, num_inference_steps=6, guidance_scale=4.0)
    close(f"{name}: latents", latents, pipeline(PROMPTS, output_type="latent", **options).images)
    images = pipeline(PROMPTS, output_type="np", **options).images
    size = images.shape[1]
    for number, image in enumerate(images):
        left = number * (size + GAP)
        ours = picture[:size, left : left + size].astype(int)
        difference = numpy.abs(ours - (image * 255).round().astype(int)).max()
        print(f"{name}: image {number} differs by at most {difference} of 255")
        assert difference <= 1


def main(folder, single_file, noise, latents, picture):
    noise = load_file(noise)["noise"]
    latents = load_file(latents)["latents"]
    picture = numpy.asarray(Image.open(picture).convert("RGB"))
    check("folder", StableDiffusionPipeline.from_pretrained(folder), noise, latents, picture)
    whole = StableDiffusionPipeline.from_single_file(single_file, config=str(folder), local_files_only=True)
    check("single file", whole, noise, latents, picture)


if __name__ == "__main__":
    warnings.simplefilter("error", category=UserWarning)
    main(*sys.argv[1:])
