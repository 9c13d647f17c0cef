// A CLIP tokenizer's folder as transformers writes it.
#include "trainer/tokenizer_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using std::filesystem::path;

constexpr std::int64_t longest_caption = 1 << 20;  // transformers writes about 1e30 for "no limit"

json read_json(const path& file) {
  try {
    return json::parse(read_file(file, 1ULL << 28));
  } catch (const json::exception& error) {
    throw DataError(file, fmt::format("is not JSON: {}", error.what()));
  }
}

template <class Value>
Value value_of(const json& object, const char* key, const path& file) {
  try {
    return object.at(key).get<Value>();
  } catch (const json::exception& error) {
    throw DataError(file, fmt::format("key {}: {}", key, error.what()));
  }
}

// Absent or null: false.
bool flag_of(const json& object, const char* key, const path& file) {
  const auto found = object.find(key);
  return found != object.end() && !found->is_null() && value_of<bool>(object, key, file);
}

void require_object(const json& value, const char* what, const path& file) {
  if (!value.is_object()) {
    throw DataError(file, fmt::format("{} is a JSON {}, not an object", what, value.type_name()));
  }
}

std::vector<std::string> tokens_by_id(const json& vocabulary, const path& file) {
  require_object(vocabulary, "the vocabulary", file);
  std::vector<std::string> tokens(vocabulary.size());
  std::vector<bool> taken(vocabulary.size(), false);
  for (const auto& [token, number] : vocabulary.items()) {
    if (!number.is_number_integer()) {
      throw DataError(file, fmt::format("token \"{}\" has id {}, which is no whole number", excerpt(token),
                                        excerpt(number.dump())));
    }
    const auto id = number.get<std::int64_t>();
    if (id < 0 || static_cast<std::size_t>(id) >= tokens.size() || taken[static_cast<std::size_t>(id)]) {
      throw DataError(file, fmt::format("token \"{}\" has id {}; {} tokens must have the ids 0 to {}, each once", token,
                                        id, tokens.size(), tokens.size() - 1));
    }
    taken[static_cast<std::size_t>(id)] = true;
    tokens[static_cast<std::size_t>(id)] = token;
  }
  return tokens;
}

// "left right"
Merge parse_merge(std::string_view line, const path& file) {
  const std::vector<std::string> parts = split(line, ' ');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) {
    throw DataError(file, fmt::format("merge \"{}\" is not two tokens with one space between", line));
  }
  return {parts[0], parts[1]};
}

std::vector<Merge> read_merges(const path& file) {
  std::vector<Merge> merges;
  for (std::string& line : split(read_file(file, 1ULL << 28), '\n')) {
    if (line.ends_with('\r')) {
      line.pop_back();
    }
    if (!line.empty() && !line.starts_with("#version")) {
      merges.push_back(parse_merge(line, file));
    }
  }
  return merges;
}

// One entry of added_tokens_decoder, of tokenizer.json's added_tokens, or of a special token given as an object.
AddedToken parse_added_token(const json& entry, const path& file) {
  require_object(entry, "an added token", file);
  AddedToken token;
  token.content = value_of<std::string>(entry, "content", file);
  token.normalized = flag_of(entry, "normalized", file);
  for (const char* key : {"lstrip", "rstrip", "single_word"}) {
    if (flag_of(entry, key, file)) {
      throw DataError(file, fmt::format("token \"{}\": {} = true is not implemented", token.content, key));
    }
  }
  return token;
}

void add_token(TokenizerFiles& files, const AddedToken& token) {
  const auto same = [&token](const AddedToken& other) { return other.content == token.content; };
  if (std::ranges::none_of(files.added, same)) {
    files.added.push_back(token);
  }
}

// Reads the four special tokens of `object`; those given as objects say how they are searched.
void read_special_tokens(const json& object, const path& file, TokenizerFiles& files) {
  const std::pair<const char*, std::string*> specials[] = {{"bos_token", &files.bos_token},
                                                           {"eos_token", &files.eos_token},
                                                           {"pad_token", &files.pad_token},
                                                           {"unk_token", &files.unk_token}};
  for (const auto& [key, text] : specials) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) {
      continue;
    }
    if (found->is_object()) {
      const AddedToken token = parse_added_token(*found, file);
      *text = token.content;
      std::erase_if(files.added, [&token](const AddedToken& other) { return other.content == token.content; });
      files.added.push_back(token);
    } else {
      *text = value_of<std::string>(object, key, file);
    }
  }
}

// The vocabulary of tokenizer.json, which newer transformers write alone.
void read_tokenizer_json(const path& file, TokenizerFiles& files) {
  const json root = read_json(file);
  const json model = value_of<json>(root, "model", file);
  if (const auto type = value_of<std::string>(model, "type", file); type != "BPE") {
    throw DataError(file, fmt::format("model.type = \"{}\" is not implemented, only \"BPE\"", type));
  }
  files.tokens = tokens_by_id(value_of<json>(model, "vocab", file), file);
  for (const json& merge : value_of<json>(model, "merges", file)) {
    if (merge.is_string()) {
      files.merges.push_back(parse_merge(merge.get<std::string>(), file));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      files.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw DataError(file, fmt::format("merge {} is not two tokens", merge.dump()));
    }
  }
  if (root.contains("added_tokens")) {
    for (const json& entry : root["added_tokens"]) {
      add_token(files, parse_added_token(entry, file));
    }
  }
}

}  // namespace

