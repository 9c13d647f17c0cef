// The report's sections, each a piece of HTML from a run's data; an empty text where the run has nothing to show.
#pragma once

#include <filesystem>
#include <string>

#include "experiments/report_data.hpp"

namespace soup {

// report_scores.cpp
[[nodiscard]] std::string verdict_section(const RunData& run);
[[nodiscard]] std::string score_section(const RunData& run);
[[nodiscard]] std::string difference_section(const RunData& run);
[[nodiscard]] std::string shard_loss_section(const RunData& run);
// report_pictures.cpp
[[nodiscard]] std::string sample_section(const RunData& run);
[[nodiscard]] std::string curve_section(const RunData& run);
[[nodiscard]] std::string drift_section(const RunData& run);
// report_facts.cpp
[[nodiscard]] std::string data_section(const RunData& run);
[[nodiscard]] std::string provenance_section(const RunData& run);
[[nodiscard]] std::string time_section(const RunData& run);
[[nodiscard]] std::string reproduce_section(const RunData& run);

}  // namespace soup
