// The stages before training: import and duplicates.
#include "experiments/data_stages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "data/duplicates.hpp"
#include "data/import.hpp"
#include "experiments/shard_access.hpp"
#include "trainer/shard_encoder.hpp"

namespace soup {

namespace {

// `shard`: the stage's own file, beside which the list of skipped items lies; `path` may be one on the way to it.
void import_one(const RunContext& context, const ShardSpec& spec, const std::filesystem::path& shard,
                const std::filesystem::path& path) {
  ImportOptions options;
  options.notes = shard.string() + ".notes.jsonl";
  options.shard = spec.name;
  options.resolution = context.experiment.data.resolution;
  options.workers = context.threads();
  options.seconds_per_image = context.experiment.data.seconds_per_image;
  options.max_broken_fraction = context.experiment.data.max_broken_fraction;
  if (const auto* file = std::get_if<FileSource>(&spec.source)) {
    std::filesystem::copy_file(file->path, path, std::filesystem::copy_options::overwrite_existing);
    return;
  }
  ImportReport report;
  if (const auto* theme = std::get_if<IconThemeSource>(&spec.source)) {
    report = import_icon_theme(*theme, options, path, context.log);
  } else if (const auto* folder = std::get_if<FolderSource>(&spec.source)) {
    report = import_folder(*folder, options, path, context.log);
  } else if (const auto* tars = std::get_if<TarsSource>(&spec.source)) {
    report = import_webdataset(*tars, options, path, context.log);
  } else {
    report = import_idx(std::get<IdxSource>(spec.source), options, path, context.log);
  }
  context.log.info(fmt::format("shard {}: {} images kept of {} files ({})", spec.name, report.kept, report.files,
                               summary_of(report)));
  context.log.event("imported", {{"shard", spec.name},
                                 {"files", report.files},
                                 {"kept", report.kept},
                                 {"symlinks", report.symlinks},
                                 {"duplicates", report.duplicates},
                                 {"blank", report.blank},
                                 {"unreadable", report.unreadable},
                                 {"broken", report.broken},
                                 {"too_small", report.too_small},
                                 {"without_caption", report.without_caption},
                                 {"cleaned_captions", report.cleaned_captions},
                                 {"cut_captions", report.cut_captions},
                                 {"wrong_extension", report.wrong_extension}});
}

// The images first go beside the shard, with the stage's key, so that an encoding that was stopped does not need them
// imported again.
void import_and_encode(const RunContext& context, const ShardSpec& spec, const Digest& key,
                       const std::filesystem::path& path) {
  const std::filesystem::path images = path.string() + ".images";
  const std::filesystem::path key_file = images.string() + ".key";
  if (!std::filesystem::exists(key_file) || read_file(key_file) != key.hex()) {
    import_one(context, spec, path, images);
    write_file_atomically(key_file, key.hex());
  }
  const EncodeReport report =
      encode_shard(images, load_model(*context.experiment.base.model, WeightSet::raw, context.device),
                   {.clip_skip = context.experiment.ingredients.clip_skip}, path, context.log);
  std::filesystem::remove(images);
  std::filesystem::remove(key_file);
  context.log.info(
      fmt::format("shard {}: {} images and {} different texts encoded, {} of them longer than the text "
                  "encoder takes",
                  spec.name, report.images, report.texts, report.truncated));
}

// The rank that imports a stage's shard.
int importer_of(const RunContext& context, const Stage& stage) {
  const auto groups = static_cast<std::size_t>(context.topology.groups());
  return context.topology.first_rank(static_cast<int>(stage.shard % groups));
}

nlohmann::json describe(const DuplicatePair& pair, const std::vector<ShardFile>& shards) {
  return {{"first_shard", shards[pair.first_shard].origin().name},
          {"first_source", shards[pair.first_shard].source(pair.first_image)},
          {"second_shard", shards[pair.second_shard].origin().name},
          {"second_source", shards[pair.second_shard].source(pair.second_image)},
          {"exact", pair.exact},
          {"distance", pair.distance},
          {"rms", pair.rms}};
}

std::vector<ShardFile> open_all(const RunContext& context, bool base_shards) {
  std::vector<ShardFile> files;
  for (const Stage* stage : import_stages(context, base_shards)) {
    files.emplace_back(shard_path(context.experiment.run_folder, *stage));
  }
  return files;
}

// How many images of the data shards are also in the base's shards; information only, the base is common to all
// ingredients.
std::size_t count_in_base(const RunContext& context, const DuplicateOptions& options) {
  std::vector<ShardFile> shards = open_all(context, true);
  const std::size_t base_shards = shards.size();
  if (base_shards == 0) {
    return 0;
  }
  for (ShardFile& shard : open_all(context, false)) {
    shards.push_back(std::move(shard));
  }
  const std::vector<DuplicatePair> pairs = cross_shard_duplicates(shards, options);
  return static_cast<std::size_t>(std::count_if(pairs.begin(), pairs.end(), [base_shards](const DuplicatePair& pair) {
    return pair.first_shard < base_shards && pair.second_shard >= base_shards;
  }));
}

// Writes the exclusion files and duplicates.json; returns the digest of each shard's exclusions.
std::map<std::string, Digest> find_duplicates(const RunContext& context, const std::filesystem::path& folder) {
  const DataConfig& data = context.experiment.data;
  const std::vector<ShardFile> shards = open_all(context, false);
  const std::vector<DuplicatePair> pairs = cross_shard_duplicates(shards, data.duplicates);
  std::vector<std::set<std::uint64_t>> dropped(shards.size());
  nlohmann::json listed = nlohmann::json::array();
  std::size_t exact = 0;
  std::size_t refused = 0;
  for (const DuplicatePair& pair : pairs) {
    const OnDuplicate rule = pair.exact ? data.exact_duplicates : data.near_duplicates;
    exact += pair.exact ? 1 : 0;
    refused += rule == OnDuplicate::refuse ? 1 : 0;
    if (rule == OnDuplicate::drop) {
      dropped[pair.second_shard].insert(pair.second_image);
    }
    listed.push_back(describe(pair, shards));
  }
  const std::size_t in_base = count_in_base(context, data.duplicates);
  nlohmann::ordered_json summary = {{"exact", exact}, {"near", pairs.size() - exact}, {"also_in_base", in_base}};
  std::map<std::string, Digest> parts;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string& name = data.shards[i].name;
    const std::filesystem::path file = exclusion_file(context.experiment.run_folder, name);
    write_exclusions(file, name, dropped[i]);
    parts[name] = sha256_file(file);
    summary["dropped"][name] = dropped[i].size();
  }
  summary["pairs"] = listed;
  write_file_atomically(folder / "duplicates.json", summary.dump(1) + "\n");
  context.log.info(
      fmt::format("duplicates between shards: {} exact, {} near; {} images of the shards are also in the base's", exact,
                  pairs.size() - exact, in_base));
  if (refused > 0) {
    throw DataError(folder / "duplicates.json",
                    fmt::format("{} images are in more than one shard, the first: {}", refused, listed.front().dump()),
                    "set data.exact_duplicates / data.near_duplicates to drop or report, or clean the sources");
  }
  return parts;
}

}  // namespace

