// sweep.json: its text, and every way in which a file is none.
#include "experiments/sweep_record.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/strict_json.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* golden = R"({
  "inputs": [
    {
      "name": "oxygen",
      "path": "../models/oxygen"
    },
    {
      "name": "numix",
      "path": "../numix"
    }
  ],
  "method": "mean",
  "points": [
    {
      "folder": "2-0",
      "soup_digest": "0000000000000000000000000000000000000000000000000000000000000001",
      "weights": {
        "numix": 0,
        "oxygen": 2
      }
    },
    {
      "folder": "1-1",
      "soup_digest": "0000000000000000000000000000000000000000000000000000000000000002",
      "weights": {
        "numix": 1,
        "oxygen": 1
      }
    },
    {
      "folder": "0-2",
      "soup_digest": "0000000000000000000000000000000000000000000000000000000000000003",
      "weights": {
        "numix": 2,
        "oxygen": 0
      }
    }
  ],
  "program": "soup 9",
  "schema": 1,
  "steps": 2
}
)";

Digest digest_ending(char last) {
  return Digest::from_hex(std::string(63, '0') + last);
}

class SweepRecordTest : public testing::Test {
 protected:
  SweepRecordTest() {
    for (const char* name : {"2-0", "1-1", "0-2"}) {
      fs::create_directories(folder_ / name);
    }
  }
  // The message of reading the golden file after a change; empty when it is read.
  std::string refusal(const std::function<void(json&)>& change) {
    json value = json::parse(golden);
    change(value);
    write_json(folder_ / sweep_name, value);
    try {
      read_sweep(folder_.path());
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }

  test::TemporaryFolder folder_;
};

TEST_F(SweepRecordTest, IsWrittenAndReadAsItsText) {
  const Sweep sweep{
      "soup 9",
      "mean",
      2,
      {{"oxygen", "../models/oxygen"}, {"numix", "../numix"}},
      {{{2, 0}, "2-0", digest_ending('1')}, {{1, 1}, "1-1", digest_ending('2')}, {{0, 2}, "0-2", digest_ending('3')}}};
  write_sweep(folder_.path(), sweep);
  EXPECT_EQ(read_file(folder_ / sweep_name), golden);
  const Sweep read = read_sweep(folder_.path());
  EXPECT_EQ(read.program, "soup 9");
  EXPECT_EQ(read.method, "mean");
  EXPECT_EQ(read.steps, 2);
  ASSERT_EQ(read.inputs.size(), 2u);
  EXPECT_EQ(read.inputs[1].name, "numix");
  EXPECT_EQ(read.inputs[1].path, "../numix");
  ASSERT_EQ(read.points.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read.points[i].weights, sweep.points[i].weights);
    EXPECT_EQ(read.points[i].folder, sweep.points[i].folder);
    EXPECT_EQ(read.points[i].soup_digest, sweep.points[i].soup_digest);
  }
  EXPECT_EQ(read.title(0), "oxygen");
  EXPECT_EQ(read.title(1), "1 oxygen, 1 numix");
  EXPECT_EQ(read.title(2), "numix");
}

