// soup add, soup remove: an ingredient into or out of a finished soup, without training.
#include "merge/edit.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "experiments/verbs/verbs.hpp"

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
              // "models/a/" has an empty file name.
              const std::filesystem::path path = ingredient.path.lexically_normal();
              ingredient.name = (path.has_filename() ? path : path.parent_path()).filename().string();
            }
            return report(add_ingredient(arguments->soup, ingredient, arguments->output), *arguments);
          }};
}

Verb add_remove(CLI::App& program) {
  auto arguments = std::make_shared<EditArguments>();
  CLI::App* app =
      add_edit(program, "remove", "Take an ingredient out of a finished soup, without training", *arguments);
  app->description(
      "Takes an ingredient out of a soup: what is left has the same bits as a soup made without it, so nothing of "
      "that\n"
      "shard's training stays. The ledger keeps a line that says when it was removed.");
  app->add_option("name", arguments->ingredient.name, "The ingredient's name in the ledger")->required();
  app->footer(help_footer("  soup remove runs/x/soup numix --output without-numix"));
  return {app, [arguments] {
            return report(remove_ingredient(arguments->soup, arguments->ingredient.name, arguments->output),
                          *arguments);
          }};
}

}  // namespace soup
