quantd_fuzzer(assembler SOURCE ${CMAKE_CURRENT_LIST_DIR}/assembler_fuzz.cc LIBS quantd::wire_frames)
