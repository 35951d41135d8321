quantd_library(reference_kmeans
               SOURCES ${CMAKE_CURRENT_LIST_DIR}/kmeans_reference.cc
                       ${CMAKE_CURRENT_LIST_DIR}/vector_kmeans_reference.cc
               USES core)
