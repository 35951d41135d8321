quantd_library(reference_gptq SOURCES ${CMAKE_CURRENT_LIST_DIR}/gptq_reference.cc
               ${CMAKE_CURRENT_LIST_DIR}/synthetic.cc)