TokenizerFiles read_tokenizer_files(const path& folder) {
  TokenizerFiles files;
  const path config_file = folder / "tokenizer_config.json";
  const json config = read_json(config_file);
  require_object(config, "the tokenizer's configuration", config_file);
  if (const std::string type = config.contains("tokenizer_class")
                                   ? value_of<std::string>(config, "tokenizer_class", config_file)
                                   : "CLIPTokenizer";
      type != "CLIPTokenizer" && type != "CLIPTokenizerFast") {
    throw DataError(config_file, fmt::format("tokenizer_class = \"{}\" is not implemented, only CLIPTokenizer", type));
  }
  const double max_length = value_of<double>(config, "model_max_length", config_file);
  if (!(max_length >= 2 && max_length <= longest_caption)) {
    throw DataError(config_file,
                    fmt::format("model_max_length = {} must be from 2 to {}", max_length, longest_caption));
  }
  files.max_length = static_cast<std::int64_t>(max_length);

  if (std::filesystem::exists(folder / "vocab.json") || !std::filesystem::exists(folder / "tokenizer.json")) {
    const path file = folder / "vocab.json";
    if (!std::filesystem::exists(file)) {
      throw DataError(file, "does not exist, nor does tokenizer.json beside it", "was the model folder copied whole?");
    }
    files.tokens = tokens_by_id(read_json(file), file);
    files.merges = read_merges(folder / "merges.txt");
  } else {
    read_tokenizer_json(folder / "tokenizer.json", files);
  }

  read_special_tokens(config, config_file, files);
  // As transformers reads them: a list of added tokens in the configuration makes it ignore the older separate file.
  if (config.contains("added_tokens_decoder")) {
    files.added.clear();
    for (const auto& [id, entry] : config["added_tokens_decoder"].items()) {
      add_token(files, parse_added_token(entry, config_file));
    }
  } else if (const path file = folder / "special_tokens_map.json"; std::filesystem::exists(file)) {
    const json specials = read_json(file);
    require_object(specials, "the list of special tokens", file);
    read_special_tokens(specials, file, files);
  }
  for (const std::string* special : {&files.bos_token, &files.eos_token, &files.pad_token, &files.unk_token}) {
    add_token(files, {*special, false});
  }
  for (const AddedToken& token : files.added) {
    if (token.content.empty() || std::ranges::find(files.tokens, token.content) == files.tokens.end()) {
      throw DataError(config_file, fmt::format("added token \"{}\" is not in the vocabulary of {} tokens",
                                               token.content, files.tokens.size()));
    }
  }
  return files;
}

void write_tokenizer_files(const path& folder, const TokenizerFiles& files) {
  ordered_json vocabulary = ordered_json::object();
  for (std::size_t id = 0; id < files.tokens.size(); ++id) {
    vocabulary[files.tokens[id]] = id;
  }
  write_file_atomically(folder / "vocab.json", vocabulary.dump() + "\n");

  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : files.merges) {
    merges += left + " " + right + "\n";
  }
  write_file_atomically(folder / "merges.txt", merges);

  ordered_json specials;
  for (const auto& [key, content] :
       std::initializer_list<std::pair<const char*, const std::string&>>{{"bos_token", files.bos_token},
                                                                         {"eos_token", files.eos_token},
                                                                         {"pad_token", files.pad_token},
                                                                         {"unk_token", files.unk_token}}) {
    specials[key] = content;
  }
  write_file_atomically(folder / "special_tokens_map.json", specials.dump(2) + "\n");

  ordered_json config = specials;
  config["tokenizer_class"] = "CLIPTokenizer";
  config["model_max_length"] = files.max_length;
  config["do_lower_case"] = true;
  config["errors"] = "replace";
  // Only where it says more than the special tokens do.
  const auto searched_cleaned = [](const AddedToken& token) { return token.normalized; };
  const bool extra = std::ranges::any_of(files.added, [&files](const AddedToken& token) {
    return token.content != files.bos_token && token.content != files.eos_token && token.content != files.pad_token &&
           token.content != files.unk_token;
  });
  if (extra || std::ranges::any_of(files.added, searched_cleaned)) {
    std::map<std::size_t, ordered_json> by_id;
    for (const AddedToken& token : files.added) {
      const auto id = std::ranges::find(files.tokens, token.content) - files.tokens.begin();
      by_id[static_cast<std::size_t>(id)] = {{"content", token.content},       {"lstrip", false},
                                             {"normalized", token.normalized}, {"rstrip", false},
                                             {"single_word", false},           {"special", true}};
    }
    for (const auto& [id, entry] : by_id) {
      config["added_tokens_decoder"][std::to_string(id)] = entry;
    }
  }
  write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace soup
