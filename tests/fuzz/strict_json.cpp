// Any JSON through the strict reader, its keys taken in every way there is.
#include "merge/strict_json.hpp"

#include "tests/fuzz/reader.hpp"

namespace {

constexpr const char* file = "x.json";

// Takes every key as everything it could be; refusals are part of it.
void take_all(soup::StrictObject object) {
  const std::vector<std::string> keys = object.keys();
  for (const std::string& key : keys) {
    const auto taken = [&](const auto& take) { soup::fuzz::read_input(file, take); };
    taken([&] { static_cast<void>(object.text(key)); });
    taken([&] { static_cast<void>(object.integer(key, -10, 10)); });
    taken([&] { static_cast<void>(object.number(key)); });
    taken([&] { static_cast<void>(object.digest(key)); });
    taken([&] { static_cast<void>(object.optional_digest(key)); });
    taken([&] { static_cast<void>(object.texts(key)); });
    taken([&] {
      for (soup::StrictObject& element : object.objects(key)) {
        take_all(element);
      }
    });
    taken([&] { take_all(object.object(key)); });
  }
  object.done();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  return fuzz::read_input(file, [&] {
    const nlohmann::json value = parse_json(fuzz::text_of(data, size), file);
    fuzz::require(parse_json(value.dump(), "written") == value, "JSON that is written differs from what was read");
    fuzz::read_input(file, [&] { StrictObject(value, file).done(); });
    take_all(StrictObject(value, file));
  });
}
