quantd_fuzzer(unpack SOURCE ${CMAKE_CURRENT_LIST_DIR}/unpack_fuzz.cc LIBS quantd::pack)
