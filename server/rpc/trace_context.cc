#include "server/rpc/trace_context.h"

namespace quantd {
namespace {

constexpr size_t kLength = 55;
constexpr size_t kTraceId = 3;
constexpr size_t kParentId = 36;
constexpr size_t kFlags = 53;

}  // namespace

bool IsTraceParent(absl::string_view text) {
  if (text.size() != kLength || text.substr(0, kTraceId) != "00-") return false;
  for (size_t i = kTraceId; i < kLength; ++i) {
    const bool dash = i == kParentId - 1 || i == kFlags - 1;
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !hex) return false;
  }
  return text.substr(kTraceId, 32).find_first_not_of('0') != absl::string_view::npos &&
         text.substr(kParentId, 16).find_first_not_of('0') != absl::string_view::npos;
}

std::string AcceptTraceParent(grpc::CallbackServerContext* context) {
  const auto& metadata = context->client_metadata();
  const auto it = metadata.find(kTraceParentKey);
  if (it == metadata.end()) return "";
  const absl::string_view text(it->second.data(), it->second.size());
  if (!IsTraceParent(text)) return "";
  std::string accepted(text);
  context->AddTrailingMetadata(kTraceParentKey, accepted);
  return accepted;
}

}  // namespace quantd
