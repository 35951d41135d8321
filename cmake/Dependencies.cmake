# Everything comes from Debian's packages; nothing is downloaded at configure time.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED) # module mode, before gRPC: its config asks for Protobuf again
find_package(gRPC CONFIG REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(civetweb CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(yaml-cpp CONFIG REQUIRED)
find_package(GTest CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)  # CRC32C
pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
if(QUANTD_BENCH)
  find_package(benchmark CONFIG REQUIRED)
endif()
