// An experiment's YAML file against its schema: what is taken must read back, from its canonical text, as the same.
#include "experiments/experiment.hpp"

#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  static const std::filesystem::path path = folder / "x.yaml";
  static const std::filesystem::path written = folder / "written.yaml";
  fuzz::write_plainly(path, fuzz::text_of(data, size));
  return fuzz::read_input(path.native(), [&] {
    const Experiment experiment = load_experiment(path, {});
    const std::string text = to_yaml(experiment);
    fuzz::write_plainly(written, text);
    try {
      fuzz::require(to_yaml(load_experiment(written, {})) == text, "the canonical text is not canonical");
    } catch (const ConfigError& error) {
      fuzz::report(std::string("the canonical text is refused: ") + error.what());
    }
  });
}
