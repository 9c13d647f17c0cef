#!/usr/bin/env bash
# A small Stable Diffusion that Python's diffusers wrote, fine-tuned on four shards from a WebDataset and three folders,
# one of images of several sizes and one of oblongs: ingredients, soup, paragon, evaluation, report, samples and a single
# file. With a third argument, a Python with diffusers, it also loads
# what soup wrote and makes the same images.
# usage: stable_diffusion_run_test.sh SOUP SOURCE [PYTHON]
source "$(dirname "$0")/support.sh"
python=${3:-}
fixture=tests/fixtures/parity/stable_diffusion
model=$fixture/model

# Captioned pictures as people have them: a tar with texts, a folder with texts, a folder with metadata.jsonl.
pictures() { # THEME-FOLDER NUMBER: paths of so many pictures
  find -L ".deps/icons/$1" -name '*.png' -path '*32*' -size +700c | sort | awk -v n="$2" 'NR % 3 == 1 && ++k <= n'
}
words() { basename "$1" .png | tr -c 'a-zA-Z\n' ' '; }
mkdir -p "$work/tar" "$work/texts" "$work/rows/images"
number=0
for file in $(pictures oxygen-icon-theme 40); do
  name=$(printf '%05d' "$number")
  number=$((number + 1))
  cp "$file" "$work/tar/$name.png"
  words "$file" > "$work/tar/$name.txt"
done
tar -C "$work/tar" --sort=name -cf "$work/oxygen.tar" $(cd "$work/tar" && ls)
for file in $(pictures gnome-icon-theme 40); do
  cp "$file" "$work/texts/"
  words "$file" > "$work/texts/$(basename "$file" .png).txt"
done
for file in $(pictures mate-icon-theme 40); do
  cp "$file" "$work/rows/images/"
  printf '{"file_name": "images/%s", "text": "%s"}\n' "$(basename "$file")" "$(words "$file")" >> "$work/rows/metadata.jsonl"
done
drawing() { # FOLDER NAME WIDTH HEIGHT COLOUR
  printf '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"><rect width="100%%" height="100%%" fill="%s"/>
    <circle cx="%d" cy="9" r="8" fill="#fc4"/></svg>' "$3" "$4" "$5" "$(($3 / 2))" > "$1/$2.svg"
  echo "${2//-/ }" > "$1/$2.txt"
}
mkdir "$work/oblongs"
for i in {10..49}; do
  drawing "$work/texts" "wide-drawing-$i" $((60 + i)) 30 "#4${i}"
  drawing "$work/texts" "high-drawing-$i" 20 $((60 + i)) "#8${i}"
  drawing "$work/oblongs" "banner-$i" 80 20 "#2${i}"
done
[[ $number -eq 40 && -s $work/rows/metadata.jsonl ]] || fail "the icon themes hold too few pictures"

# One shard is imported and encoded by hand, three by the run.
"$soup" import webdataset "$work/oxygen.tar" --resolution 32 --style oxygen --latents "$model" --latents-type f32 \
  --output "$work/oxygen.h5" > "$work/import.log" 2>&1 || { cat "$work/import.log"; fail "import ended with $?"; }
grep -q "40 images and .* different texts encoded" "$work/import.log" || { cat "$work/import.log"; fail "nothing was encoded"; }
[[ ! -e $work/oxygen.h5.images ]] || fail "import left its intermediate file"
cp "$work/oxygen.tar" "$work/broken.tar" && mkdir "$work/torn" && echo torn > "$work/torn/torn.png" && echo words > "$work/torn/torn.txt"
tar -C "$work/torn" -rf "$work/broken.tar" torn.png torn.txt
"$soup" import webdataset "$work/broken.tar" --resolution 32 --latents "$model" --output "$work/broken.h5" > "$work/import.log" 2>&1 ||
  { cat "$work/import.log"; fail "import ended with $?"; }
grep -q torn.png "$work/broken.h5.notes.jsonl" || fail "what was left out is not listed beside the shard"

