// A full disk is found before the work, in memory as on a disk.
#include "merge/safetensors_stream.hpp"

#include <gmock/gmock.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t too_many = std::int64_t{1} << 50;  // bytes that no disk has

std::string refusal(const fs::path& file) {
  try {
    const SafetensorsStream stream(file, {{"w", DType::u8, {too_many}}}, 0);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SafetensorsStream, TakesTheDisksSpaceAtOnce) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(refusal(folder / "soup.safetensors"), AllOf(HasSubstr("soup.safetensors"), HasSubstr("bytes of disk")));
}

TEST(SafetensorsStream, ComparesWithWhatIsFreeInMemory) {
  const fs::path memory = "/dev/shm";
  struct statfs system {};
  if (::statfs(memory.c_str(), &system) != 0 || system.f_type != TMPFS_MAGIC || system.f_blocks == 0) {
    GTEST_SKIP() << memory << " is no limited tmpfs";
  }
  const fs::path file = memory / ("soup-stream-test-" + std::to_string(::getpid()));
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("cannot take"), HasSubstr("No space left on device")));
  EXPECT_EQ(fs::file_size(file), 0U);
  fs::remove(file);
}

}  // namespace
}  // namespace soup
