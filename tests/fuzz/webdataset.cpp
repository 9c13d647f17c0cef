// A WebDataset tar: samples must come in the same way from every place, and problems be short and in UTF-8.
#include "data/webdataset.hpp"

#include "tests/fuzz/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  static const test::TemporaryFolder folder;
  static const std::filesystem::path path = folder / "a.tar";
  fuzz::write_plainly(path, fuzz::text_of(data, size));
  return fuzz::read_input(path.native(), [&] {
    const WebDatasetSource source{
        .folder = {}, .tars = {path.native()}, .caption_key = "caption", .held_out_key = "key"};
    const auto samples = open_webdataset(source);
    SourcePlace middle;
    std::uint64_t count = 0;
    std::optional<SourceItem> behind_middle;
    for (auto item = samples->next(); item; item = samples->next()) {
      fuzz::require(item->problem.size() <= 2000 && is_utf8(item->problem), "a problem that cannot be shown");
      fuzz::require(item->name.size() <= 4096 && is_utf8(item->name), "a name that cannot be kept");
      fuzz::require(!item->problem.empty() || !item->bytes.empty(), "a good sample without a picture");
      if (count == 1) {
        behind_middle = std::move(item);
      }
      if (count++ == 0) {
        middle = samples->place();
      }
    }
    if (behind_middle) {
      const auto again = open_webdataset(source);
      again->seek(middle);
      const auto item = again->next();
      fuzz::require(item && item->name == behind_middle->name && item->bytes == behind_middle->bytes &&
                        item->caption == behind_middle->caption && item->problem == behind_middle->problem,
                    "a sample differs when reading goes on from its place");
    }
  });
}
