// HDF5 files as weights: every layout, byte order and rank gives the bytes that were put in, and files that are damaged
// or hold anything but plain numbers are refused.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "data/hdf5_handle.hpp"
#include "merge/weights.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

using Hdf5Group = Hdf5Handle<H5Gclose>;

template <typename T>
T good(T result) {
  EXPECT_GE(result, 0) << hdf5_error_text();
  return result;
}

struct NumberKind {
  DType dtype;
  hid_t little;
  hid_t big;
};

// IEEE half precision, for which HDF5 1.10 has no name.
Hdf5Type half_type(H5T_order_t order) {
  Hdf5Type type(good(H5Tcopy(H5T_IEEE_F32LE)));
  good(H5Tset_fields(type.get(), 15, 10, 5, 0, 10));
  good(H5Tset_size(type.get(), 2));
  good(H5Tset_ebias(type.get(), 15));
  good(H5Tset_order(type.get(), order));
  return type;
}

enum class Layout { contiguous, compact, chunked, compressed };

Hdf5File new_file(const fs::path& path, hsize_t user_block = 0) {
  const Hdf5Properties properties(good(H5Pcreate(H5P_FILE_CREATE)));
  good(H5Pset_userblock(properties.get(), user_block));
  return Hdf5File(good(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, properties.get(), H5P_DEFAULT)));
}

Hdf5Space space_of(const std::vector<hsize_t>& shape) {
  return Hdf5Space(good(shape.empty() ? H5Screate(H5S_SCALAR)
                                      : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr)));
}

// A dataset whose bytes in the file, in its own byte order, are `bytes`.
void put(hid_t file, const std::string& name, hid_t type, const std::vector<hsize_t>& shape,
         const Hdf5Properties& properties, std::span<const std::byte> bytes) {
  const Hdf5Properties links(good(H5Pcreate(H5P_LINK_CREATE)));
  good(H5Pset_create_intermediate_group(links.get(), 1));
  const Hdf5Space space = space_of(shape);
  const Hdf5Dataset dataset(
      good(H5Dcreate2(file, name.c_str(), type, space.get(), links.get(), properties.get(), H5P_DEFAULT)));
  good(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()));
}

struct RandomTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;  // little endian
};

