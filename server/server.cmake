# Where the version stands: one small file, so that a new revision compiles nothing else.
set(QUANTD_REVISION "unknown" CACHE STRING "Revision of the sources, for metrics and logs")
configure_file(build_info.cc.in build_info.cc @ONLY)

# The assembly: everything that sees all rooms of the server at once.
quantd_library(
  server_options
  SOURCES options.cc
  USES server_telemetry
  LIBS absl::status absl::strings absl::time
  PRIVATE_LIBS CLI11::CLI11)
quantd_library(
  server
  SOURCES cpu_model.cc embedded.cc grpc_log.cc health_query.cc server.cc tls.cc transport.cc
          ${CMAKE_CURRENT_BINARY_DIR}/build_info.cc
  USES engine pool server_admission server_options server_rpc server_session server_telemetry
  PRIVATE_USES linalg server_lifecycle
  LIBS gRPC::grpc++
  PRIVATE_LIBS gRPC::grpc++_reflection OpenSSL::Crypto)
add_executable(quantd main.cc)
target_link_libraries(quantd PRIVATE quantd_options quantd::server quantd::server_lifecycle
                                     quantd::linalg)