buckets="buckets: true, bucket_step: 8, bucket_least_side: 16, bucket_most_side: 64"
cat > "$work/experiment.yaml" << END
schema: 1
name: small-stable-diffusion
seed: 3
run_folder: $work/run
data:
  resolution: 32
  held_out: 0.1
  near_duplicates: report
  latents: true
  shards:
    - {name: oxygen, file: $work/oxygen.h5}
    - {name: gnome, folder: {path: $work/texts, style: gnome, $buckets}}
    - {name: mate, folder: {path: $work/rows, style: mate}}
    - {name: banners, folder: {path: $work/oblongs, $buckets}}
base: {model: $model}
ingredients:
  images: 64
  batch: 8
  micro_batch: 4
  learning_rate: 0.001
  warmup_images: 16
  min_snr_gamma: 5
  noise_offset: 0.05
  frozen: ["unet.conv_in.*"]
  validate_images: 32
  sample_images: 32
  sample_prompts: ["computer", "folder, gnome style"]
  log_images: 16
paragon: {equal_total: true, one_shard: false}
soup: {leave_one_out: false}
launch: {threads_per_rank: 1}
evaluation: {prompts: 2, steps: 2, grid_prompts: 2, denoising_images: 12, bootstrap: 20, ensemble: false, sampler: dpmpp_2m}
END
"$soup" plan "$work/experiment.yaml" > "$work/plan.log" 2>&1 || { cat "$work/plan.log"; fail "plan ended with $?"; }
"$soup" run "$work/experiment.yaml" > "$work/run.log" 2>&1 || { cat "$work/run.log"; fail "the run ended with $?"; }
for file in soup/vae/diffusion_pytorch_model.safetensors soup/unet_ema/config.json soup/ledger.json report/index.html \
  ingredients/gnome/samples/images-000000000032.png paragon/equal-total/unet/config.json; do
  [[ -s $work/run/$file ]] || fail "$file is missing"
done
for shard in mate gnome banners; do
  grep -q '"held_out_loss"' "$work/run/ingredients/$shard/loss.jsonl" || fail "$shard: no held-out loss was measured"
done
[[ $(h5ls "$work/run/data/gnome/shard.h5/buckets" | wc -l) -ge 3 ]] || fail "gnome's images are of fewer than three sizes"
h5ls "$work/run/data/banners/shard.h5" | grep -q "^images .*, 16, 64, 3}" || fail "the banners are not 16 x 64"
for name in base soup ingredient-gnome ingredient-banners paragon-equal-total; do
  for shard in oxygen gnome mate banners; do
    grep '"denoising"' "$work/run/evaluation/$name.raw.jsonl" | grep -q "\"$shard\"" ||
      fail "$name: no denoising loss on $shard"
  done
done
"$soup" score "$work/experiment.yaml" --model "$work/run/soup" > "$work/scores.json" || fail "score ended with $?"
[[ $(tr ',' '\n' < "$work/scores.json" | grep -c '0\.\|1\.') -ge 8 ]] || { cat "$work/scores.json"; fail "score gave too few"; }
cmp -s "$work/run/soup/vae/diffusion_pytorch_model.safetensors" "$work/run/base/vae/diffusion_pytorch_model.safetensors" ||
  "$soup" diff "$work/run/base" "$work/run/soup" > "$work/diff.log" || fail "diff ended with $?"
"$soup" verify "$work/run" > "$work/verify.log" 2>&1 || { cat "$work/verify.log"; fail "verify ended with $?"; }

# The same training that keeps its average, or its last weights, alone: those of the two that the run kept.
for kept in ema raw; do
  "$soup" train "$work/experiment.yaml" --base --set "run_folder=$work/$kept" --set "ingredients.keep_weights=$kept" > "$work/kept.log" 2>&1 &&
    "$soup" train "$work/experiment.yaml" --shard oxygen --set "run_folder=$work/$kept" --set "ingredients.keep_weights=$kept" \
      >> "$work/kept.log" 2>&1 || { cat "$work/kept.log"; fail "training for $kept ended with $?"; }
  [[ ! -e $work/$kept/ingredients/oxygen/unet_ema ]] || fail "keep_weights $kept kept both"
