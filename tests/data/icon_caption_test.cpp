// Caption words, keys and contexts.
#include "data/icon_caption.hpp"

#include <gtest/gtest.h>

#include "data/import.hpp"

namespace soup {
namespace {

TEST(CaptionWords, Table) {
  const std::pair<const char*, const char*> table[] = {
      {"printer-network", "printer network"},
      {"edit_find_replace", "edit find replace"},
      {"NetworkManager", "network manager"},
      {"VLCPlayer", "vlc player"},
      {"GIMP", "gimp"},
      {"battery-040", "battery"},
      {"audio-x-generic", "audio generic"},
      {"text-x-c++src", "text c src"},
      {"application-vnd.oasis.opendocument.text", "application oasis opendocument text"},
      {"gnome-mime-application-pdf", "application pdf"},
      {"gnome-fs-directory", "directory"},
      {"gtk-add", "add"},
      {"stock_mail-open", "mail open"},
      {"org.kde.dolphin", "dolphin"},
      {"org.gnome.Nautilus", "nautilus"},
      {"com.github.foo.bar", "foo bar"},
      {"preferences-desktop-keyboard", "preferences desktop keyboard"},
      {"start-here-kde", "start here kde"},  // only in front are they vendors
      {"gnome", "gnome"},                    // and never the last word
      {"org.gnome", "gnome"},
      {"kde-gtk", "gtk"},
      {"x", "x"},
      {"7zip", "zip"},
      {"16-9", ""},
      {"", ""},
      {"caf\xc3\xa9-table", "caf table"},
      {"--a--b--", "a b"},
  };
  for (const auto& [stem, words] : table) {
    EXPECT_EQ(caption_words(stem), words) << stem;
  }
}

TEST(CaptionKey, DropsColoursUnlessNothingElseIsLeft) {
  EXPECT_EQ(caption_key("folder blue music"), "folder music");
  EXPECT_EQ(caption_key("folder music"), "folder music");
  EXPECT_EQ(caption_key("folder adwaita music"), "folder music");
  EXPECT_EQ(caption_key("breeze settings"), "breeze settings");
  EXPECT_EQ(caption_key("user yellow home"), "user home");
  EXPECT_EQ(caption_key("orange"), "orange");
  EXPECT_EQ(caption_key("folder"), "folder");
}

TEST(CanonicalContext, MapsSpellings) {
  EXPECT_EQ(canonical_context("Applications"), "apps");
  EXPECT_EQ(canonical_context("Apps"), "apps");
  EXPECT_EQ(canonical_context("MimeTypes"), "mimetypes");
  EXPECT_EQ(canonical_context("FileSystems"), "places");
  EXPECT_EQ(canonical_context("Emotes"), "emotes");
  EXPECT_EQ(canonical_context("Stock"), "actions");
  for (const char* dropped : {"Animations", "International", "Legacy", "UI", "", "nonsense"}) {
    EXPECT_EQ(canonical_context(dropped), std::nullopt) << dropped;
  }
}

}  // namespace
}  // namespace soup
