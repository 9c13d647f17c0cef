// A soup's folder being written: averaged parts from sums, all else copied, ledger last, then renamed as a whole.
#include "merge/soup_folder_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/copy_files.hpp"
#include "core/error.hpp"
#include "merge/float_formats.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace fs = std::filesystem;

std::map<std::string, std::string> provenance(const Ledger& ledger) {
  nlohmann::json ingredients = nlohmann::json::array();
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    std::map<std::string, Digest> parts;
    for (const auto& [name, part] : ingredient.parts) {
      parts.emplace(name, part.digest);
    }
    ingredients.push_back({{"name", ingredient.name},
                           {"weight", ledger.blend ? nlohmann::json(ingredient.asked_weight.value_or(1.0))
                                                   : nlohmann::json(ingredient.weight)},
                           {"digest", model_digest(parts).hex()},
                           {"data", ingredient.data_root_digest ? ingredient.data_root_digest->hex() : ""}});
  }
  return {{"format", "pt"},
          {"soup.digest", ledger.soup_digest().hex()},
          {"soup.method", ledger.method()},
          {"soup.base", ledger.base_digest ? ledger.base_digest->hex() : ""},
          {"soup.scale_bits", std::to_string(ledger.scale_bits)},
          {"soup.total_weight", std::to_string(ledger.total_weight)},
          {"soup.ingredients", ingredients.dump()}};
}

std::size_t provenance_bytes(std::size_t ingredients) {
  // Two digests, a weight of up to 16 digits, keys and quotes (escaped: the list is a text) are below 256 bytes; a name
  // may be a file name's 255 bytes, escaped twice at most sixfold.
  return 1024 + ingredients * (256 + 6 * 255);
}

namespace {

// Where the part's tensors go: into files like the ingredient's, without a variant's name.
FileLayout layout_like(const ModelFolder& model, const ModelPart& part, const Weights& weights) {
  FileLayout layout;
  for (const fs::path& file : part.files) {
    const bool is_safetensors = file.extension() == ".safetensors";
    layout.files.push_back(is_safetensors && model.is_folder() ? without_variant(file)
                                                               : fs::path(only_part).concat(".safetensors"));
  }
  if (part.files.size() > 1) {
    layout.files = part.files;
    std::ranges::transform(layout.files, layout.files.begin(), without_variant);
    layout.index = part.index.empty() ? fs::path() : without_variant(part.index);
  }
  for (const WeightTensor& tensor : weights.tensors()) {
    layout.file_of.push_back(tensor.file);
  }
  return layout;
}

FileLayout layout_of(const ModelFolder& model, const ModelPart& part, const Weights& weights, const SoupForm& form) {
  FileLayout like = layout_like(model, part, weights);
  if (!form.shard_bytes) {
    return like;
  }
  std::vector<TensorForm> tensors;
  for (const WeightTensor& tensor : weights.tensors()) {
    tensors.push_back({tensor.name, soup_dtype(tensor.dtype, form.scale), tensor.shape});
  }
  return in_shards(like.files.front().parent_path(), stem_of(like.files.front()), tensors, *form.shard_bytes);
}

// Integer tensors are no part of sums; that all ingredients have the same is the trainer's doing.
void copy_integers(SoupFolderWriter::Part& part) {
  constexpr std::uint64_t block = std::uint64_t{1} << 20;
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < part.like.tensors().size(); ++i) {
    const WeightTensor& tensor = part.like.tensors()[i];
    for (std::uint64_t first = 0; !is_floating(tensor.dtype) && first < tensor.elements; first += block) {
      bytes.resize(std::min(block, tensor.elements - first) * size_of(tensor.dtype));
      part.like.read(i, first, bytes);
      part.writer.copy(i, first, bytes);
    }
  }
}

}  // namespace

SoupFolderWriter::Part::Part(std::string its_name, Weights its_like, const fs::path& folder, const FileLayout& layout,
                             const SoupForm& form, std::size_t metadata_bytes)
    : name(std::move(its_name)),
      files(layout.files),
      like(std::move(its_like)),
      writer(folder, layout, like, form.scale, form.accumulator, metadata_bytes) {}

