// The stages that train: base, ingredients and paragons, all by the one trainer.
#include "experiments/training_stages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "data/caption.hpp"
#include "experiments/prompts.hpp"
#include "experiments/shard_access.hpp"
#include "launch/schedule.hpp"
#include "launch/work_queue.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/weights_digest.hpp"
#include "trainer/trainer.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// One training as a stage: what differs between base, ingredient and paragon.
struct TrainingTask {
  const Stage& stage;
  ModelKind kind;
  std::string scope;  // of the random streams
  std::vector<TrainingShard> shards;
  DiffusionModel model;
  std::optional<Digest> base;  // model_digest it starts from; absent from scratch
  Validation validation;
};

Digest data_root(const std::vector<TrainingShard>& shards) {
  std::vector<Digest> roots;
  for (const TrainingShard& shard : shards) {
    roots.push_back(shard.training.digest);
  }
  return roots.size() == 1 ? roots.front() : merkle_root(roots);
}

// Captions with style words, and the images themselves.
Validation held_out_part(const RunContext& context, const std::vector<TrainingShard>& shards, std::size_t most) {
  Validation validation;
  for (const TrainingShard& shard : shards) {
    const std::vector<std::uint64_t> held_out = held_out_set(*shard.file, held_out_of(context.experiment));
    const std::size_t share = std::min(held_out.size(), most / shards.size());
    for (std::size_t i = 0; i < share; ++i) {
      const std::uint64_t image = held_out[i * held_out.size() / share];  // spread over the file
      validation.images.push_back(shard_image(*shard.file, image));
      validation.captions.push_back(styled_caption(shard.file->caption(image), shard.file->style(image)));
    }
  }
  return validation;
}

// The model folder of a finished training: weights, EMA weights, loss curve and record; complete or not at all.
Digest publish(const RunContext& context, const TrainingTask& task, Trainer& trainer, const TrainConfig& config,
               const fs::path& folder) {
  AtomicFolder output(folder);
  const std::map<std::string, std::string> provenance = {{"soup.stage", task.stage.name},
                                                         {"soup.images", std::to_string(trainer.clock().images)},
                                                         {"soup.data_root", data_root(task.shards).hex()},
                                                         {"soup.base", task.base ? task.base->hex() : ""}};
  std::vector<std::string> trained = {"unet"};
  if (config.train_text_encoder) {
    trained.emplace_back("text_encoder");
  }
  if (task.kind == ModelKind::base) {
    // What is fine-tuned and sampled from is the averaged base; its raw weights serve nobody.
    const Trainer::EmaScope ema(trainer);
    save_model(output.partial(), task.model, provenance);
  } else {
    const fs::path base = base_folder(context.experiment);
    std::optional<Trainer::EmaScope> averaged;
    if (config.keep_weights == "ema") {
      averaged.emplace(trainer);
    }
    save_fine_tuned(output.partial(), task.model, base, trained, provenance);
    if (config.keep_weights == "both") {
      const Trainer::EmaScope ema(trainer);
      save_unet(output.partial() / "unet_ema", *task.model.unet, provenance);
      trained.emplace_back("unet_ema");
      if (config.train_text_encoder) {
        save_text_encoder(output.partial() / "text_encoder_ema", task.model, provenance);
        trained.emplace_back("text_encoder_ema");
      }
    }
  }
  trainer.write_curve(output.partial() / "loss.jsonl");
  if (fs::exists(folder / Trainer::samples_folder)) {
    fs::copy(folder / Trainer::samples_folder, output.partial() / Trainer::samples_folder, fs::copy_options::recursive);
  }
  if (config.lr_schedule == "constant") {
    // A training at a constant rate can be made longer: keep where it stands.
    keep_newest_checkpoint(folder, output.partial());
  }
  IngredientRecord record;
  record.name = task.scope;
  record.kind = task.kind;
  record.base_digest = task.base;
  record.data_root_digest = data_root(task.shards);
  record.config_digest = sha256(task.stage.settings);
  record.images = static_cast<std::int64_t>(trainer.clock().images);
  record.seed = context.experiment.seed;
  for (const TrainingShard& shard : task.shards) {
    record.shards.push_back(fs::relative(shard.file->path(), context.experiment.run_folder).string());
  }
  record.trained_parts = trained;
  record.weights = part_digests(output.partial());
  write_ingredient_record(output.partial(), record);
  const Digest result = model_digest(record.weights);
  output.commit();
  return result;
}

Digest train(const RunContext& context, TrainingTask task, Communicator& team) {
  const fs::path folder = context.folder_of(task.stage);
  auto images = std::make_shared<TrainingImages>();
  for (const TrainingShard& shard : task.shards) {
    images->add(shard.file, shard.training.images);
  }
  TrainJob job;
  job.title = task.stage.name;
  job.scope = task.scope;
  job.config = train_config_of(task.stage, context.experiment);
  job.seeds = SeedTree(context.experiment.seed);
  job.key = trajectory_key(task.stage, context.stages, context.experiment.run_folder).value();
  job.folder = folder;
  agreed(team, [&] { fs::create_directories(folder); });
  Trainer trainer(task.model, images, std::move(task.validation), job, team, context.log);
  trainer.run();
  return agreed(team,
                [&] { return team.rank() == 0 ? publish(context, task, trainer, job.config, folder) : Digest{}; });
}

