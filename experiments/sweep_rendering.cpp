// The images of all soups of a sweep, and their sheet.
#include "experiments/sweep_rendering.hpp"

#include <filesystem>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/progress.hpp"
#include "experiments/sweep_picture.hpp"
#include "experiments/sweep_record.hpp"

namespace soup {

Image render_sweep(const std::string& folder, const SweepRendering& how) {
  const Sweep sweep = read_sweep(folder);
  require_unedited(folder, sweep);
  std::vector<std::string> prompts;
  for (const std::string& prompt : how.prompts) {
    prompts.insert(prompts.end(), static_cast<std::size_t>(how.count), prompt);
  }
  Log log;
  Progress progress(log, "render", sweep.points.size() * prompts.size(), "images");
  std::optional<SweepLayout> layout;
  InitialNoise noise;
  std::vector<std::vector<Image>> made;
  for (const SweepPoint& point : sweep.points) {
    const DiffusionModel model = load_model(std::filesystem::path(folder) / point.folder, how.weights, how.device);
    if (!layout) {
      const std::int64_t resolution = model.native_side();
      layout = sweep_layout(sweep, how.prompts, static_cast<int>(how.count), static_cast<int>(resolution) * how.zoom);
      noise =
          sample_noise(model, SeedTree(how.seed), 0, static_cast<std::int64_t>(prompts.size()), resolution, resolution);
    }
    made.push_back(sample_images(model, prompts, noise, how.options));
    progress.advance_to(made.size() * prompts.size());
  }
  progress.finish();
  return draw_sweep(layout.value(), made, how.zoom);
}

}  // namespace soup
