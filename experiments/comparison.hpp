// Differences between models on the same prompts and images, with paired standard errors: what the verdict rests on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "experiments/evaluation_record.hpp"

namespace soup {

// Paired bootstrap over prompts (over real images for the denoising loss): each resample takes the same samples of both
// models, so what both find hard cancels. Scores that one of the two lacks are left out. Throws DataError when the
// records are not about the same prompts.
Comparison compare(const ModelRecord& first, const ModelRecord& second, const std::filesystem::path& folder,
                   std::int64_t resamples, SeedTree seeds);

// `first` ("soup") against every other of `models` (names), raw and EMA weights, from the records in `folder`.
std::vector<Comparison> compare_all(const std::filesystem::path& folder, const std::string& first,
                                    const std::vector<std::string>& models, std::int64_t resamples, SeedTree seeds);

}  // namespace soup
