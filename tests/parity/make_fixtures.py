"""Makes tests/fixtures/parity: what diffusers and transformers compute, for the C++ tests to agree with.

    python tests/parity/make_fixtures.py [output folder]

Needs torch, diffusers, transformers and safetensors; the fixtures in the repository were made with the versions that
versions.json names. Running it again gives the same files where those versions are the same.
"""

import json
import pathlib
import random
import shutil
import sys
import tempfile

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipeline_case import pipeline_case
from schedule_cases import schedule_cases
from strings import TRICKY, random_strings

CAPTIONS = [
    "a red folder with a small arrow, flat style",
    "a blue folder",
    "an icon of a printer, in the style of tango",
    "a printer with paper; oxygen icons",
    "the user's home folder",
    "edit-copy symbol, monochrome",
    "document with a pencil (edit)",
    "a red arrow pointing left",
    "a red arrow pointing right",
    "a GREEN arrow pointing up!",
    "trash can, full",
    "trash can, empty",
    "weather: few clouds at night",
    "weather: showers scattered",
    "battery at 40 percent, charging",
    "drapeau français, cœur rouge",
    "日本語 フォルダー",
]


def random_weights(module, seed):
    """As wide as PyTorch's own initial weights (1 / sqrt(3 fan_in)); norms and biases vary as well.

    Values that bfloat16 holds exactly, so that half-size files lose nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                noise = 0.1 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                noise = noise / (3 * parameter[0].numel()) ** 0.5
            parameter.copy_(noise.bfloat16().float())


def save_case(folder, module, inputs, output, target):
    """The weights in bfloat16, and inputs, output and the gradient of the mean square error to target.

    Computed in float64 and stored in float32: what differs in a test is the tested side's rounding alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    assert output.dtype == torch.float64
    torch.nn.functional.mse_loss(output, target.double()).backward()
    case = dict(inputs, output=output.detach().float(), target=target)
    case.update({"gradient." + name: p.grad.float() for name, p in module.named_parameters()})
    save_file({k: v.contiguous() for k, v in case.items()}, folder / "case.safetensors")
    weights = {name: p.detach().bfloat16().contiguous() for name, p in module.named_parameters()}
    save_file(weights, folder / "weights.safetensors", metadata={"format": "pt"})


def unet_case(folder, height, width, seed, **options):
    unet = UNet2DConditionModel(**options)
    random_weights(unet, seed)
    unet.double()
    generator = torch.Generator().manual_seed(seed + 1)
    inputs = {
        "sample": torch.randn(3, options["in_channels"], height, width, generator=generator),
        "timesteps": torch.tensor([0, 417, 999]),
    }
    text = None
    if isinstance(options["cross_attention_dim"], int):
        inputs["text"] = torch.randn(3, 5, options["cross_attention_dim"], generator=generator)
        text = inputs["text"].double()
    output = unet(inputs["sample"].double(), inputs["timesteps"], text).sample
    target = torch.randn(output.shape, generator=generator)
    save_case(folder, unet, inputs, output, target)
    unet.save_config(folder)