// Base and paragon use all ranks that get an image of each batch; the others wait.
void run_by_all(const RunContext& context, const Stage& stage, const std::function<StageResult(Communicator&)>& body) {
  const std::int64_t batch = stage.images > 0 ? train_config_of(stage, context.experiment).batch : 1;
  const int ranks = static_cast<int>(std::min<std::int64_t>(context.topology.world_size, batch));
  const bool member = context.topology.rank < ranks;
  const std::unique_ptr<Communicator> team =
      context.for_weights(context.patient->split(member ? 0 : 1, context.topology.rank), stage.name);
  agreed(*context.patient, [&] {
    if (member) {
      run_stage(context, stage, *team, [&](const Digest&) { return body(*team); });
    }
  });
}

// Fresh weights and a tokenizer learned from the training captions of all base shards.
DiffusionModel fresh_base(const RunContext& context, const std::vector<TrainingShard>& shards) {
  const BaseConfig& base = context.experiment.base;
  std::vector<std::string> captions;
  for (const TrainingShard& shard : shards) {
    for (const std::uint64_t image : shard.training.images) {
      captions.push_back(styled_caption(shard.file->caption(image), shard.file->style(image)));
    }
  }
  ModelConfig architecture = base.architecture;
  auto tokenizer = std::make_shared<Tokenizer>(
      Tokenizer::learn(captions, base.vocab_size, architecture.text_encoder.max_position_embeddings));
  architecture.text_encoder.vocab_size = tokenizer->vocab_size();
  architecture.text_encoder.bos_token_id = tokenizer->start_token();
  architecture.text_encoder.eos_token_id = tokenizer->end_token();
  DiffusionModel model = make_model(architecture, std::move(tokenizer), SeedTree(context.experiment.seed));
  model.to(context.device);
  return model;
}

std::vector<TrainingShard> open_shards(const RunContext& context, bool base_shards) {
  std::vector<TrainingShard> shards;
  for (const Stage* stage : import_stages(context, base_shards)) {
    shards.push_back(open_for_training(context, *stage));
  }
  return shards;
}

// Copies the model the experiment names into the run, so that the run holds all it was made from.
Digest adopt_base(const RunContext& context, const Stage& stage) {
  const fs::path folder = context.folder_of(stage);
  AtomicFolder output(folder);
  fs::copy(*context.experiment.base.model, output.partial(),
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  fs::remove(output.partial() / "DONE");
  const Digest result = model_digest(part_digests(output.partial()));
  output.commit();
  return result;
}

// A model of another shape than the data fails here, before anything is trained on it.
void check_resolution(const DiffusionModel& model, const RunContext& context, const fs::path& folder) {
  const std::int64_t pixels = model.native_side();
  if (pixels != context.experiment.data.resolution) {
    throw DataError(folder,
                    fmt::format("the base makes images of {} pixels, data.resolution is {}", pixels,
                                context.experiment.data.resolution),
                    "set data.resolution to the base's, or give a base of this resolution");
  }
}

DiffusionModel load_base(const RunContext& context) {
  const fs::path folder = base_folder(context.experiment);
  DiffusionModel model = load_model(folder, WeightSet::raw, context.device);
  for (const std::string& remark : model.remarks) {
    context.log.info(remark);
  }
  check_resolution(model, context, folder);
  return model;
}

// All or the one that is asked for: indices into data.shards.
std::vector<std::size_t> wanted_shards(const RunContext& context, const std::optional<std::string>& only) {
  const std::vector<ShardSpec>& specs = context.experiment.data.shards;
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!only || specs[i].name == *only) {
      wanted.push_back(i);
    }
  }
  if (wanted.empty()) {
    throw ConfigError(fmt::format("the experiment has no shard {}", only.value_or("")), "data.shards lists the names");
  }
  return wanted;
}

// What is left to train of these shards, in seconds of one image on one rank: of equal images only their number counts.
std::vector<Work> work_of(const RunContext& context, const std::vector<std::size_t>& shards) {
  const std::vector<const Stage*> ingredients = context.of_kind(StageKind::ingredient);
  std::vector<Work> work;
  for (const std::size_t shard : shards) {
    const Stage& stage = *ingredients[shard];
    const ShardSpec& spec = context.experiment.data.shards[shard];
    const std::uint64_t seen = newest_checkpoint_images(context.folder_of(stage)).value_or(0);
    const bool done = is_done(stage, context.stages, context.experiment.run_folder);
    const std::uint64_t left = done || seen >= stage.images ? 0 : stage.images - seen;
    work.push_back({spec.name, static_cast<double>(left), ranks_of(spec, context.experiment)});
  }
  return work;
}

