// Licences of a Debian package, from the copyright file it installs.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace soup {

// Short names of the licences of a machine-readable copyright file (DEP-5), in order of appearance, joined by ", ";
// the packaging's own (Files: debian/*) left out. A file of another form: "see <package>'s copyright file".
std::string licence_summary(std::string_view copyright, std::string_view package);

// The summary of the package that was unpacked around `theme_root` (<folder>/usr/share/icons/<theme>). Throws
// DataError naming the package when its copyright file is not there.
std::string package_licence(const std::filesystem::path& theme_root, const std::string& package);

}  // namespace soup
