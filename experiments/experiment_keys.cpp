#include "experiments/experiment_keys.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "data/icon_caption.hpp"
#include "launch/collectives.hpp"
#include "launch/device.hpp"

namespace soup {

namespace {

constexpr std::int64_t many_images = 1'000'000'000'000;
constexpr std::array<std::string_view, 3> duplicate_choices = {"report", "refuse", "drop"};
constexpr std::array<std::string_view, 3> missing_choices = {"fail", "wait", "soup_of_survivors"};
constexpr std::array<std::string_view, 3> missing_captions = {"refuse", "skip", "empty"};
constexpr std::array<std::string_view, 2> on_broken_choices = {"skip", "refuse"};
constexpr std::array<std::string_view, 2> fits = {"crop", "pad"};
constexpr std::array<std::string_view, 3> beta_schedules = {"squaredcos_cap_v2", "linear", "scaled_linear"};
constexpr std::array<std::string_view, 3> prediction_types = {"v_prediction", "epsilon", "sample"};
constexpr std::array<std::string_view, 4> trained_predictions = {"model", "v_prediction", "epsilon", "sample"};
constexpr std::array<std::string_view, 3> timestep_spacings = {"leading", "trailing", "linspace"};
constexpr std::array<std::string_view, 2> autoencoders = {"identity", "space_to_depth_2"};
constexpr std::array<std::string_view, 2> down_blocks = {"DownBlock2D", "CrossAttnDownBlock2D"};
constexpr std::array<std::string_view, 2> up_blocks = {"UpBlock2D", "CrossAttnUpBlock2D"};
constexpr std::array<std::string_view, 3> activations = {"quick_gelu", "gelu", "gelu_new"};

// An enumerator by its name; `choices` are in the order of the enumeration.
template <typename Enum>
void describe_choice(Keys& keys, std::string_view key, Enum& value, std::span<const std::string_view> choices) {
  std::string word(choices[static_cast<std::size_t>(value)]);
  keys.word(key, word, choices);
  const auto found = std::ranges::find(choices, word);
  SOUP_REQUIRE(found != choices.end(), "a word that is not among the choices");
  value = static_cast<Enum>(found - choices.begin());
}

void describe_icon_theme(Keys& keys, std::string& theme, IconThemeSource& source) {
  keys.text("package", source.package, Need::required);
  keys.text("theme", theme, Need::required);
  // The default root is not written: a resolved experiment says the same on another machine.
  const auto default_root = default_theme_root(source.package, theme);
  std::filesystem::path root = source.root == default_root ? std::filesystem::path() : source.root;
  keys.path("root", root, Need::optional);
  source.root = root.empty() ? default_root : root;
  keys.text("style", source.style, Need::optional);
  if (source.style.empty()) {
    source.style = theme;
    std::ranges::transform(source.style, source.style.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  keys.word_list("contexts", source.contexts, icon_contexts);
  keys.whole("limit", source.limit, {0, many_images});
  keys.whole("per_key_limit", source.per_key_limit, {0, many_images});
}

void describe_idx(Keys& keys, IdxSource& source) {
  keys.path("images", source.images, Need::required);
  keys.path("labels", source.labels, Need::required);
  keys.text_list("class_names", source.class_names);
  keys.text("package", source.package, Need::optional);
  keys.text("style", source.style, Need::optional);
  keys.text("licence", source.licence, Need::optional);
  std::vector<std::int64_t> classes(source.classes.begin(), source.classes.end());
  keys.whole_list("classes", classes, {0, 255});
  source.classes.assign(classes.begin(), classes.end());
  keys.whole("limit", source.limit, {0, many_images});
}

void describe_captioned(Keys& keys, CaptionedOptions& options) {
  keys.text("style", options.style, Need::optional);
  keys.text("licence", options.licence, Need::optional);
  describe_choice(keys, "missing_caption", options.missing_caption, missing_captions);
  describe_choice(keys, "on_broken", options.on_broken, on_broken_choices);
  describe_choice(keys, "fit", options.fit, fits);
  keys.whole("min_side", options.min_side, {0, 65536});
  keys.whole("max_pixels", options.max_pixels, {1, 10'000'000'000});
  keys.truth("buckets", options.buckets);
  keys.whole("bucket_step", options.bucket_step, {1, 1024});
  keys.whole("bucket_least_side", options.bucket_least_side, {1, 16384});
  keys.whole("bucket_most_side", options.bucket_most_side, {1, 16384});
  keys.whole("limit", options.limit, {0, many_images});
}

void describe_folder(Keys& keys, FolderSource& source) {
  keys.path("path", source.folder.path, Need::required);
  keys.text("caption_key", source.folder.caption_key, Need::optional);
  keys.text("held_out_key", source.folder.held_out_key, Need::optional);
  describe_captioned(keys, source.options);
}

void describe_webdataset(Keys& keys, TarsSource& source) {
  keys.path("folder", source.tars.folder, Need::optional);
  keys.text_list("tars", source.tars.tars);
  keys.text("caption_key", source.tars.caption_key, Need::optional);
  keys.text("held_out_key", source.tars.held_out_key, Need::optional);
  describe_captioned(keys, source.options);
}

void describe_shards(Keys& keys, std::vector<ShardSpec>& shards) {
  keys.list(
      "shards", shards.size(), [&shards](std::size_t size) { shards.resize(size); },
      [&shards](Keys& inner, std::size_t i) { describe(inner, shards[i]); });
}

void describe(Keys& keys, DataConfig& data) {
  keys.whole("resolution", data.resolution, {4, 1024});
  keys.number("held_out", data.held_out, {0.0, 0.5});
  keys.seed("held_out_seed", data.held_out_seed);
  describe_choice(keys, "exact_duplicates", data.exact_duplicates, duplicate_choices);
  describe_choice(keys, "near_duplicates", data.near_duplicates, duplicate_choices);
  keys.whole("hash_distance", data.duplicates.hash_distance, {0, 3});
  keys.number("rms_limit", data.duplicates.rms_limit, {0.0, 255.0});
  keys.number("max_broken_fraction", data.max_broken_fraction, {0.0, 1.0});
  keys.number("seconds_per_image", data.seconds_per_image, {.least = 0.0, .most = 3600.0, .above_least = true});
  keys.truth("latents", data.latents);
  describe_shards(keys, data.shards);
}

void describe(Keys& keys, UNetConfig& unet) {
  keys.whole("sample_size", unet.sample_size, {1, 1024});
  keys.whole("in_channels", unet.in_channels, {1, 4096});
  keys.whole("out_channels", unet.out_channels, {1, 4096});
  keys.word_list("down_block_types", unet.down_block_types, down_blocks);
  keys.word_list("up_block_types", unet.up_block_types, up_blocks);
  keys.whole_list("block_out_channels", unet.block_out_channels, {1, 8192});
  keys.whole("layers_per_block", unet.layers_per_block, {1, 16});
  keys.whole("attention_head_dim", unet.attention_head_dim, {1, 256});
  keys.whole("cross_attention_dim", unet.cross_attention_dim, {1, 8192});
  keys.whole("norm_num_groups", unet.norm_num_groups, {1, 1024});
  keys.number("norm_eps", unet.norm_eps, {.least = 0.0, .most = 0.1, .above_least = true});
  keys.truth("use_linear_projection", unet.use_linear_projection);
  keys.whole("transformer_layers_per_block", unet.transformer_layers_per_block, {1, 16});
}

// vocab_size and the token ids are the tokenizer's, not the file's.
void describe(Keys& keys, TextEncoderConfig& text) {
  keys.whole("hidden_size", text.hidden_size, {1, 8192});
  keys.whole("intermediate_size", text.intermediate_size, {1, 65536});
  keys.whole("num_hidden_layers", text.num_hidden_layers, {1, 64});
  keys.whole("num_attention_heads", text.num_attention_heads, {1, 256});
  keys.whole("max_position_embeddings", text.max_position_embeddings, {3, 1024});
  keys.word("hidden_act", text.hidden_act, activations);
  keys.number("layer_norm_eps", text.layer_norm_eps, {.least = 0.0, .most = 0.1, .above_least = true});
}

void describe(Keys& keys, ScheduleConfig& schedule) {
  keys.whole("num_train_timesteps", schedule.num_train_timesteps, {2, 100000});
  keys.word("beta_schedule", schedule.beta_schedule, beta_schedules);
  keys.number("beta_start", schedule.beta_start, {0.0, 1.0, true, true});
  keys.number("beta_end", schedule.beta_end, {0.0, 1.0, true, true});
  keys.word("prediction_type", schedule.prediction_type, prediction_types);
  keys.truth("rescale_betas_zero_snr", schedule.rescale_betas_zero_snr);
  keys.word("timestep_spacing", schedule.timestep_spacing, timestep_spacings);
}

void describe(Keys& keys, BaseConfig& base) {
  std::filesystem::path model = base.model.value_or(std::filesystem::path());
  keys.path("model", model, Need::optional);
  base.model = model.empty() ? std::nullopt : std::optional(model);
  if (!keys.reading() && base.model) {
    return;  // the rest says how a base is trained
  }
  describe_shards(keys, base.shards);
  keys.section("train", [&base](Keys& inner) { describe(inner, base.train); });
  keys.whole("vocab_size", base.vocab_size, {514, 1'000'000});
  keys.section("architecture", [&base](Keys& inner) { describe(inner, base.architecture); });
}

void describe(Keys& keys, ParagonConfig& paragon) {
  keys.truth("equal_total", paragon.equal_total);
  keys.truth("one_shard", paragon.one_shard);
  keys.optional_number("learning_rate", paragon.learning_rate, {.least = 0.0, .most = 1.0, .above_least = true});
}

void describe(Keys& keys, SoupConfig& soup) {
  keys.whole("scale_bits", soup.scale_bits, {16, 52});
  keys.truth("leave_one_out", soup.leave_one_out);
  describe_choice(keys, "on_missing", soup.on_missing, missing_choices);
  keys.truth("accumulate", soup.accumulate);
}

void describe(Keys& keys, LaunchConfig& launch) {
  keys.whole("ranks_per_group", launch.ranks_per_group, {1, 65536});
  keys.whole("threads_per_rank", launch.threads_per_rank, {0, 1024});
  keys.whole("deadline_seconds", launch.deadline_seconds, {0, 604800});
  keys.word("device", launch.device, device_names);
  keys.word("collectives", launch.collectives, collectives_names);
  keys.truth("deterministic", launch.deterministic);
  keys.text("umask", launch.umask, Need::optional);
}

void describe(Keys& keys, ClusterConfig& cluster) {
  keys.word("scheduler", cluster.scheduler, scheduler_names);
  keys.text("partition", cluster.partition, Need::optional);
  keys.text("account", cluster.account, Need::optional);
  keys.text("qos", cluster.qos, Need::optional);
  keys.text("time", cluster.time, Need::optional);
  keys.text("memory", cluster.memory, Need::optional);
  keys.whole("cores_per_rank", cluster.cores_per_rank, {1, 4096});
  keys.whole("gpus_per_rank", cluster.gpus_per_rank, {0, 1});
  keys.whole("ranks_per_node", cluster.ranks_per_node, {0, 4096});
  keys.whole("base_ranks", cluster.base_ranks, {1, 65536});
  keys.whole("paragon_ranks", cluster.paragon_ranks, {1, 65536});
  keys.whole("soup_ranks", cluster.soup_ranks, {1, 65536});
  keys.whole("most_running", cluster.most_running, {0, 100'000});
  keys.whole("signal_seconds", cluster.signal_seconds, {1, 65535});
  keys.word("launcher", cluster.launcher, launcher_names);
  keys.text_list("modules", cluster.modules);
  keys.text_list("prolog", cluster.prolog);
  keys.text_list("options", cluster.options);
  keys.text("program", cluster.program, Need::optional);
  keys.text("image", cluster.image, Need::optional);
  keys.text("volume", cluster.volume, Need::optional);
}

}  // namespace

void describe(Keys& keys, TrainConfig& train) {
  keys.whole("images", train.images, {1, many_images});
  keys.whole("batch", train.batch, {1, 65536});
  keys.whole("micro_batch", train.micro_batch, {0, 65536});
  keys.word("precision", train.precision, precisions);
  keys.truth("recompute_activations", train.recompute_activations);
  keys.number("learning_rate", train.learning_rate, {.least = 0.0, .most = 1.0, .above_least = true});
  keys.optional_number("text_encoder_learning_rate", train.text_encoder_learning_rate, {0.0, 1.0});
  keys.whole("warmup_images", train.warmup_images, {0, many_images});
  keys.word("lr_schedule", train.lr_schedule, learning_rate_schedules);
  keys.number("final_lr_fraction", train.final_lr_fraction, {0.0, 1.0});
  keys.number("weight_decay", train.weight_decay, {0.0, 10.0});
  keys.number("beta1", train.beta1, {.least = 0.0, .most = 1.0, .below_most = true});
  keys.number("beta2", train.beta2, {.least = 0.0, .most = 1.0, .below_most = true});
  keys.number("epsilon", train.epsilon, {.least = 0.0, .most = 1.0, .above_least = true});
  keys.number("clip_norm", train.clip_norm, {0.0, 1e6});
  keys.word("prediction_type", train.prediction_type, trained_predictions);
  keys.truth("zero_terminal_snr", train.zero_terminal_snr);
  keys.number("min_snr_gamma", train.min_snr_gamma, {0.0, 1e6});
  keys.number("noise_offset", train.noise_offset, {0.0, 1.0});
  keys.number("input_perturbation", train.input_perturbation, {0.0, 1.0});
  keys.number("caption_dropout", train.caption_dropout, {0.0, 1.0});
  keys.number("style_dropout", train.style_dropout, {0.0, 1.0});
  keys.whole("ema_halflife_images", train.ema_halflife_images, {0, many_images});
  keys.number("ema_rampup", train.ema_rampup, {0.0, 1.0});
  keys.word("keep_weights", train.keep_weights, kept_weights);
  keys.whole("clip_skip", train.clip_skip, {1, 64});
  keys.truth("train_text_encoder", train.train_text_encoder);
  keys.text_list("frozen", train.frozen);
  keys.whole("checkpoint_images", train.checkpoint_images, {1, many_images});
  keys.whole("keep_checkpoints", train.keep_checkpoints, {1, 1000});
  keys.whole("log_images", train.log_images, {1, many_images});
  keys.whole("validate_images", train.validate_images, {0, many_images});
  keys.truth("snapshots", train.snapshots);
  keys.whole("sample_images", train.sample_images, {0, many_images});
  keys.text_list("sample_prompts", train.sample_prompts);
}

void describe(Keys& keys, ScorerConfig& scorer) {
  keys.whole_list("channels", scorer.channels, {8, 1024});
  keys.whole("vocab_size", scorer.vocab_size, {514, 1'000'000});
  keys.whole("max_tokens", scorer.max_tokens, {3, 1024});
  keys.whole("text_width", scorer.text_width, {1, 8192});
  keys.whole("text_layers", scorer.text_layers, {1, 64});
  keys.whole("text_heads", scorer.text_heads, {1, 256});
  keys.whole("embedding", scorer.embedding, {1, 8192});
  keys.text_list("contexts", scorer.contexts);
  keys.whole("images", scorer.images, {1, many_images});
  keys.whole("batch", scorer.batch, {2, 65536});
  keys.number("learning_rate", scorer.learning_rate, {.least = 0.0, .most = 1.0, .above_least = true});
  keys.whole("warmup_images", scorer.warmup_images, {0, many_images});
  keys.number("weight_decay", scorer.weight_decay, {0.0, 10.0});
  keys.number("style_balance", scorer.style_balance, {0.0, 1.0});
  keys.number("style_dropout", scorer.style_dropout, {0.0, 1.0});
  keys.number("context_weight", scorer.context_weight, {0.0, 100.0});
  keys.number("style_weight", scorer.style_weight, {0.0, 100.0});
  keys.whole("shift_pixels", scorer.shift_pixels, {0, 64});
}

void describe(Keys& keys, SampleOptions& sampling) {
  keys.word("sampler", sampling.sampler.sampler, sampler_names);
  keys.whole("steps", sampling.sampler.steps, {1, 1000});
  keys.word("spacing", sampling.sampler.spacing, spacing_names);
  keys.truth("karras", sampling.sampler.karras);
  keys.number("guidance", sampling.guidance, {0.0, 100.0});
  keys.number("guidance_rescale", sampling.guidance_rescale, {0.0, 1.0});
}

void describe(Keys& keys, EvaluationConfig& evaluation) {
  keys.whole("prompts", evaluation.prompts, {0, 100000});
  describe(keys, evaluation.sampling);
  keys.whole("grid_prompts", evaluation.grid_prompts, {0, 64});
  keys.whole("denoising_images", evaluation.denoising_images, {0, 1'000'000});
  keys.whole("bootstrap", evaluation.bootstrap, {0, 100000});
  keys.path("scorer", evaluation.scorer, Need::optional);
  keys.truth("ensemble", evaluation.ensemble);
}

void describe(Keys& keys, ShardSpec& shard) {
  keys.text("name", shard.name, Need::required);
  keys.whole("weight", shard.weight, {1, 1'000'000});
  keys.whole("images", shard.images, {0, many_images});
  keys.whole("ranks", shard.ranks, {0, 65536});

  auto* held_theme = std::get_if<IconThemeSource>(&shard.source);
  auto* held_idx = std::get_if<IdxSource>(&shard.source);
  auto* held_file = std::get_if<FileSource>(&shard.source);
  auto* held_folder = std::get_if<FolderSource>(&shard.source);
  auto* held_tars = std::get_if<TarsSource>(&shard.source);
  // A reader starts from an empty ShardSpec, whose source counts as absent until its key is met.
  bool has_theme = held_theme != nullptr;
  bool has_idx = held_idx != nullptr;
  bool has_folder = held_folder != nullptr;
  bool has_tars = held_tars != nullptr;
  IconThemeSource theme = has_theme ? *held_theme : IconThemeSource();
  IdxSource idx = has_idx ? *held_idx : IdxSource();
  FolderSource folder = has_folder ? *held_folder : FolderSource();
  TarsSource tars = has_tars ? *held_tars : TarsSource();
  std::filesystem::path file = held_file != nullptr ? held_file->path : std::filesystem::path();
  keys.optional_section("icon_theme", has_theme, [&](Keys& inner) { describe_icon_theme(inner, shard.theme, theme); });
  keys.optional_section("idx", has_idx, [&](Keys& inner) { describe_idx(inner, idx); });
  keys.optional_section("folder", has_folder, [&](Keys& inner) { describe_folder(inner, folder); });
  keys.optional_section("webdataset", has_tars, [&](Keys& inner) { describe_webdataset(inner, tars); });
  keys.path("file", file, Need::optional);
  if (has_idx) {
    shard.source = std::move(idx);
  } else if (has_folder) {
    shard.source = std::move(folder);
  } else if (has_tars) {
    shard.source = std::move(tars);
  } else if (!file.empty()) {
    shard.source = FileSource{std::move(file)};
  } else {
    shard.source = std::move(theme);
  }
}

void describe(Keys& keys, ModelConfig& architecture) {
  keys.word("autoencoder", architecture.autoencoder, autoencoders);
  keys.section("unet", [&architecture](Keys& inner) { describe(inner, architecture.unet); });
  keys.section("text_encoder", [&architecture](Keys& inner) { describe(inner, architecture.text_encoder); });
  keys.section("schedule", [&architecture](Keys& inner) { describe(inner, architecture.schedule); });
}

void describe(Keys& keys, Experiment& experiment) {
  int schema = experiment_schema;
  keys.whole("schema", schema, {experiment_schema, experiment_schema});
  keys.text("name", experiment.name, Need::required);
  keys.seed("seed", experiment.seed);
  // Text, not a path to resolve: a new run folder does not exist yet.
  std::string run_folder = experiment.run_folder.native();
  keys.text("run_folder", run_folder, Need::optional);
  experiment.run_folder = run_folder;
  keys.section("data", [&experiment](Keys& inner) { describe(inner, experiment.data); });
  keys.section("base", [&experiment](Keys& inner) { describe(inner, experiment.base); });
  keys.section("ingredients", [&experiment](Keys& inner) { describe(inner, experiment.ingredients); });
  keys.section("paragon", [&experiment](Keys& inner) { describe(inner, experiment.paragon); });
  keys.section("soup", [&experiment](Keys& inner) { describe(inner, experiment.soup); });
  keys.section("launch", [&experiment](Keys& inner) { describe(inner, experiment.launch); });
  keys.section("cluster", [&experiment](Keys& inner) { describe(inner, experiment.cluster); });
  keys.section("evaluation", [&experiment](Keys& inner) { describe(inner, experiment.evaluation); });
  bool has_scorer = experiment.scorer.has_value();
  ScorerConfig scorer = experiment.scorer.value_or(ScorerConfig());
  keys.optional_section("scorer", has_scorer, [&scorer](Keys& inner) { describe(inner, scorer); });
  if (has_scorer) {
    experiment.scorer = std::move(scorer);
  }
}

std::string_view name_of(OnDuplicate value) {
  return duplicate_choices.at(static_cast<std::size_t>(value));
}

std::filesystem::path default_theme_root(const std::string& package, const std::string& theme) {
  const std::filesystem::path below = std::filesystem::path(".deps/icons") / package / "usr/share/icons" / theme;
  std::error_code error;
  for (const auto& root :
       {below, std::filesystem::path(SOUP_SOURCE_DIR) / below, std::filesystem::path("/usr/share/icons") / theme}) {
    if (std::filesystem::exists(root / "index.theme", error)) {
      return root;
    }
  }
  return below;
}

}  // namespace soup