SoupFolderWriter::SoupFolderWriter(const fs::path& folder, const ModelFolder& like,
                                   const std::vector<std::string>& averaged_parts, const SoupForm& form,
                                   std::size_t ingredients)
    : folder_(folder), form_(form) {
  form_.accumulator =
      usable_kind(form.accumulator, form.scale.total_weight, form.scale.dtype == std::optional(DType::f32));
  copy_files(like.path, folder_.partial(), like.others);
  for (const ModelPart& part : like.parts) {
    if (std::ranges::find(averaged_parts, part.name) == averaged_parts.end()) {
      copy_files(like.path, folder_.partial(), part.files);
      if (!part.index.empty()) {
        copy_files(like.path, folder_.partial(), {part.index});
      }
      continue;
    }
    Weights weights = open_part(like, part);
    const FileLayout layout = layout_of(like, part, weights, form_);
    parts_.push_back(std::make_unique<Part>(part.name, std::move(weights), folder_.partial(), layout, form_,
                                            provenance_bytes(ingredients)));
  }
}

BucketSink SoupFolderWriter::sink(const TensorLayout& layout, const std::string& part) {
  const auto found = std::ranges::find(parts_, part, [](const std::unique_ptr<Part>& each) { return each->name; });
  SOUP_REQUIRE(found != parts_.end(), "part " + part + " is not averaged");
  Part& target = **found;
  copy_integers(target);
  struct Place {
    std::size_t tensor = 0;
    const TensorSlot* slot = nullptr;
  };
  std::vector<Place> places;
  for (const TensorSlot& slot : layout.slots()) {
    const std::optional<std::size_t> tensor = target.like.find(slot.name);
    SOUP_REQUIRE(tensor && target.like.tensors()[*tensor].shape == slot.shape,
                 "part " + part + " does not hold tensor " + slot.name);
    places.push_back({*tensor, &slot});
  }
  return [places, &writer = target.writer, scratch = SoupWriter::Scratch()](
             std::uint64_t offset, std::span<const std::int64_t> sums, std::span<const float>) mutable {
    for (const Place& place : places) {
      const std::uint64_t begin = std::max(place.slot->offset, offset);
      const std::uint64_t end = std::min(place.slot->offset + place.slot->count, offset + sums.size());
      if (begin < end) {
        writer.put(place.tensor, begin - place.slot->offset, sums.subspan(begin - offset, end - begin), scratch);
      }
    }
  };
}

Ledger SoupFolderWriter::commit(Ledger ledger, Sync sync, const FinishFolder& finish_folder) {
  ledger.program = program_version();
  ledger.scale_bits = form_.scale.scale_bits;
  ledger.total_weight = form_.scale.total_weight;
  ledger.dtype = ledger_dtype(form_.scale.dtype);
  std::ranges::sort(ledger.ingredients, {}, &LedgerIngredient::name);
  ledger.parts.clear();
  ledger.accumulator = {form_.accumulator, {}};
  for (const std::unique_ptr<Part>& part : parts_) {
    const auto digest_below = [&](const fs::path& folder) {
      return weights_digest(open_part_below(folder, part->name, part->files));
    };
    ledger.parts.emplace(part->name, part->digest ? *part->digest : digest_below(folder_.partial()));
    if (form_.accumulator != AccumulatorKind::none) {
      ledger.accumulator.parts.emplace(part->name, part->accumulator_digest
                                                       ? *part->accumulator_digest
                                                       : digest_below(folder_.partial() / accumulator_folder));
    }
  }
  for (const std::unique_ptr<Part>& part : parts_) {
    part->writer.set_metadata(provenance(ledger));
  }
  if (finish_folder) {
    finish_folder(ledger, folder_.partial());
  }
  write_ledger(folder_.partial(), ledger);
  folder_.commit(sync);
  return ledger;
}

}  // namespace soup
