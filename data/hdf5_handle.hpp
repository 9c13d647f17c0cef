// HDF5 identifiers that close themselves, and HDF5's error stack as text: the only way soup talks to the C library.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

// Owns one identifier. Close: the H5?close function of its kind.
template <herr_t (*Close)(hid_t)>
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(hid_t id) : id_(id) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, H5I_INVALID_HID);
    }
    return *this;
  }

  [[nodiscard]] hid_t get() const { return id_; }
  // Closes now and returns HDF5's status: where a failed close means lost data.
  herr_t close() { return id_ < 0 ? 0 : Close(std::exchange(id_, H5I_INVALID_HID)); }

 private:
  void reset() noexcept {
    if (id_ >= 0) {
      Close(std::exchange(id_, H5I_INVALID_HID));
    }
  }
  hid_t id_ = H5I_INVALID_HID;
};

using Hdf5File = Hdf5Handle<H5Fclose>;
using Hdf5Dataset = Hdf5Handle<H5Dclose>;
using Hdf5Group = Hdf5Handle<H5Gclose>;
using Hdf5Space = Hdf5Handle<H5Sclose>;
using Hdf5Type = Hdf5Handle<H5Tclose>;
using Hdf5Attribute = Hdf5Handle<H5Aclose>;
using Hdf5Properties = Hdf5Handle<H5Pclose>;

// HDF5 prints its error stack on stderr by default; while one of these lives it does not, and failures carry the text.
class Hdf5Quiet {
 public:
  Hdf5Quiet() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Hdf5Quiet() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  Hdf5Quiet(const Hdf5Quiet&) = delete;
  Hdf5Quiet& operator=(const Hdf5Quiet&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// The innermost message of HDF5's error stack: the cause.
inline std::string hdf5_error_text() {
  constexpr std::size_t longest = 1000;  // it can quote a hostile file
  std::string text;
  const auto innermost = [](unsigned, const H5E_error2_t* entry, void* out) -> herr_t {
    if (entry->desc != nullptr) {
      *static_cast<std::string*>(out) = entry->desc;
    }
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, innermost, &text);
  return text.empty() ? "no further detail" : excerpt(text, longest);
}

// Passes `result` (an identifier or a status) on, or throws DataError: "<what>: <HDF5's reason>".
template <typename Result>
Result hdf5_check(Result result, const std::filesystem::path& path, std::string_view what, std::string hint = {}) {
  if (result < 0) {
    throw DataError(path, std::string(what) + " (HDF5: " + hdf5_error_text() + ")", std::move(hint));
  }
  return result;
}

}  // namespace soup
