// What a certificate of removal says it does not cover, as JSON.
#include "merge/certificate_findings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"

namespace soup {

namespace {

using nlohmann::json;

json number_or_null(const std::optional<std::int64_t>& number) {
  return number ? json(*number) : json(nullptr);
}

std::optional<std::int64_t> optional_count(StrictObject& object, const std::string& key) {
  return object.is_null(key) ? std::nullopt : std::optional(object.integer(key, 0));
}

json lookup_to_json(const ImageLookup& lookup) {
  json roots = json::array();
  for (const Digest& root : lookup.roots) {
    roots.push_back(root.hex());
  }
  json shards = json::array();
  for (const ImageLookup::Shard& shard : lookup.shards) {
    shards.push_back({{"ingredient", shard.ingredient},
                      {"root", shard.root.hex()},
                      {"images", shard.images},
                      {"exact", shard.exact},
                      {"near", number_or_null(shard.near)}});
  }
  json unknown = json::array();
  for (const ImageLookup::Unknown& shard : lookup.not_looked_up) {
    unknown.push_back({{"ingredient", shard.ingredient}, {"reason", shard.reason}});
  }
  json examples = json::array();
  for (const ImageLookup::Example& example : lookup.examples) {
    examples.push_back({{"image", example.image},
                        {"digest", example.digest.hex()},
                        {"ingredient", example.ingredient},
                        {"other_image", example.other_image},
                        {"other_digest", example.other_digest.hex()},
                        {"exact", example.exact}});
  }
  return {
      {"roots", roots},   {"images", lookup.images},  {"exact", lookup.exact}, {"near", number_or_null(lookup.near)},
      {"shards", shards}, {"not_looked_up", unknown}, {"examples", examples}};
}

ImageLookup lookup_from_json(StrictObject object) {
  ImageLookup lookup;
  for (const std::string& root : object.texts("roots")) {
    try {
      lookup.roots.push_back(Digest::from_hex(root));
    } catch (const ConfigError&) {
      object.refuse("roots", fmt::format("holds \"{}\", which is no digest", root));
    }
  }
  lookup.images = object.integer("images", 0);
  lookup.exact = object.integer("exact", 0);
  lookup.near = optional_count(object, "near");
  for (StrictObject& shard : object.objects("shards")) {
    lookup.shards.push_back({shard.text("ingredient"), shard.digest("root"), shard.integer("images", 1),
                             shard.integer("exact", 0), optional_count(shard, "near")});
    shard.done();
  }
  for (StrictObject& shard : object.objects("not_looked_up")) {
    lookup.not_looked_up.push_back({shard.text("ingredient"), shard.text("reason")});
    shard.done();
  }
  for (StrictObject& example : object.objects("examples")) {
    lookup.examples.push_back({example.integer("image", 0), example.digest("digest"), example.text("ingredient"),
                               example.integer("other_image", 0), example.digest("other_digest"),
                               example.boolean("exact")});
    example.done();
  }
  object.done();
  return lookup;
}

}  // namespace

json finding_to_json(const NotCovered& finding) {
  json value = {{"kind", finding.kind}, {"text", finding.text}};
  if (finding.kind == "pretraining") {
    value["digests"] = json::object();
    for (const auto& [name, digest] : finding.digests) {
      value["digests"][name] = digest.hex();
    }
  } else if (finding.kind == "same_images") {
    value["lookup"] = finding.lookup ? lookup_to_json(*finding.lookup) : json(nullptr);
  } else if (finding.kind == "earlier_soups") {
    value["soups"] = json::array();
    for (const EarlierSoup& soup : finding.soups) {
      value["soups"].push_back({{"entry", soup.entry},
                                {"action", soup.action},
                                {"ingredient", soup.ingredient},
                                {"total_weight", soup.total_weight},
                                {"time", soup.time}});
    }
  }
  return value;
}

NotCovered finding_from_json(StrictObject object) {
  NotCovered finding{object.text("kind"), object.text("text")};
  if (std::ranges::find(finding_kinds, finding.kind) == finding_kinds.end()) {
    object.refuse("kind", fmt::format("is \"{}\", not one of {}", finding.kind, fmt::join(finding_kinds, ", ")));
  }
  if (finding.kind == "pretraining") {
    StrictObject digests = object.object("digests");
    for (const std::string& name : digests.keys()) {
      finding.digests.emplace(name, digests.digest(name));
    }
  } else if (finding.kind == "same_images") {
    if (!object.is_null("lookup")) {
      finding.lookup = lookup_from_json(object.object("lookup"));
    }
  } else if (finding.kind == "earlier_soups") {
    for (StrictObject& soup : object.objects("soups")) {
      finding.soups.push_back({soup.integer("entry", 0), soup.text("action"), soup.text("ingredient"),
                               soup.integer("total_weight", 1), soup.text("time")});
      soup.done();
    }
  }
  object.done();
  return finding;
}

}  // namespace soup
