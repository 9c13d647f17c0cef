// A recipe's YAML file: what is taken must read back as the same, and become a merge or be refused.
#include "experiments/recipe.hpp"

#include "core/atomic_file.hpp"
#include "experiments/merge_job.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  static const std::filesystem::path path = folder / "mix.yaml";
  static const std::filesystem::path written = folder / "written.yaml";
  static const std::filesystem::path again = folder / "again.yaml";
  fuzz::write_plainly(path, fuzz::text_of(data, size));
  return fuzz::read_input(path.native(), [&] {
    const Recipe recipe = read_recipe(path);
    try {
      write_recipe(written, recipe);
      write_recipe(again, read_recipe(written));
      fuzz::require(read_file(again) == read_file(written), "a recipe that is written differs from what was read");
    } catch (const ConfigError& error) {
      fuzz::report(std::string("a recipe that was written is refused: ") + error.what());
    }
    try {
      static_cast<void>(merge_job(recipe));
    } catch (const ConfigError& error) {
      fuzz::check_message(error, "");
    }
  });
}
