// ledger.json, as soup add, remove and verify read it.
#include "merge/ledger.hpp"

#include "merge/strict_json.hpp"
#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  return fuzz::read_input("ledger.json", [&] {
    const Ledger ledger = ledger_from_json(parse_json(fuzz::text_of(data, size), "ledger.json"), "ledger.json");
    const Ledger again = ledger_from_json(parse_json(to_json(ledger).dump(), "written"), "written");
    fuzz::require(to_json(again) == to_json(ledger), "a ledger that is written differs from what was read");
  });
}