void run_imports(const RunContext& context) {
  agreed(*context.patient, [&] {
    for (const Stage* stage : context.of_kind(StageKind::import_shard)) {
      if (importer_of(context, *stage) != context.topology.rank) {
        continue;
      }
      run_stage(context, *stage, *context.alone, [&](const Digest& key) {
        const std::filesystem::path path = shard_path(context.experiment.run_folder, *stage);
        std::filesystem::create_directories(path.parent_path());
        const ShardSpec& shard = shard_of(*stage, context.experiment);
        if (context.experiment.data.latents && !stage->is_base_shard) {
          import_and_encode(context, shard, key, path);
        } else {
          import_one(context, shard, path, path);
        }
        return StageResult{ShardFile(path).root()};
      });
    }
  });
}

void run_duplicates(const RunContext& context) {
  for (const Stage* stage : context.of_kind(StageKind::duplicates)) {
    agreed(*context.patient, [&] {
      if (context.topology.rank != 0) {
        return;
      }
      run_stage(context, *stage, *context.alone, [&](const Digest&) {
        const std::filesystem::path folder = context.folder_of(*stage);
        std::filesystem::create_directories(folder);
        StageResult result;
        result.parts = find_duplicates(context, folder);
        result.digest = digest_of_parts(result.parts);
        return result;
      });
    });
  }
}

}  // namespace soup
