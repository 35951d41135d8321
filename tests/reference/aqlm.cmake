# The paper's loop runs some hundred products with H: worth the vectors that -O2 leaves out.
set_source_files_properties(
  ${CMAKE_CURRENT_LIST_DIR}/aqlm_reference.cc ${CMAKE_CURRENT_LIST_DIR}/aqlm_case.cc
  PROPERTIES COMPILE_OPTIONS -O3)
quantd_library(reference_aqlm SOURCES ${CMAKE_CURRENT_LIST_DIR}/aqlm_case.cc
               ${CMAKE_CURRENT_LIST_DIR}/aqlm_reference.cc)
