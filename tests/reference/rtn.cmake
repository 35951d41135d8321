quantd_library(reference_rtn SOURCES ${CMAKE_CURRENT_LIST_DIR}/rtn_reference.cc USES core)
