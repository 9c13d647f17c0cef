// What a run does over NCCL: the soup's sums, and a training by a group; on a GPU.
#include <gmock/gmock.h>
#include <mpi.h>

#include <vector>

#include "launch/mpi_communicator.hpp"
#include "merge/soup.hpp"
#include "tests/launch/mpi_main.hpp"
#include "tests/launch/nccl_world.hpp"
#include "tests/merge/oracle.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/device.hpp"

namespace soup::test {
namespace {

class NcclRun : public testing::Test {
 protected:
  void SetUp() override {
    nccl_ = nccl_world();
    if (nccl_ == nullptr) {
      GTEST_SKIP() << "needs a GPU";
    }
  }

  std::unique_ptr<Communicator> nccl_;
  Log log_{1};
};

TEST_F(NcclRun, SoupIsMpisAndTheOracles) {
  TensorLayout layout;
  layout.append("unet.weight", {301, 977});
  layout.append("unet.bias", {977});
  std::vector<std::vector<float>> weights;
  std::vector<OracleTerm> terms;
  for (std::size_t i = 0; i < 5; ++i) {
    weights.push_back(floats_below(3, layout.count(), i));
  }
  std::vector<SoupIngredient> mine;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    terms.push_back({weights[i], static_cast<std::int64_t>(i + 1)});
    if (static_cast<int>(i) % nccl_->size() == nccl_->rank()) {
      mine.push_back({"shard" + std::to_string(i), static_cast<std::int64_t>(i + 1), resident(weights[i])});
    }
  }
  SoupOptions options;
  options.bucket_elements = 100'000;
  const ResidentSoup over_nccl = make_soup(*nccl_, layout, Digest{}, mine, options);
  MpiCommunicator mpi(MPI_COMM_WORLD);
  const ResidentSoup over_mpi = make_soup(mpi, layout, Digest{}, mine, options);
  EXPECT_EQ(over_nccl.weights, over_mpi.weights);
  EXPECT_EQ(over_nccl.weights, oracle_soup(terms, options.scale_bits));
}

TEST_F(NcclRun, AGroupsTrainingIsThatOfOneRank) {
  const auto device = use_device({nccl_gpu()}, /*deterministic=*/true);
  TemporaryFolder folder;
  write_tiny_shard(folder.path() / "shard.h5", "squares", 48);
  const auto images = tiny_images(folder.path() / "shard.h5");
  const auto curve = [&](Communicator& group, const std::string& name) {
    DiffusionModel model = tiny_model();
    model.to(device);
    Trainer trainer(model, images, {}, tiny_job(folder.path(), name, tiny_training()), group, log_);
    trainer.run();
    std::vector<double> losses;
    for (const LossPoint& point : trainer.clock().curve) {
      losses.push_back(point.loss);
    }
    return losses;
  };
  const std::vector<double> together = curve(*nccl_, "together");
  EXPECT_EQ(curve(*nccl_, "again"), together);
  const std::unique_ptr<Communicator> alone = make_self_communicator();
  EXPECT_THAT(together, testing::Pointwise(testing::DoubleNear(2e-3), curve(*alone, "alone")));
}

}  // namespace
}  // namespace soup::test
