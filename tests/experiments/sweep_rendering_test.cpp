// A rendered sweep shows what every soup of it makes of the same noise.
#include "experiments/sweep_rendering.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <set>
#include <string>

#include "core/error.hpp"
#include "experiments/sweep.hpp"
#include "experiments/sweep_picture.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

// A part of the sheet, every `zoom`-th pixel of every `zoom`-th row.
std::vector<std::uint8_t> cell_of(const Image& sheet, SheetPlace place, int size, int zoom) {
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const std::size_t at = static_cast<std::size_t>(place.top + y * zoom) * sheet.width + place.left + x * zoom;
      pixels.insert(pixels.end(), &sheet.pixels[at * 3], &sheet.pixels[at * 3] + 3);
    }
  }
  return pixels;
}

TEST(RenderSweep, ShowsEverySoupOnTheSameNoise) {
  const test::TemporaryFolder folder;
  Recipe recipe;
  for (const double factor : {1.0, 0.5}) {
    const DiffusionModel model = test::tiny_model();
    const at::NoGradGuard no_gradients;
    for (const at::Tensor& parameter : model.unet->parameters()) {
      parameter.mul_(factor);
    }
    const std::string name = factor == 1.0 ? "whole" : "half";
    save_model(folder / name, model, {});
    recipe.inputs.push_back({name, folder / name});
  }
  const fs::path mixed = folder / "mixed";
  const Sweep sweep = run_sweep(recipe, 2, mixed, {});

  SweepRendering how;
  how.prompts = {"red", "blue"};
  how.count = 2;
  how.options.sampler.steps = 3;
  how.seed = 7;
  how.zoom = 3;
  const Image sheet = render_sweep(mixed.string(), how);

  const std::vector<std::string> prompts{"red", "red", "blue", "blue"};
  const DiffusionModel first = load_model(folder / "whole", WeightSet::raw);
  const InitialNoise noise = sample_noise(first, SeedTree(7), 0, 4, 8, 8);
  const SweepLayout layout = sweep_layout(sweep, how.prompts, 2, 8 * 3);
  ASSERT_EQ(sheet.width, layout.width);
  ASSERT_EQ(sheet.height, layout.height);
  std::set<std::string> different;
  for (std::size_t point = 0; point < 3; ++point) {
    const DiffusionModel model = load_model(mixed / sweep.points[point].folder, WeightSet::raw);
    const std::vector<Image> images = sample_images(model, prompts, noise, how.options);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(cell_of(sheet, layout.cells[point][i], 8, 3), images[i].pixels) << point << ", " << i;
      different.emplace(images[i].pixels.begin(), images[i].pixels.end());
    }
  }
  EXPECT_EQ(different.size(), 12u) << "soups, prompts and noises all make a difference";

  fs::remove_all(mixed / "1-1" / "unet");
  EXPECT_THROW(render_sweep(mixed.string(), how), DataError);
  how.zoom = 10000;
  EXPECT_THROW(render_sweep(mixed.string(), how), ConfigError);
}

}  // namespace
}  // namespace soup
