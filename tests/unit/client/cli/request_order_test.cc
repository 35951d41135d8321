// In which order a run sends its requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/quantize.h"
#include "tests/unit/client/files/model_folder.h"
#include "tests/unit/client/lib/fake_service.h"

namespace quantd::cli {
namespace {

using client::FakeService;
using client::SeenRequest;
using ::testing::ElementsAre;

// Its prediction goes with the columns, which is not the order of the bytes.
class FakeServer : public FakeService {
 public:
  using FakeService::FakeService;
  grpc::Status Estimate(grpc::ServerContext*, const v1::EstimateRequest* request,
                        v1::EstimateResponse* response) override {
    *response->mutable_spec() = request->header().spec();
    response->set_admissible(true);
    response->set_seconds(request->header().tensors(0).shape(1));
    return grpc::Status::OK;
  }
};

TEST(RequestOrderTest, TheLongestGoFirstAndEqualOnesInTheOrderOfTheModel) {
  quantd::testing::TempFolder folder;
  quantd::testing::WriteLlama(folder / "model");
  absl::Mutex mutex;
  std::vector<std::string> sent;
  FakeServer server(
      [&](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        {
          // Calls come one after the other, as gRPC knows and the thread sanitizer does not.
          absl::MutexLock lock(&mutex);
          sent.push_back(seen.header.tensors(0).name());
        }
        return client::Reject(seen, stream);
      });
  QuantizeFlags flags;
  flags.model_dir = folder / "model";
  flags.out_dir = folder / "out";
  flags.layout = "plain";
  flags.spec.method = "rtn";
  flags.spec.fields["group-size"] = "32";
  flags.include = {"mlp"};
  flags.connection.jobs = 1;
  std::ostringstream out, err;
  client::StopSource stop;
  Environment env;
  env.out = &out;
  env.err = &err;
  env.stop = &stop;
  env.connect = [&server](const client::ChannelOptions&) { return server.Connect(); };
  EXPECT_EQ(RunQuantize(flags, &env), kExitBadInput) << err.str();
  const auto mlp = [](int layer, const char* name) {
    return absl::StrCat("model.layers.", layer, ".mlp.", name, "_proj.weight");
  };
  absl::MutexLock lock(&mutex);
  EXPECT_THAT(sent, ElementsAre(mlp(0, "down"), mlp(1, "down"), mlp(0, "gate"), mlp(0, "up"),
                                mlp(1, "gate"), mlp(1, "up")));
}

}  // namespace
}  // namespace quantd::cli