def vae_case(folder, height, width, seed, **options):
    """Moments of images, and images of latents that are not those moments; no gradients."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL(**options)
    random_weights(vae, seed)
    vae.double()
    generator = torch.Generator().manual_seed(seed + 1)
    images = torch.rand(2, options["in_channels"], height, width, generator=generator) * 2 - 1
    factor = 2 ** (len(options["block_out_channels"]) - 1)
    latents = torch.randn(2, options["latent_channels"], height // factor, width // factor, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    with torch.no_grad():
        posterior = vae.encode(images.double()).latent_dist
        case = {
            "images": images,
            "latents": latents,
            "noise": noise,
            "moments": posterior.parameters,
            "mean_latents": posterior.mode() * vae.config.scaling_factor,
            "sampled_latents": (posterior.mean + posterior.std * noise) * vae.config.scaling_factor,
            "decoded": vae.decode(latents.double() / vae.config.scaling_factor).sample,
        }
    save_file({k: v.float().contiguous() for k, v in case.items()}, folder / "case.safetensors")
    weights = {name: p.detach().bfloat16().contiguous() for name, p in vae.named_parameters()}
    save_file(weights, folder / "weights.safetensors", metadata={"format": "pt"})
    vae.save_config(folder)


def text_case(folder, seed, activation):
    config = CLIPTextConfig(
        vocab_size=50,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=9,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    text = CLIPTextModel(config)
    random_weights(text, seed)
    text.double()
    generator = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(2, 50, (3, 7), generator=generator)
    states = text(ids, output_hidden_states=True)
    output = states.last_hidden_state
    target = torch.randn(output.shape, generator=generator)
    final_norm = getattr(text, "text_model", text).final_layer_norm
    # As diffusers' pipelines compute clip_skip = 1, which users call 2.
    penultimate = final_norm(states.hidden_states[-2]).detach().float()
    save_case(folder, text, {"ids": ids, "penultimate": penultimate}, output, target)
    text.float()
    with tempfile.TemporaryDirectory() as saved:
        text.save_pretrained(saved)  # the whole, since the configuration alone would be saved with fewer keys
        shutil.copy(pathlib.Path(saved) / "config.json", folder)


def learn_merges(words, count):
    """Sennrich et al. 2016, algorithm 1, as plainly as can be: every pair counted anew for every merge."""
    merges = []
    while len(merges) < count:
        pairs = {}
        for symbols, occurrences in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] = pairs.get(pair, 0) + occurrences
        best = min(pairs, key=lambda p: (-pairs[p], p[0].encode(), p[1].encode()), default=None)
        if best is None or pairs[best] < 2:
            break
        merges.append(best)
        joined = {}
        for symbols, occurrences in words.items():
            new, i = [], 0
            while i < len(symbols):
                if symbols[i : i + 2] == best:
                    new.append(symbols[i] + symbols[i + 1])
                    i += 2
                else:
                    new.append(symbols[i])
                    i += 1
            joined[tuple(new)] = joined.get(tuple(new), 0) + occurrences
        words = joined
    return merges


def byte_symbols():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) if b in printable else chr(0x100 + others.index(b)) for b in range(256)]


def tokenizer_case(folder, vocab_size, max_length, specials):
    folder.mkdir(parents=True, exist_ok=True)
    symbols = byte_symbols()
    # transformers' own cleaning and cutting, on a tokenizer without merges.
    bare = CLIPTokenizer()._tokenizer
    words = {}
    for caption in CAPTIONS:
        for word, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(caption)):
            key = (*word[:-1], word[-1] + "</w>")
            words[key] = words.get(key, 0) + 1
    merges = learn_merges(words, vocab_size - 514)
    tokens = ["<|startoftext|>", "<|endoftext|>", *symbols, *(s + "</w>" for s in symbols)]
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_length, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    # Random strings as far as the two Unicode versions agree: only characters assigned long ago.
    strings = TRICKY + random_strings(random.Random(7), 200)
    ids = [tokenizer(s, padding="max_length", truncation=True, max_length=max_length)["input_ids"] for s in strings]
    (folder / "cases.json").write_text(json.dumps({"strings": strings, "ids": ids}, separators=(",", ":")) + "\n")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "parity"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    # No transformer below 8 channels: a layer norm over 4 values meets tokens of almost no variance, whose rounding it
    # magnifies a thousandfold.
    # Stable Diffusion 1: 1 x 1 convolutions around the transformers, one number of heads.
    unet_case(
        folder / "unet_1",
        9,
        7,
        seed=10,
        sample_size=9,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8, 8),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        attention_head_dim=2,
        cross_attention_dim=6,
        norm_num_groups=2,
    )
    # Stable Diffusion 2: linear maps around the transformers, heads per block.
    unet_case(
        folder / "unet_2",
        6,
        10,
        seed=20,
        sample_size=10,
        in_channels=2,
        out_channels=4,
        block_out_channels=(4, 12),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 3),
        cross_attention_dim=7,
        norm_num_groups=2,
        norm_eps=1e-6,
        use_linear_projection=True,
        upcast_attention=True,
        transformer_layers_per_block=2,
    )
    # Numbers that differ from level to level, and the other ways to embed the timestep and to enter.
    unet_case(
        folder / "unet_levels",
        8,
        6,
        seed=45,
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=(1, 2),
        attention_head_dim=2,
        cross_attention_dim=5,
        norm_num_groups=4,
        transformer_layers_per_block=(1, 2),
        center_input_sample=True,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    # Without text: diffusers builds no other blocks then. The transformer in the middle attends to the image alone.
    unconditional = dict(
        sample_size=7,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=(None, None),
        norm_num_groups=2,
    )
    unet_case(
        folder / "unet_unconditional",
        8,
        6,
        seed=50,
        block_out_channels=(4, 8),
        layers_per_block=1,
        attention_head_dim=2,
        use_linear_projection=True,
        **unconditional,
    )
    unet_case(
        folder / "unet_plain_mid",
        7,
        7,
        seed=60,
        block_out_channels=(6, 10),
        layers_per_block=1,
        mid_block_type="UNetMidBlock2D",
        **unconditional,
    )
    unet_case(
        folder / "unet_no_mid",
        5,
        7,
        seed=70,
        block_out_channels=(4, 6),
        layers_per_block=(2, 1),
        mid_block_type=None,
        **unconditional,
    )
    text_case(folder / "text_quick_gelu", seed=30, activation="quick_gelu")
    text_case(folder / "text_gelu", seed=40, activation="gelu")
    text_case(folder / "text_gelu_new", seed=80, activation="gelu_new")
    # Stable Diffusion's autoencoder in small, and one without all that can be left out.
    vae_case(
        folder / "vae",
        24,
        16,
        seed=90,
        in_channels=3,
        out_channels=3,
        block_out_channels=(4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=24,
    )
    vae_case(
        folder / "vae_plain",
        6,
        10,
        seed=100,
        in_channels=1,
        out_channels=1,
        block_out_channels=(6, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=2,
        norm_num_groups=2,
        sample_size=8,
        scaling_factor=0.5,
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    names = ["bos_token", "eos_token", "unk_token", "pad_token"]
    plain = ["<|startoftext|>", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"]
    tokenizer_case(folder / "tokenizer", 640, 16, dict(zip(names, plain)))
    # As Stable Diffusion writes them: searched in the cleaned text, and padded with an exclamation mark.
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    objects = [{"content": c, **flags} for c in plain[:3]] + ["!"]
    tokenizer_case(folder / "tokenizer_objects", 600, 24, dict(zip(names, objects)))
    (folder / "captions.json").write_text(json.dumps(CAPTIONS, ensure_ascii=False, indent=1) + "\n")
    schedule_cases(folder / "schedule")
    pipeline_case(folder / "stable_diffusion", folder / "tokenizer_objects", CAPTIONS, random_weights)
    versions = {m.__name__: m.__version__ for m in (diffusers, torch, transformers)}
    (folder / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
