// soup add, soup remove: an ingredient into or out of a finished soup, without training.
#include "merge/edit.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "core/error.hpp"
#include "core/signature.hpp"
#include "experiments/recipe.hpp"
#include "experiments/verbs/verbs.hpp"
#include "merge/removal.hpp"

namespace soup {

namespace {

struct EditArguments {
  std::string soup;
  std::string output;
  MergeInput ingredient;
};

CLI::App* add_edit(CLI::App& program, const std::string& verb, const std::string& purpose, EditArguments& arguments) {
  CLI::App* app = program.add_subcommand(verb, purpose);
  app->add_option("soup", arguments.soup, "Soup folder (holds ledger.json)")->required();
  app->add_option("--output", arguments.output, "New folder for the result; the soup is replaced when left out");
  return app;
}

int report(const Ledger& ledger, const EditArguments& arguments) {
  fmt::print("{}: soup {} of {} ingredients, total weight {}\n",
             arguments.output.empty() ? arguments.soup : arguments.output, ledger.soup_digest().brief(),
             ledger.ingredients.size(), ledger.total_weight);
  return 0;
}

struct RemoveArguments {
  EditArguments edit;
  std::string certificate;
  std::string key;
  std::vector<std::string> data;
  bool no_near = false;
};

void warn(const std::string& text) {
  fmt::print(stderr, "soup: warning: {}\n", text);
}

// A removal that cannot hand out its certificate is not begun.
void require_writable_name(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder) || std::filesystem::is_directory(file)) {
    throw ConfigError(fmt::format("--certificate {}: there is no folder {} to write a file of this name into", file,
                                  folder.string()));
  }
}

int remove(const RemoveArguments& arguments) {
  const std::string& name = arguments.edit.ingredient.name;
  RemovalOptions options;
  options.data.assign(arguments.data.begin(), arguments.data.end());
  options.near = !arguments.no_near;
  if (!arguments.certificate.empty()) {
    require_writable_name(arguments.certificate);
  }
  if (!arguments.key.empty()) {
    options.key = SigningKey::read(arguments.key);
    if (is_readable_by_others(arguments.key)) {
      warn(fmt::format("others can read the private key {}: chmod 600 {}", arguments.key, arguments.key));
    }
  }
  const Removal removal = remove_ingredient(arguments.edit.soup, name, arguments.edit.output, options);
  static_cast<void>(report(removal.ledger, arguments.edit));
  fmt::print("certificate {} {}\n", removal.certificate_file.string(),
             removal.certificate.signature
                 ? fmt::format("signed by {}", removal.certificate.signature->key.fingerprint().hex())
                 : "without signature");
  for (const NotCovered& finding : removal.certificate.not_covered) {
    fmt::print("  not covered, {}: {}\n", finding.kind, finding.text);
  }
  warn(inversion_text(removal.certificate));
  if (!arguments.certificate.empty()) {
    write_certificate(arguments.certificate, removal.certificate);
  }
  return 0;
}

}  // namespace

Verb add_add(CLI::App& program) {
  auto arguments = std::make_shared<EditArguments>();
  CLI::App* app = add_edit(program, "add", "Add an ingredient to a finished soup, without training", *arguments);
  app->description(
      "Adds a model to a soup. The result has the same bits as a soup made of all ingredients at once, in any order, "
      "and\n"
      "takes no longer with more of them. The model must come from the same base.");
  app->add_option("ingredient", arguments->ingredient.path, "Model folder of the ingredient")->required();
  app->add_option("--name", arguments->ingredient.name, "Its name in the ledger; the folder's name when left out");
  app->add_option("--weight", arguments->ingredient.weight, "Its integer weight")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->footer(
      help_footer("  soup add runs/x/soup runs/x/ingredients/numix\n"
                  "  soup add runs/x/soup ../other/model --name licensed --weight 2 --output bigger"));
  return {app, [arguments] {
            MergeInput& ingredient = arguments->ingredient;
            if (ingredient.name.empty()) {
              ingredient.name = name_after(ingredient.path);
            }
            return report(add_ingredient(arguments->soup, ingredient, arguments->output), *arguments);
          }};
}

Verb add_remove(CLI::App& program) {
  auto arguments = std::make_shared<RemoveArguments>();
  CLI::App* app =
      add_edit(program, "remove", "Take an ingredient out of a finished soup, without training", arguments->edit);
  app->description(
      "Takes an ingredient out of a soup: what is left has the same bits as a soup made without it, so nothing of\n"
      "that shard's training stays. The ledger keeps a line that says when it was removed, and the soup's folder a\n"
      "certificate (removals/<entry>-<name>.json) that says what was removed and what that does not undo: what the\n"
      "base was pretrained on, the same images in remaining shards, choices made before, soups already published.");
  app->add_option("name", arguments->edit.ingredient.name, "The ingredient's name in the ledger")->required();
  app->add_option("--certificate", arguments->certificate, "Write a copy of the certificate here, too");
  app->add_option("--sign", arguments->key,
                  "Sign the certificate with this private key (PEM, Ed25519; openssl genpkey -algorithm ed25519)");
  app->add_option("--data", arguments->data,
                  "Shard files in which to look for the same images, beside those that the ingredients' records name");
  app->add_flag("--no-near", arguments->no_near, "Look for the same images only, not for near-duplicates");
  app->footer(
      help_footer("  soup remove runs/x/soup numix --output without-numix\n"
                  "  soup remove runs/x/soup numix --sign key.pem --certificate numix-removed.json\n"
                  "  soup remove soup numix --data numix.h5 tango.h5 oxygen.h5"));
  return {app, [arguments] { return remove(*arguments); }};
}

}  // namespace soup
