"""Trajectories of diffusers' schedulers, for make_fixtures.py."""

import json

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from safetensors.torch import save_file

SCHEDULES = {
    "linear": {"beta_start": 0.0001, "beta_end": 0.02},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {},
}


def scheduler_of(case):
    config = dict(
        beta_schedule=case["beta_schedule"],
        prediction_type=case["prediction_type"],
        timestep_spacing=case["spacing"],
        rescale_betas_zero_snr=case["zero_snr"],
        steps_offset=1,
        **SCHEDULES[case["beta_schedule"]],
    )
    if case["sampler"] == "ddim":
        return DDIMScheduler(clip_sample=False, set_alpha_to_one=case["alpha_to_one"], **config)
    if case["sampler"] == "euler":
        return EulerDiscreteScheduler(use_karras_sigmas=case["karras"], **config)
    if case["sampler"] == "euler_a":
        return EulerAncestralDiscreteScheduler(**config)
    return DPMSolverMultistepScheduler(use_karras_sigmas=case["karras"], **config)


def sampling_cases():
    """Every sampler with every prediction, spacing and schedule, one or two other things at a time."""
    cases = []
    for sampler in ["ddim", "euler", "euler_a", "dpmpp_2m"]:
        predictions = ["epsilon", "v_prediction"] + ([] if sampler == "euler_a" else ["sample"])
        for n, prediction in enumerate(predictions):
            for m, spacing in enumerate(["leading", "trailing", "linspace"]):
                schedule = list(SCHEDULES)[(n + m) % 3]
                for karras in [False, True] if sampler in ("euler", "dpmpp_2m") else [False]:
                    cases.append(
                        dict(
                            sampler=sampler,
                            beta_schedule=schedule,
                            prediction_type=prediction,
                            spacing=spacing,
                            karras=karras,
                            zero_snr=prediction != "epsilon" and spacing == "trailing" and not karras,
                            alpha_to_one=spacing == "linspace",
                            steps=[7, 16, 10][m],
                            guidance=[1.0, 3.0, 5.0][m],
                            guidance_rescale=[0.0, 0.7, 0.0][m],
                        )
                    )
    for steps in [1, 2, 25]:
        for sampler in ["ddim", "euler", "dpmpp_2m"]:
            cases.append(
                dict(
                    sampler=sampler,
                    beta_schedule="scaled_linear",
                    prediction_type="v_prediction",
                    spacing="leading",
                    karras=False,
                    zero_snr=False,
                    alpha_to_one=False,
                    steps=steps,
                    guidance=3.0,
                    guidance_rescale=0.0,
                )
            )
    return cases


def schedule_cases(folder):
    """alphas_cumprod, timesteps, and the sample at every step of guided sampling with a denoiser that is a formula."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, numbers in SCHEDULES.items():
        for zero_snr in [False, True]:
            scheduler = DDIMScheduler(beta_schedule=name, rescale_betas_zero_snr=zero_snr, **numbers)
            tensors[name + (".zero_snr" if zero_snr else "") + ".alphas_cumprod"] = scheduler.alphas_cumprod
    cases = sampling_cases()
    for number, case in enumerate(cases):
        scheduler = scheduler_of(case)
        scheduler.set_timesteps(case["steps"])
        if case["sampler"] != "ddim":
            scheduler.set_begin_index(0)  # else it is looked up, and of equal timesteps the second is found
        generator = torch.Generator().manual_seed(5)
        noise = torch.randn(2, 3, 2, 2, generator=generator)
        step_noise = torch.randn(case["steps"], *noise.shape, generator=generator)
        drawn = iter(step_noise)
        scheduling_euler_ancestral_discrete.randn_tensor = lambda *_, **__: next(drawn)
        text, empty = torch.tensor([0.5, -0.25]), torch.tensor([0.125, 0.125])
        condition = torch.cat([empty, text]).view(4, 1, 1, 1)
        sample = noise * scheduler.init_noise_sigma
        trajectory = []
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(torch.cat([sample, sample]), t)
            # Bent, so that guidance changes more than the mean and its rescaling has something to do.
            output = torch.sin(scaled * (0.25 + 0.5 * t.item() / 1000) + condition)
            without, with_text = output.chunk(2)
            output = without + case["guidance"] * (with_text - without)
            if case["guidance_rescale"] > 0:
                output = rescale_noise_cfg(output, with_text, case["guidance_rescale"])
            sample = scheduler.step(output, t, sample).prev_sample
            trajectory.append(sample)
        tensors[f"{number}.timesteps"] = scheduler.timesteps.float()
        tensors[f"{number}.noise"] = noise
        tensors[f"{number}.samples"] = torch.stack(trajectory)
        if case["sampler"] == "euler_a":
            tensors[f"{number}.step_noise"] = step_noise
    save_file(tensors, folder / "schedules.safetensors")
    (folder / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
