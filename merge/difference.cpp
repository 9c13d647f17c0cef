// How models differ from a base and from each other: opening them, and what is summed up.
#include "merge/difference.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "merge/block_names.hpp"
#include "merge/compatibility.hpp"
#include "merge/delta_stream.hpp"
#include "merge/model_folder.hpp"

namespace soup {

namespace {

struct ComparedModel {
  std::string name;
  ModelFolder model;
};

void check_model_names(const std::vector<DifferenceInput>& models, std::size_t least) {
  if (models.size() < least) {
    throw ConfigError("there is nothing to compare with", "name a second model, or --base");
  }
  std::set<std::string> names;
  for (const DifferenceInput& model : models) {
    if (!names.insert(model.name).second) {
      throw ConfigError(fmt::format("two models are named \"{}\"", model.name), "give each its own name: NAME=PATH");
    }
  }
}

bool is_one_file_or_component(const ModelFolder& model) {
  return model.parts.size() == 1 && model.parts.front().name == only_part;
}

// nullptr when absent.
const ModelPart* find_compared_part(const ModelFolder& model, const std::string& part, bool only_one_asked_for) {
  const ModelPart* found = model.find(part);
  return found == nullptr && only_one_asked_for && is_one_file_or_component(model) ? &model.parts.front() : found;
}

std::string part_names_text(const ModelFolder& model) {
  std::vector<std::string> names;
  for (const ModelPart& part : model.parts) {
    names.push_back(part.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// The models and what they are compared with.
class ModelComparison {
 public:
  ModelComparison(const std::optional<DifferenceInput>& base, const std::vector<DifferenceInput>& models,
                  const DifferenceOptions& options)
      : options_(options) {
    check_model_names(models, base ? 1 : 2);
    result_.models = models;
    if (base) {
      result_.base = *base;
    } else if (models.size() == 2) {
      result_.reference = Reference::model;
      result_.base = models.front();
      result_.models.erase(result_.models.begin());
    } else {
      result_.reference = Reference::mean;
      result_.base.name = "mean";
    }
    for (const DifferenceInput& model : result_.models) {
      models_.push_back({model.name, open_model(model.path, options.variant)});
    }
    if (result_.reference != Reference::mean) {
      base_ = ComparedModel{result_.base.name, open_model(result_.base.path, options.variant)};
      lend_averages(models_.front().model, base_->model);
    }
    choose_parts();
  }

  Difference measure() {
    std::vector<PartPair> pairs;
    for (const std::string& part : parts_) {
      pairs.push_back(open_pair(part));
      bytes_to_read_ += pairs.back().bytes();
    }
    for (const PartPair& pair : pairs) {
      add_part(pair);
    }
    return std::move(result_);
  }

 private:
  // One part of all models, opened.
  struct PartPair {
    std::string name;
    std::string base_name;
    std::optional<Weights> base;
    std::vector<Weights> models;

    // Whose tensors are gone through.
    [[nodiscard]] const Weights& like() const { return base ? *base : models.front(); }
    [[nodiscard]] std::uint64_t bytes() const {
      std::uint64_t sum = base ? base->bytes() : 0;
      for (const Weights& weights : models) {
        sum += weights.bytes();
      }
      return sum;
    }
  };

  void choose_parts() {
    parts_ = options_.parts;
    std::ranges::sort(parts_);
    parts_.erase(std::ranges::unique(parts_).begin(), parts_.end());
    const bool asked_for = !parts_.empty();
    one_part_ = parts_.size() == 1;
    const ComparedModel& first = models_.front();
    if (!asked_for) {
      for (const ModelPart& part : first.model.parts) {
        parts_.push_back(part.name);
      }
      for (const ComparedModel& other : models_) {
        require_no_more_parts(other, first);
      }
    }
    for (const ComparedModel& model : models_) {
      for (const std::string& part : parts_) {
        require_part(find_compared_part(model.model, part, one_part_), part, model);
      }
    }
    if (base_) {
      for (const std::string& part : parts_) {
        require_part(find_compared_part(base_->model, part, one_part_), part, *base_);
      }
      for (const ModelPart& part : base_->model.parts) {
        if (!asked_for && std::ranges::find(parts_, part.name) == parts_.end()) {
          result_.only_base_parts.push_back(part.name);
        }
      }
    }
  }

  void require_part(const ModelPart* found, const std::string& part, const ComparedModel& in) const {
    if (found != nullptr) {
      return;
    }
    const ComparedModel& first = models_.front();
    if (first.model.find(part) == nullptr) {
      throw ConfigError(fmt::format("there is no part {} in {}: it has {}", part, in.model.source.string(),
                                    part_names_text(in.model)));
    }
    throw DataError(in.model.source,
                    fmt::format("has no part {}, but {} has: {} against {}", part, first.name,
                                part_names_text(in.model), part_names_text(first.model)),
                    "--part NAME compares one part only; a weights file may stand for it");
  }

  static void require_no_more_parts(const ComparedModel& model, const ComparedModel& first) {
    for (const ModelPart& part : model.model.parts) {
      if (first.model.find(part.name) == nullptr) {
        throw DataError(model.model.source,
                        fmt::format("has the part {}, but {} has not: {} against {}", part.name, first.name,
                                    part_names_text(model.model), part_names_text(first.model)),
                        "--part NAME compares one part only; a weights file may stand for it");
      }
    }
  }

  PartPair open_pair(const std::string& part) const {
    PartPair pair{part, part, std::nullopt, {}};
    if (base_) {
      const ModelPart& in_base = *find_compared_part(base_->model, part, one_part_);
      const auto stand_in = base_->model.stand_ins.find(in_base.name);
      pair.base_name = stand_in == base_->model.stand_ins.end() ? in_base.name : stand_in->second;
      pair.base = open_part(base_->model, in_base);
    }
    for (const ComparedModel& model : models_) {
      pair.models.push_back(open_part(model.model, *find_compared_part(model.model, part, one_part_)));
    }
    const std::string& like_name = base_ ? base_->name : models_.front().name;
    for (std::size_t i = 0; i < models_.size(); ++i) {
      require_same_tensors(pair.like(), like_name, pair.models[i], models_[i].name, FloatTypes::any);
    }
    return pair;
  }

  void add_part(const PartPair& pair) {
    PartDifference part{pair.name, pair.base_name, {}};
    DeltaStream stream{pair.base ? &*pair.base : nullptr, pair.models, options_.threads, {}};
    const std::uint64_t before = bytes_read_;
    bytes_read_ += pair.bytes();
    if (options_.progress) {
      stream.progress = [&, before](double share) {
        options_.progress(before + static_cast<std::uint64_t>(share * static_cast<double>(pair.bytes())),
                          bytes_to_read_);
      };
    }
    part.tensors = stream.run();
    name_blocks(part.tensors);
    const bool differs = std::ranges::any_of(part.tensors, [](const TensorDifference& tensor) {
      return tensor.base_not_finite.count > 0 ||
             std::ranges::any_of(tensor.changes, [](const TensorChange& change) { return !change.equal; });
    });
    if (differs) {
      result_.parts.push_back(std::move(part));
    } else {
      result_.equal_parts.push_back(part.name);
    }
  }

  static void name_blocks(std::vector<TensorDifference>& tensors) {
    std::ranges::sort(tensors, natural_less, &TensorDifference::name);
    std::vector<std::string> names;
    for (const TensorDifference& tensor : tensors) {
      names.push_back(tensor.name);
    }
    std::vector<std::string> blocks = block_names(names);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].block = std::move(blocks[i]);
    }
  }

  const DifferenceOptions& options_;
  Difference result_;
  std::vector<ComparedModel> models_;
  std::optional<ComparedModel> base_;
  std::vector<std::string> parts_;
  bool one_part_ = false;  // exactly one part was asked for
  std::uint64_t bytes_to_read_ = 0;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace

Difference measure_difference(const std::optional<DifferenceInput>& base, const std::vector<DifferenceInput>& models,
                              const DifferenceOptions& options) {
  return ModelComparison(base, models, options).measure();
}

std::vector<DifferenceRow> block_rows(const PartDifference& part) {
  const auto less = [](const std::string& a, const std::string& b) { return natural_less(a, b); };
  std::map<std::string, DifferenceRow, decltype(less)> blocks(less);
  for (const TensorDifference& tensor : part.tensors) {
    if (tensor.sums.elements() > 0) {
      const auto [block, added] =
          blocks.try_emplace(tensor.block, DifferenceRow{part.name, tensor.block, DeltaSums(tensor.sums.models())});
      block->second.sums.add(tensor.sums);
    }
  }
  std::vector<DifferenceRow> rows;
  for (auto& [name, row] : blocks) {
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<DifferenceRow> tensor_rows(const PartDifference& part) {
  std::vector<DifferenceRow> rows;
  for (const TensorDifference& tensor : part.tensors) {
    if (tensor.sums.elements() > 0) {
      rows.push_back({part.name, tensor.name, tensor.sums});
    }
  }
  return rows;
}

DifferenceRow part_row(const PartDifference& part) {
  DifferenceRow row{part.name, {}, DeltaSums(part.tensors.empty() ? 0 : part.tensors.front().changes.size())};
  for (const TensorDifference& tensor : part.tensors) {
    row.sums.add(tensor.sums);
  }
  return row;
}

DifferenceRow total_row(const Difference& difference) {
  DifferenceRow row{{}, {}, DeltaSums(difference.models.size())};
  for (const PartDifference& part : difference.parts) {
    row.sums.add(part_row(part).sums);
  }
  return row;
}

}  // namespace soup