StageResult train_ingredient(const RunContext& context, const Stage& stage, const Stage& import_stage) {
  std::vector<TrainingShard> shards = {open_for_training(context, import_stage)};
  const std::string scope = shards.front().name;
  Validation validation = held_out_part(context, shards, 256);
  return {train(context,
                {stage, ModelKind::ingredient, scope, std::move(shards), load_base(context),
                 model_digest(part_digests(base_folder(context.experiment))), std::move(validation)},
                *context.group)};
}

}  // namespace

fs::path base_folder(const Experiment& experiment) {
  return experiment.run_folder / "base";
}

void run_base(const RunContext& context) {
  const Stage& stage = context.stage("base");
  run_by_all(context, stage, [&](Communicator& team) -> StageResult {
    if (context.experiment.base.model) {
      return {agreed(team, [&] { return team.rank() == 0 ? adopt_base(context, stage) : Digest{}; })};
    }
    std::vector<TrainingShard> shards = open_shards(context, true);
    DiffusionModel model = fresh_base(context, shards);
    Validation validation = held_out_part(context, shards, 512);
    return {train(
        context,
        {stage, ModelKind::base, "base", std::move(shards), std::move(model), std::nullopt, std::move(validation)},
        team)};
  });
}

void check_ingredients(const RunContext& context, const std::optional<std::string>& only) {
  const std::vector<const Stage*> imports = import_stages(context, false);
  agreed(*context.patient, [&] {
    const Stage& base = *context.of_kind(StageKind::base).front();
    if (context.experiment.base.model || is_done(base, context.stages, context.experiment.run_folder)) {
      // Nothing is trained before the ingredients: each trainer looks at its shard itself, and no one at another's.
      return;
    }
    const std::vector<std::size_t> shards = wanted_shards(context, only);
    for (const Turn& turn : make_schedule(context.topology.group_sizes, work_of(context, shards)).turns) {
      if (turn.group != context.topology.group || context.topology.rank_in_group != 0) {
        continue;
      }
      const TrainingShard opened = open_for_training(context, *imports[shards[turn.work]]);
      if (opened.training.images.empty()) {
        throw DataError(opened.file->path(),
                        fmt::format("shard {} has no image to train on: of its {}, each is held out or dropped as a "
                                    "duplicate of an earlier shard's",
                                    opened.name, opened.file->size()),
                        "lower data.held_out, set data.exact_duplicates to report, or take the shard out");
      }
    }
  });
}

void run_ingredients(const RunContext& context, const std::optional<std::string>& only, const IngredientDone& on_done) {
  const std::vector<const Stage*> ingredients = context.of_kind(StageKind::ingredient);
  const std::vector<const Stage*> imports = import_stages(context, false);
  const std::vector<std::size_t> shards = wanted_shards(context, only);
  const std::vector<Work> work = agreed(*context.group, [&] { return work_of(context, shards); });
  const std::vector<std::size_t> order =
      order_for_group(work, context.topology.group_sizes[static_cast<std::size_t>(context.topology.group)]);
  WorkQueue queue(context.experiment.run_folder / "claims", *context.patient);
  std::exception_ptr failure;
  while (const std::optional<std::size_t> next = queue.take(order, *context.group)) {
    const Stage& stage = *ingredients[shards[*next]];
    try {
      run_stage(context, stage, *context.group,
                [&](const Digest&) { return train_ingredient(context, stage, *imports[shards[*next]]); });
      agreed(*context.group, [&] { on_done(stage); });
    } catch (const Interrupted&) {
      failure = std::current_exception();
      break;
    } catch (const CommError&) {
      failure = std::current_exception();
      break;
    } catch (const std::exception& error) {
      // All ranks of the group are here: it can go on. Not even a GPU's full memory is a reason to leave the others.
      const bool tolerated = !only && context.experiment.soup.on_missing != OnMissing::fail;
      failure = failure || tolerated ? failure : std::current_exception();
      if (context.group->rank() == 0 && (tolerated || shards.size() > 1)) {
        context.log.warn(fmt::format("{} failed, the others go on: {}", stage.name, error.what()));
      }
    }
  }
  queue.close(*context.patient);
  agreed(*context.patient, [&] {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
}

void run_paragons(const RunContext& context) {
  for (const Stage* stage : context.of_kind(StageKind::paragon)) {
    run_by_all(context, *stage, [&](Communicator& team) -> StageResult {
      std::vector<TrainingShard> shards = open_shards(context, false);
      Validation validation = held_out_part(context, shards, 256);
      return {train(context,
                    {*stage, ModelKind::paragon, "paragon", std::move(shards), load_base(context),
                     model_digest(part_digests(base_folder(context.experiment))), std::move(validation)},
                    team)};
    });
  }
}

}  // namespace soup
