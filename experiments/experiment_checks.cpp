#include "experiments/experiment_checks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.hpp"
#include "experiments/yaml_path.hpp"

namespace soup {

namespace {

class Checker {
 public:
  explicit Checker(const YamlNode& root) : root_(root) {}

  [[noreturn]] void fail(const std::string& key_path, const std::string& message, std::string hint = {}) const {
    throw ConfigError(where_of(root_, key_path), key_path, message, std::move(hint));
  }
  [[nodiscard]] bool written(const std::string& key_path) const { return find_at(root_, key_path) != nullptr; }

  // A name that becomes a folder and a word in digests and tables.
  void folder_name(const std::string& key_path, const std::string& name, std::string_view also) const {
    constexpr std::size_t longest = 64;
    const std::string allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-" + std::string(also);
    const bool good = !name.empty() && name.size() <= longest && name.front() != '-' && name.front() != '_' &&
                      name.front() != '.' && name.find_first_not_of(allowed) == std::string::npos;
    if (!good) {
      fail(key_path, fmt::format("\"{}\" cannot be a folder's name", name.substr(0, longest)),
           fmt::format("use up to {} lower-case letters, digits, \"-\" and \"_\", and start with a letter or digit",
                       longest));
    }
  }

 private:
  const YamlNode& root_;
};

void check_source(const Checker& check, const std::string& path, const ShardSpec& shard) {
  std::vector<std::string> given;
  for (const char* key : {"icon_theme", "idx", "folder", "webdataset", "file"}) {
    if (check.written(path + "." + key)) {
      given.emplace_back(key);
    }
  }
  if (given.size() != 1) {
    check.fail(path,
               given.empty() ? fmt::format("the shard \"{}\" has no source", shard.name)
                             : fmt::format("the shard \"{}\" has {} sources: {}", shard.name, given.size(),
                                           fmt::join(given, ", ")),
               "give exactly one of icon_theme, idx, folder, webdataset, file");
  }
  if (const auto* theme = std::get_if<IconThemeSource>(&shard.source)) {
    for (const auto& [key, text] : {std::pair{"package", theme->package}, std::pair{"theme", shard.theme}}) {
      // Both become parts of a path.
      if (text.find('/') != std::string::npos || text.starts_with(".")) {
        check.fail(path + ".icon_theme." + key, fmt::format("\"{}\" is no {} name", text, key),
                   "give the bare name, and use root for a folder elsewhere");
      }
    }
  } else if (const auto* tars = std::get_if<TarsSource>(&shard.source)) {
    if (tars->tars.tars.empty()) {
      check.fail(path + ".webdataset.tars", "names no tar", "list them, as [photos/{00000..00009}.tar]");
    }
  } else if (const auto* idx = std::get_if<IdxSource>(&shard.source)) {
    if (idx->class_names.empty()) {
      check.fail(path + ".idx.class_names", "no class names", "list one caption per class, in the order of the labels");
    }
    for (std::size_t i = 0; i < idx->classes.size(); ++i) {
      if (static_cast<std::size_t>(idx->classes[i]) >= idx->class_names.size()) {
        check.fail(fmt::format("{}.idx.classes[{}]", path, i),
                   fmt::format("class {} has no name; class_names holds {}", idx->classes[i], idx->class_names.size()));
      }
    }
  }
}

void check_shards(const Checker& check, const std::string& path, const std::vector<ShardSpec>& shards) {
  std::map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string here = fmt::format("{}[{}]", path, i);
    check.folder_name(here + ".name", shards[i].name, "");
    const auto [entry, is_new] = first.emplace(shards[i].name, i);
    if (!is_new) {
      check.fail(here + ".name",
                 fmt::format("two shards are named \"{}\": {}[{}] and {}", shards[i].name, path, entry->second, here),
                 "give each shard its own name");
    }
    check_source(check, here, shards[i]);
  }
}

void check_train(const Checker& check, const std::string& path, const TrainConfig& train) {
  if (train.images % static_cast<std::uint64_t>(train.batch) != 0) {
    const std::uint64_t batch = static_cast<std::uint64_t>(train.batch);
    check.fail(path + ".images",
               fmt::format("{} images are not a multiple of the batch of {}", train.images, train.batch),
               fmt::format("write {} or {}", std::max(train.images / batch, std::uint64_t{1}) * batch,
                           (train.images / batch + 1) * batch));
  }
  if (train.micro_batch > train.batch) {
    check.fail(path + ".micro_batch",
               fmt::format("{} images at a time, but a batch has only {}", train.micro_batch, train.batch),
               "leave it out for a rank's whole share of the batch");
  }
  if (train.keep_weights == "ema" && train.ema_halflife_images == 0) {
    check.fail(path + ".keep_weights",
               "ema stands beside ema_halflife_images: 0, and an average without memory is none",
               "write raw, or a half-life as 10000");
  }
  if (train.warmup_images > train.images) {
    check.fail(
        path + ".warmup_images",
        fmt::format("{} images of warm-up, but only {} images are trained on", train.warmup_images, train.images),
        "warm-up is the first part of the training");
  }
  if (train.text_encoder_learning_rate && !train.train_text_encoder) {
    check.fail(path + ".text_encoder_learning_rate", "stands beside train_text_encoder: false",
               "set train_text_encoder to true, or leave the rate out");
  }
  if (train.zero_terminal_snr && train.prediction_type == "epsilon") {
    check.fail(path + ".zero_terminal_snr",
               "stands beside prediction_type: epsilon, and pure noise says nothing about an image",
               "write prediction_type: v_prediction");
  }
  if (train.sample_images > 0 && train.sample_prompts.empty()) {
    check.fail(path + ".sample_images", "asks for pictures, but sample_prompts is empty", "name some captions there");
  }
}

void check_unet(const Checker& check, const std::string& path, const UNetConfig& unet) {
  const std::size_t levels = unet.block_out_channels.size();
  if (levels == 0 || levels > 8) {
    check.fail(path + ".block_out_channels", fmt::format("{} levels; allowed: 1 to 8", levels));
  }
  for (const auto& [key, types] :
       {std::pair{"down_block_types", unet.down_block_types}, std::pair{"up_block_types", unet.up_block_types}}) {
    if (types.size() != levels) {
      check.fail(path + "." + key,
                 fmt::format("{} block types, but block_out_channels has {} levels", types.size(), levels),
                 "give one block type per level");
    }
  }
  for (std::size_t i = 0; i < levels; ++i) {
    const std::int64_t channels = unet.block_out_channels[i];
    const std::string here = fmt::format("{}.block_out_channels[{}]", path, i);
    if (channels % unet.norm_num_groups != 0) {
      check.fail(here,
                 fmt::format("{} channels are not divisible by norm_num_groups = {}", channels, unet.norm_num_groups));
    }
    const bool attends = unet.down_block_types[i].starts_with("CrossAttn") ||
                         unet.up_block_types[levels - 1 - i].starts_with("CrossAttn") || i + 1 == levels;
    if (attends && channels % unet.attention_head_dim != 0) {
      check.fail(here, fmt::format("{} channels are not divisible by attention_head_dim = {} heads", channels,
                                   unet.attention_head_dim));
    }
  }
  const std::int64_t halvings = std::int64_t{1} << (levels - 1);
  if (unet.sample_size % halvings != 0) {
    check.fail(path + ".sample_size",
               fmt::format("a sample size of {} cannot be halved {} times (block_out_channels has {} levels)",
                           unet.sample_size, levels - 1, levels),
               "use fewer levels or another data.resolution");
  }
}

void check_architecture(const Checker& check, const Experiment& experiment) {
  const ModelConfig& model = experiment.base.architecture;
  const std::string path = "base.architecture";
  const LatentShape latent = latent_shape(model.autoencoder).value_or(LatentShape());
  const std::int64_t resolution = experiment.data.resolution;
  if (resolution % latent.factor != 0) {
    check.fail("data.resolution", fmt::format("{} px is not divisible by {}, the factor of the autoencoder {}",
                                              resolution, latent.factor, model.autoencoder));
  }
  if (model.unet.sample_size != resolution / latent.factor) {
    check.fail(path + ".unet.sample_size",
               fmt::format("{}, but data.resolution {} / {} (the factor of {}) is {}", model.unet.sample_size,
                           resolution, latent.factor, model.autoencoder, resolution / latent.factor),
               "leave sample_size out: it follows from the other two");
  }
  for (const auto& [key, channels] :
       {std::pair{"in_channels", model.unet.in_channels}, std::pair{"out_channels", model.unet.out_channels}}) {
    if (channels != latent.channels) {
      check.fail(path + ".unet." + key,
                 fmt::format("{}, but the autoencoder {} makes {} channels of RGB images", channels, model.autoencoder,
                             latent.channels),
                 fmt::format("leave {} out: it follows from the autoencoder", key));
    }
  }
  check_unet(check, path + ".unet", model.unet);
  const TextEncoderConfig& text = model.text_encoder;
  if (model.unet.cross_attention_dim != text.hidden_size) {
    check.fail(path + ".unet.cross_attention_dim",
               fmt::format("{}, but text_encoder.hidden_size is {}", model.unet.cross_attention_dim, text.hidden_size),
               "leave cross_attention_dim out: it is the text encoder's hidden_size");
  }
  if (text.hidden_size % text.num_attention_heads != 0) {
    check.fail(path + ".text_encoder.hidden_size", fmt::format("{} is not divisible by num_attention_heads = {}",
                                                               text.hidden_size, text.num_attention_heads));
  }
  if (model.schedule.beta_start >= model.schedule.beta_end) {
    check.fail(path + ".schedule.beta_start",
               fmt::format("{} is not below beta_end = {}", model.schedule.beta_start, model.schedule.beta_end));
  }
  if (experiment.evaluation.sampling.sampler.steps > model.schedule.num_train_timesteps) {
    check.fail("evaluation.steps",
               fmt::format("{} steps, but the schedule has {} (num_train_timesteps)",
                           experiment.evaluation.sampling.sampler.steps, model.schedule.num_train_timesteps));
  }
}

void check_base(const Checker& check, const Experiment& experiment) {
  if (experiment.data.latents && !experiment.base.model) {
    check.fail("data.latents", "encodes the shards with base.model, which is not given",
               "name a finished base, or leave latents out");
  }
  if (experiment.base.model) {
    for (const char* key : {"shards", "train", "vocab_size", "architecture"}) {
      if (check.written(std::string("base.") + key)) {
        check.fail(std::string("base.") + key, "stands beside base.model, which is a finished base",
                   "give either base.model, or base.shards, base.train and base.architecture to train one");
      }
    }
    return;
  }
  if (experiment.base.shards.empty()) {
    check.fail("base", "there is no base: neither model nor shards is given",
               "set base.model to a model folder, or base.shards to what a base is trained on");
  }
  check_shards(check, "base.shards", experiment.base.shards);
  check_train(check, "base.train", experiment.base.train);
  check_architecture(check, experiment);
}

// What one shard asks of its training.
void check_share(const Checker& check, const std::string& path, const ShardSpec& shard, const Experiment& experiment) {
  const TrainConfig& train = experiment.ingredients;
  const auto batch = static_cast<std::uint64_t>(train.batch);
  if (shard.images % batch != 0) {
    check.fail(path + ".images",
               fmt::format("{} images are not a multiple of the batch of {} (ingredients.batch)", shard.images, batch),
               fmt::format("write {} or {}", std::max(shard.images / batch, std::uint64_t{1}) * batch,
                           (shard.images / batch + 1) * batch));
  }
  if (shard.images > 0 && train.warmup_images > shard.images) {
    check.fail(
        path + ".images",
        fmt::format("{} images, but the warm-up is {} (ingredients.warmup_images)", shard.images, train.warmup_images),
        "warm-up is the first part of the training");
  }
  if (ranks_of(shard, experiment) > train.batch) {
    check.fail(path + ".ranks",
               fmt::format("{} ranks, but a batch has only {} images (ingredients.batch)", ranks_of(shard, experiment),
                           train.batch),
               "each rank of a group needs at least one image of a batch");
  }
}

// Words of a scheduler's options become lines of its scripts: one line each, and none may end its own quotes.
void check_cluster(const Checker& check, const ClusterConfig& cluster) {
  const auto one_line = [&check](const std::string& key, const std::string& text, std::string_view also_not) {
    const bool printable =
        std::ranges::none_of(text, [](unsigned char c) { return c < ' ' || c == 0x7f; });  // UTF-8 stays
    if (!printable || text.find_first_of(also_not) != std::string::npos) {
      check.fail("cluster." + key, fmt::format("\"{}\" cannot stand in a line of a job's script", text.substr(0, 64)),
                 "no line breaks, tabs or other control characters" +
                     std::string(also_not.empty() ? "" : ", quotes or backslashes"));
    }
  };
  for (const auto& [key, text] : {std::pair{"partition", cluster.partition}, std::pair{"account", cluster.account},
                                  std::pair{"qos", cluster.qos}, std::pair{"program", cluster.program},
                                  std::pair{"image", cluster.image}, std::pair{"volume", cluster.volume}}) {
    one_line(key, text, "\"'\\`$");
  }
  for (const auto& [key, lines] : {std::pair{"modules", &cluster.modules}, std::pair{"prolog", &cluster.prolog},
                                   std::pair{"options", &cluster.options}}) {
    for (std::size_t i = 0; i < lines->size(); ++i) {
      one_line(fmt::format("{}[{}]", key, i), (*lines)[i], "");
    }
  }
  if (!is_time_limit(cluster.time)) {
    check.fail("cluster.time", fmt::format("\"{}\" is no time limit", cluster.time.substr(0, 64)),
               "minutes, or hours:minutes:seconds, or days-hours:minutes:seconds: \"24:00:00\" (in quotes)");
  }
  if (!is_memory_size(cluster.memory)) {
    check.fail("cluster.memory", fmt::format("\"{}\" is no amount of memory", cluster.memory.substr(0, 64)),
               "a whole number with K, M, G or T: 64G");
  }
}

void check_umask(const Checker& check, const std::string& umask) {
  const bool good = umask.size() <= 4 && umask.find_first_not_of("01234567") == std::string::npos &&
                    (umask.size() < 4 || umask.front() == '0');
  if (!good) {
    check.fail("launch.umask", fmt::format("\"{}\" is no umask", umask.substr(0, 64)),
               "write three octal digits, as 027: what others than owner and group may not");
  }
}

void check_evaluation(const Checker& check, const Experiment& experiment) {
  const EvaluationConfig& evaluation = experiment.evaluation;
  const std::string& sampler = evaluation.sampling.sampler.sampler;
  if (evaluation.sampling.sampler.karras && sampler != "euler" && sampler != "dpmpp_2m") {
    check.fail("evaluation.karras", fmt::format("stands beside sampler: {}, which has no noise levels", sampler),
               "write sampler: euler or dpmpp_2m");
  }
  if (evaluation.grid_prompts > evaluation.prompts) {
    check.fail("evaluation.grid_prompts", fmt::format("{} columns of the picture, but only {} prompts are evaluated",
                                                      evaluation.grid_prompts, evaluation.prompts));
  }
  if (experiment.data.held_out == 0.0 && (evaluation.prompts > 0 || evaluation.denoising_images > 0)) {
    check.fail("data.held_out", "nothing is held out, but the evaluation needs held-out prompts and images",
               "hold out a fraction as 0.1, or set evaluation.prompts, grid_prompts and denoising_images to 0");
  }
}

}  // namespace

void check_experiment(const Experiment& experiment, const YamlNode& root) {
  const Checker check(root);
  check.folder_name("name", experiment.name, ".");
  if (experiment.data.shards.empty() && experiment.base.model) {
    check.fail("data.shards", "there is nothing to do: no shards, and base.model is finished already",
               "list the shards to train ingredients on");
  }
  check_shards(check, "data.shards", experiment.data.shards);
  check_base(check, experiment);
  check_umask(check, experiment.launch.umask);
  check_cluster(check, experiment.cluster);
  if (!experiment.data.shards.empty()) {
    check_train(check, "ingredients", experiment.ingredients);
    for (std::size_t i = 0; i < experiment.data.shards.size(); ++i) {
      check_share(check, fmt::format("data.shards[{}]", i), experiment.data.shards[i], experiment);
    }
    check_evaluation(check, experiment);
  }
}

}  // namespace soup