// Adds a random dataset of the given layout; the bytes are of any bit pattern, NaN included.
RandomTensor put_random(hid_t file, const std::string& name, Layout layout, RandomStream& random) {
  const Hdf5Type half_little = half_type(H5T_ORDER_LE);
  const Hdf5Type half_big = half_type(H5T_ORDER_BE);
  const NumberKind kinds[] = {
      {DType::f64, H5T_IEEE_F64LE, H5T_IEEE_F64BE},    {DType::f32, H5T_IEEE_F32LE, H5T_IEEE_F32BE},
      {DType::f16, half_little.get(), half_big.get()}, {DType::i64, H5T_STD_I64LE, H5T_STD_I64BE},
      {DType::i32, H5T_STD_I32LE, H5T_STD_I32BE},      {DType::i16, H5T_STD_I16LE, H5T_STD_I16BE},
      {DType::i8, H5T_STD_I8LE, H5T_STD_I8BE},         {DType::u64, H5T_STD_U64LE, H5T_STD_U64BE},
      {DType::u32, H5T_STD_U32LE, H5T_STD_U32BE},      {DType::u16, H5T_STD_U16LE, H5T_STD_U16BE},
      {DType::u8, H5T_STD_U8LE, H5T_STD_U8BE}};
  const NumberKind& kind = kinds[random.below(std::size(kinds))];
  const bool chunked = layout == Layout::chunked || layout == Layout::compressed;
  std::vector<hsize_t> shape(chunked ? 1 + random.below(4) : random.below(5));
  const Hdf5Properties properties(good(H5Pcreate(H5P_DATASET_CREATE)));
  std::vector<hsize_t> chunk;
  for (hsize_t& extent : shape) {
    extent = 1 + random.below(7);
    chunk.push_back(1 + random.below(extent));
  }
  if (chunked) {
    good(H5Pset_chunk(properties.get(), static_cast<int>(chunk.size()), chunk.data()));
  }
  if (layout == Layout::compressed) {
    good(H5Pset_shuffle(properties.get()));
    good(H5Pset_deflate(properties.get(), 6));
  }
  if (layout == Layout::compact) {
    good(H5Pset_layout(properties.get(), H5D_COMPACT));
  }
  RandomTensor tensor{name, kind.dtype, {shape.begin(), shape.end()}, {}};
  std::size_t elements = 1;
  for (const hsize_t extent : shape) {
    elements *= extent;
  }
  const std::size_t size = size_of(kind.dtype);
  tensor.bytes.resize(elements * size);
  for (std::byte& byte : tensor.bytes) {
    byte = static_cast<std::byte>(random.below(256));
  }
  const bool big = random.below(2) == 1;
  std::vector<std::byte> in_file = tensor.bytes;
  if (big) {
    for (std::size_t i = 0; i < elements; ++i) {
      std::reverse(in_file.begin() + static_cast<std::ptrdiff_t>(i * size),
                   in_file.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
    }
  }
  put(file, name, big ? kind.big : kind.little, shape, properties, in_file);
  return tensor;
}

TEST(Hdf5Weights, AnyRangeOfAnyLayoutReadsAsItWasWritten) {
  const test::TemporaryFolder folder;
  RandomStream random(7, 0);
  for (int trial = 0; trial < 60; ++trial) {
    const fs::path path = folder / "x.h5";
    std::vector<RandomTensor> expected;
    {
      const Hdf5File file = new_file(path, trial % 3 == 2 ? 512 : 0);
      int number = 0;
      for (const Layout layout : {Layout::contiguous, Layout::compact, Layout::chunked, Layout::compressed}) {
        for (const char* place : {"", "down/0/"}) {
          expected.push_back(put_random(file.get(), place + std::to_string(number++), layout, random));
        }
      }
    }
    const Weights weights = Weights::open(path);
    ASSERT_EQ(weights.tensors().size(), expected.size());
    for (const RandomTensor& tensor : expected) {
      const auto found = weights.find(tensor.name);
      ASSERT_TRUE(found) << tensor.name;
      const WeightTensor& info = weights.tensors()[*found];
      EXPECT_EQ(info.dtype, tensor.dtype);
      EXPECT_EQ(info.shape, tensor.shape);
      ASSERT_EQ(info.bytes(), tensor.bytes.size());
      const std::size_t size = size_of(tensor.dtype);
      for (int range = 0; range < 10; ++range) {
        const std::uint64_t first = range == 0 ? 0 : random.below(info.elements + 1);
        const std::uint64_t count = range == 0 ? info.elements : random.below(info.elements - first + 1);
        std::vector<std::byte> bytes(count * size);
        weights.will_read(*found, first, count);
        weights.read(*found, first, bytes);
        EXPECT_TRUE(std::ranges::equal(bytes, std::span(tensor.bytes).subspan(first * size, count * size)))
            << tensor.name << " of rank " << tensor.shape.size() << ", elements " << first << " to " << first + count;
      }
    }
  }
}

// Opens x.h5 after `make` has filled it: the message, which names the file.
std::string refusal(
    const std::function<void(hid_t)>& make,
    const std::function<void(const fs::path&)>& damage = [](const fs::path&) {}) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "x.h5";
  {
    const Hdf5File file = new_file(path);
    make(file.get());
  }
  damage(path);
  try {
    static_cast<void>(Weights::open(path));
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(path.string() + ": "));
    return error.message();
  }
  return "accepted";
}

const float one = 1.0F;

void put_one(hid_t file, const std::string& name, hid_t type = H5T_IEEE_F32LE) {
  put(file, name, type, {1}, Hdf5Properties(good(H5Pcreate(H5P_DATASET_CREATE))), std::as_bytes(std::span(&one, 1)));
}

TEST(Hdf5Weights, WhatIsNoNumberIsRefused) {
  EXPECT_EQ(refusal([](hid_t file) { put_one(file, "w"); }), "accepted");
  EXPECT_THAT(refusal([](hid_t) {}), HasSubstr("holds no dataset"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Type text(good(H5Tcopy(H5T_C_S1)));
                good(H5Tset_size(text.get(), 4));
                put_one(file, "caption", text.get());
              }),
              HasSubstr("dataset caption holds no numbers that soup knows"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Type pair(good(H5Tcreate(H5T_COMPOUND, 4)));
                good(H5Tinsert(pair.get(), "re", 0, H5T_STD_I16LE));
                good(H5Tinsert(pair.get(), "im", 2, H5T_STD_I16LE));
                put_one(file, "complex", pair.get());
              }),
              HasSubstr("dataset complex holds no numbers that soup knows"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Type brain(good(H5Tcopy(H5T_IEEE_F32LE)));  // bfloat16, with other fields than IEEE's
                good(H5Tset_fields(brain.get(), 15, 7, 8, 0, 7));
                good(H5Tset_size(brain.get(), 2));
                put_one(file, "half", brain.get());
              }),
              HasSubstr("dataset half holds no numbers that soup knows"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Space none(good(H5Screate(H5S_NULL)));
                const Hdf5Dataset dataset(
                    good(H5Dcreate2(file, "null", H5T_IEEE_F32LE, none.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)));
              }),
              HasSubstr("dataset null is empty"));
}

