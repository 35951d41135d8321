quantd_fuzzer(csv SOURCE ${CMAKE_CURRENT_LIST_DIR}/csv_fuzz.cc LIBS quantd::client_files)