done
weights=diffusion_pytorch_model.safetensors
cmp "$work/ema/ingredients/oxygen/unet/$weights" "$work/run/ingredients/oxygen/unet_ema/$weights" || fail "ema is not the average"
cmp "$work/raw/ingredients/oxygen/unet/$weights" "$work/run/ingredients/oxygen/unet/$weights" || fail "raw is not the last weights"

# The base, the soup, and the soup as a single file and back: samples from the same noise.
sample() { # MODEL NAME
  "$soup" sample --model "$1" --prompt "computer, oxygen style" --prompt "folder" --sampler euler --steps 6 --guidance 4 \
    --noise "$fixture/samples.safetensors" --save-latents "$work/$2.safetensors" --output "$work/$2.png" --zoom 1 \
    > "$work/$2.log" 2>&1 || { cat "$work/$2.log"; fail "sample of $2 ended with $?"; }
}
sample "$model" base
sample "$work/run/soup" soup
cmp -s "$work/base.safetensors" "$work/soup.safetensors" && fail "the soup is the base"
"$soup" convert "$work/run/soup" "$work/soup-file.safetensors" --dtype f32 > /dev/null || fail "convert ended with $?"
"$soup" convert "$work/soup-file.safetensors" "$work/back" --like "$model" > /dev/null || fail "convert back ended with $?"
sample "$work/back" back
cmp -s "$work/back.safetensors" "$work/soup.safetensors" || fail "a single file and back makes other images"

# What users get wrong: a folder of theirs as the output, an average that is not there, prompts that are cut.
refused() { # CODE TEXT command...
  local code=$1 text=$2 got=0
  shift 2
  "$@" > "$work/refused.log" 2>&1 || got=$?
  [[ $got -eq $code ]] || { cat "$work/refused.log"; fail "exit code $got instead of $code: $*"; }
  grep -qF -- "$text" "$work/refused.log" || { cat "$work/refused.log"; fail "the message does not say '$text': $*"; }
}
mkdir "$work/mine" && echo precious > "$work/mine/file"
refused 2 "exists already" "$soup" convert "$work/soup-file.safetensors" "$work/mine" --like "$model"
refused 2 "exists already" "$soup" convert "$work/run/soup" "$work/soup-file.safetensors"
[[ $(cat "$work/mine/file") == precious ]] || fail "convert removed a folder that was there"
"$soup" convert "$work/run/soup" "$work/soup-file.safetensors" --dtype f32 --overwrite > /dev/null || fail "--overwrite ended with $?"
refused 3 "no moving average" "$soup" convert "$model" "$work/ema.safetensors" --weights ema
refused 3 "no moving average" "$soup" sample --model "$model" --prompt x --weights ema --output "$work/x.png"
refused 3 "there is no folder" "$soup" sample --model "$model" --prompt x --output "$work/x.png" --save-latents "$work/no/x.safetensors"
refused 0 "longer than the 24 tokens" "$soup" sample --model "$model" --steps 1 --output "$work/x.png" \
  --prompt "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
refused 2 "needs multiples of 4" "$soup" import webdataset "$work/oxygen.tar" --resolution 33 --latents "$model" --output "$work/odd.h5"
[[ ! -e $work/odd.h5.images ]] || fail "pictures were imported that cannot be encoded"

if [[ -n $python ]]; then
  "$python" tests/parity/check_soup.py "$work/run/soup" "$work/soup-file.safetensors" "$fixture/samples.safetensors" \
    "$work/soup.safetensors" "$work/soup.png" || fail "diffusers disagrees"
fi
echo "a Stable Diffusion of diffusers was fine-tuned, souped, sampled and converted"
