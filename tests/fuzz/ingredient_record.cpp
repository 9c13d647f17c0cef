// ingredient.json of a model folder.
#include "merge/ingredient_record.hpp"

#include "merge/strict_json.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  fuzz::write_plainly(folder / ingredient_record_name, fuzz::text_of(data, size));
  return fuzz::read_input(ingredient_record_name, [] { static_cast<void>(read_ingredient_record(folder.path())); });
}
