quantd_library(reference_beam SOURCES ${CMAKE_CURRENT_LIST_DIR}/beam_reference.cc USES levels)
