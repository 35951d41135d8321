quantd_library(reference_knapsack SOURCES ${CMAKE_CURRENT_LIST_DIR}/knapsack_reference.cc
               USES planner)
