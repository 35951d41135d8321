quantd_library(reference_codebook SOURCES ${CMAKE_CURRENT_LIST_DIR}/codebook_reference.cc USES levels)