TEST_F(SweepRecordTest, RefusesWhatIsNoSweep) {
  EXPECT_EQ(refusal([](json&) {}), "");
  EXPECT_THAT(refusal([](json& s) { s["colour"] = 1; }),
              AllOf(HasSubstr("sweep.json"), HasSubstr("colour is not a known key")));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["colour"] = 1; }), HasSubstr("points[1].colour"));
  EXPECT_THAT(refusal([](json& s) { s["inputs"][1]["colour"] = 1; }), HasSubstr("inputs[1].colour"));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["weights"]["tango"] = 0; }), HasSubstr("points[1].weights.tango"));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["weights"].erase("numix"); }), HasSubstr("points[1].weights.numix"));
  EXPECT_THAT(refusal([](json& s) { s.erase("steps"); }), HasSubstr("steps"));
  EXPECT_THAT(refusal([](json& s) { s["schema"] = 2; }), HasSubstr("schema"));
  EXPECT_THAT(refusal([](json& s) { s["steps"] = 0; }), HasSubstr("steps"));
  EXPECT_THAT(refusal([](json& s) { s["steps"] = 1001; }), HasSubstr("steps"));
  EXPECT_THAT(refusal([](json& s) { s["method"] = "stew"; }), AllOf(HasSubstr("method"), HasSubstr("stew")));
  EXPECT_THAT(refusal([](json& s) { s["inputs"][1]["name"] = "oxygen"; }),
              AllOf(HasSubstr("inputs[1].name"), HasSubstr("another input")));
  EXPECT_THAT(refusal([](json& s) { s["inputs"].erase(1); }), AllOf(HasSubstr("inputs"), HasSubstr("from model to")));
  EXPECT_THAT(refusal([](json& s) { s["points"][0]["soup_digest"] = "00"; }), HasSubstr("points[0].soup_digest"));
}

TEST_F(SweepRecordTest, RefusesPointsThatAreNotTheGrids) {
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["weights"]["numix"] = 2; }),
              AllOf(HasSubstr("points[1].weights"), HasSubstr("add up to 3"), HasSubstr("2 steps")));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["weights"]["numix"] = -1; }), HasSubstr("points[1].weights.numix"));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["weights"]["numix"] = 1.0; }), HasSubstr("points[1].weights.numix"));
  EXPECT_THAT(refusal([](json& s) { std::swap(s["points"][0], s["points"][1]); }),
              AllOf(HasSubstr("points[0].weights"), HasSubstr("1-1"), HasSubstr("2-0")));
  EXPECT_THAT(refusal([](json& s) { s["points"].erase(2); }), AllOf(HasSubstr("points"), HasSubstr("are 2")));
  EXPECT_THAT(refusal([](json& s) { s["steps"] = 3; }), AllOf(HasSubstr("points"), HasSubstr("have 4")));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["folder"] = "../1-1"; }),
              AllOf(HasSubstr("points[1].folder"), HasSubstr("../1-1")));
  EXPECT_THAT(refusal([](json& s) { s["points"][1]["folder"] = "0-2"; }), HasSubstr("points[1].folder"));
}

TEST_F(SweepRecordTest, EveryPointHasItsFolder) {
  fs::remove(folder_ / "1-1");
  EXPECT_THAT(refusal([](json&) {}), AllOf(HasSubstr("points[1].folder"), HasSubstr("1-1"), HasSubstr("no such")));
  write_file_atomically(folder_ / "1-1", "a file");
  EXPECT_THAT(refusal([](json&) {}), HasSubstr("points[1].folder"));
}

TEST_F(SweepRecordTest, AMissingFileIsNamed) {
  try {
    read_sweep(folder_.path());
    ADD_FAILURE() << "read a sweep that is not there";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("sweep.json"));
  }
}

TEST(RequireSweepable, NamesWhatIsTooMuch) {
  const auto refusal = [](std::size_t inputs, int steps) -> std::string {
    try {
      require_sweepable(inputs, steps);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(2, 999), "");
  EXPECT_THAT(refusal(2, 1000), AllOf(HasSubstr("2 inputs"), HasSubstr("1000 steps"), HasSubstr("1001 soups")));
  EXPECT_EQ(refusal(3, 43), "");
  EXPECT_THAT(refusal(3, 44), HasSubstr("1035 soups"));
  EXPECT_THAT(refusal(40, 40), HasSubstr("1000000000000 or more soups"));
  EXPECT_THAT(refusal(1, 4), HasSubstr("there is 1"));
  EXPECT_THAT(refusal(2, 0), HasSubstr("1 to 1000 steps"));
  EXPECT_EQ(refusal(100, 1), "");
  EXPECT_THAT(refusal(101, 1), HasSubstr("names of 201 bytes"));
}

}  // namespace
}  // namespace soup
