// Any text through the strict YAML reader, as a file and as a value; its first line as a --set, too.
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_path.hpp"
#include "tests/fuzz/reader.hpp"

namespace {

int depth_of(const soup::YamlNode& node) {
  int deepest = 0;
  for (const soup::YamlNode& item : node.items) {
    deepest = std::max(deepest, depth_of(item));
  }
  for (const auto& [key, value] : node.entries) {
    deepest = std::max(deepest, depth_of(value));
  }
  return deepest + 1;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace soup;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::read_input("--set x", [&] { static_cast<void>(parse_yaml_value(text, "--set x")); });
  YamlNode root;
  root.kind = YamlNode::Kind::map;
  fuzz::read_input("x.yaml", [&] { root = parse_yaml(text, "x.yaml"); });
  fuzz::require(depth_of(root) <= yaml_max_depth + 1, "a tree deeper than the limit passed");
  return fuzz::read_input("--set", [&] {
    apply_override(root, text.substr(0, text.find('\n')));
    fuzz::require(depth_of(root) <= 2 * yaml_max_depth + 1, "an override made a tree deeper than the limit");
  });
}