TEST(Hdf5Weights, NamesThatSafetensorsCannotHoldAreRefused) {
  EXPECT_THAT(refusal([](hid_t file) { put_one(file, "\xFFw"); }), HasSubstr("a dataset's name is not UTF-8"));
  EXPECT_THAT(refusal([](hid_t file) { put_one(file, "__metadata__"); }), HasSubstr("dataset __metadata__"));
}

TEST(Hdf5Weights, ATensorIsNeverSkippedOrTakenFromElsewhere) {
  EXPECT_THAT(refusal([](hid_t file) {
                put_one(file, "w");
                good(H5Lcreate_soft("/w", file, "tied", H5P_DEFAULT, H5P_DEFAULT));
              }),
              HasSubstr("tied is a link"));
  EXPECT_THAT(refusal([](hid_t file) {
                put_one(file, "w");
                good(H5Lcreate_external("/etc/passwd", "/w", file, "outside", H5P_DEFAULT, H5P_DEFAULT));
              }),
              HasSubstr("outside is a link"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Properties properties(good(H5Pcreate(H5P_DATASET_CREATE)));
                good(H5Pset_external(properties.get(), "/etc/passwd", 0, 4));
                const Hdf5Space space = space_of({4});
                const Hdf5Dataset dataset(good(H5Dcreate2(file, "outside", H5T_STD_U8LE, space.get(), H5P_DEFAULT,
                                                          properties.get(), H5P_DEFAULT)));
              }),
              HasSubstr("dataset outside keeps its elements in another file"));
  EXPECT_THAT(refusal([](hid_t file) {
                const Hdf5Properties properties(good(H5Pcreate(H5P_DATASET_CREATE)));
                const Hdf5Space space = space_of({4});
                good(H5Pset_virtual(properties.get(), space.get(), "other.h5", "/w", space.get()));
                const Hdf5Dataset dataset(good(
                    H5Dcreate2(file, "view", H5T_STD_U8LE, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT)));
              }),
              HasSubstr("dataset view keeps its elements in another file"));
}

TEST(Hdf5Weights, ATensorWithTwoNamesIsThereTwice) {
  const test::TemporaryFolder folder;
  {
    const Hdf5File file = new_file(folder / "x.h5");
    put_one(file.get(), "w");
    good(H5Lcreate_hard(file.get(), "w", file.get(), "tied", H5P_DEFAULT, H5P_DEFAULT));
  }
  const Weights weights = Weights::open(folder / "x.h5");
  for (const char* name : {"tied", "w"}) {
    const auto found = weights.find(name);
    ASSERT_TRUE(found) << name;
    float value = 0;
    weights.read(*found, 0, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, one);
  }
}

TEST(Hdf5Weights, EveryTruncationIsRefusedOrReadsWithAnError) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "x.h5";
  {
    const Hdf5File file = new_file(path);
    put_one(file.get(), "a");
    put_one(file.get(), "group/b");
  }
  const std::string whole = read_file(path);
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 7) {
    write_file_atomically(path, whole.substr(0, bytes));
    EXPECT_THROW(static_cast<void>(Weights::open(path)), DataError) << bytes << " of " << whole.size() << " bytes";
  }
  EXPECT_THAT(refusal([](hid_t file) { put_one(file, "w"); },
                      [](const fs::path& damaged) { fs::resize_file(damaged, fs::file_size(damaged) - 1); }),
              AllOf(HasSubstr("cannot open as HDF5"), HasSubstr("truncated")));
  EXPECT_THAT(refusal([](hid_t) {}, [](const fs::path& damaged) { write_file_atomically(damaged, "text"); }),
              HasSubstr("cannot open as HDF5"));
}

TEST(Hdf5Weights, AFileThatShrinksIsAnError) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "x.hdf5";
  std::vector<std::byte> bytes(100'000, std::byte{3});
  {
    const Hdf5File file = new_file(path);
    put(file.get(), "flat", H5T_STD_U8LE, {bytes.size()}, Hdf5Properties(good(H5Pcreate(H5P_DATASET_CREATE))), bytes);
  }
  const Weights weights = Weights::open(path);
  fs::resize_file(path, 10'000);
  try {
    weights.read(0, 0, bytes);
    FAIL() << "bytes were read that are not there";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr("became shorter")));
  }
}

}  // namespace
}  // namespace soup
