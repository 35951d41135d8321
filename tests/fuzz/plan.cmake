quantd_fuzzer(plan SOURCE ${CMAKE_CURRENT_LIST_DIR}/plan_fuzz.cc LIBS quantd::server_rpc)
