# Warnings, sanitizers and the one way a room declares itself.

add_library(quantd_options INTERFACE)
target_include_directories(quantd_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(
  quantd_options
  INTERFACE -Wall -Wextra -Werror -Wno-sign-compare -Wno-missing-field-initializers
            # Results must not depend on which CPU a kernel was compiled for.
            -ffp-contract=off -fno-math-errno)
target_compile_definitions(quantd_options INTERFACE QUANTD_VERSION="${PROJECT_VERSION}")
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(quantd_options INTERFACE -Wthread-safety)
endif()
if(QUANTD_SANITIZE)
  target_compile_options(quantd_options INTERFACE -fsanitize=${QUANTD_SANITIZE}
                                                  -fno-omit-frame-pointer -fno-sanitize-recover=all
                                                  # vptr checks triple the code and the build time
                                                  -fno-sanitize=vptr -O1 -g1)
  target_link_options(quantd_options INTERFACE -fsanitize=${QUANTD_SANITIZE})
endif()
if(QUANTD_SANITIZE STREQUAL "thread")
  # Every function that tsan_absl.cc wraps is named there by its symbol.
  set(shim ${CMAKE_SOURCE_DIR}/tests/support/tsan_absl.cc)
  file(STRINGS ${shim} lines REGEX "_ZNK?4absl")
  string(REGEX MATCHALL "_ZNK?4absl7debian3[A-Za-z0-9_]+" symbols "${lines}")
  list(REMOVE_DUPLICATES symbols)
  list(TRANSFORM symbols PREPEND "LINKER:--wrap=")
  add_library(quantd_tsan_absl STATIC ${shim})
  target_link_libraries(quantd_tsan_absl PUBLIC absl::synchronization)
  target_link_libraries(quantd_options INTERFACE quantd_tsan_absl)
  # --undefined: a binary that has no mutex of its own still links Abseil's libraries, whose wrapped calls
  # must find the shim.
  target_link_options(quantd_options INTERFACE ${symbols}
                                               LINKER:--undefined=__wrap__ZN4absl7debian35Mutex4LockEv)
endif()

# Builds the tests labelled "unit" and nothing else: what the sanitizer runs need.
add_custom_target(unit_tests)
# Builds all libFuzzer targets (fuzz preset).
add_custom_target(fuzzers)
if(QUANTD_FUZZ)
  target_compile_options(quantd_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# quantd_library(core SOURCES a.cc b.cc USES other_room ... LIBS external::target ...)
#
# One static library per room, alias quantd::NAME. USES names rooms whose headers appear in this room's
# headers; PRIVATE_USES and LIBS stay inside its .cc files.
function(quantd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES;PRIVATE_USES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(quantd_${name} STATIC ${ARG_SOURCES})
  add_library(quantd::${name} ALIAS quantd_${name})
  target_link_libraries(quantd_${name} PRIVATE quantd_options)
  target_include_directories(quantd_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  foreach(room ${ARG_USES})
    target_link_libraries(quantd_${name} PUBLIC quantd::${room})
  endforeach()
  foreach(room ${ARG_PRIVATE_USES})
    target_link_libraries(quantd_${name} PRIVATE quantd::${room})
  endforeach()
  target_link_libraries(quantd_${name} PUBLIC ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
endfunction()

# quantd_test(core SOURCES a_test.cc ... LIBS quantd::core ...)
#
# One GoogleTest binary, test_NAME; each of its tests is a ctest of its own. LABELS defaults to "unit".
function(quantd_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LIBS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(test_${name} ${ARG_SOURCES})
  target_link_libraries(test_${name} PRIVATE quantd_options ${ARG_LIBS} GTest::gmock
                                             GTest::gtest_main)
  if(ARG_LABEL STREQUAL "unit")
    add_dependencies(unit_tests test_${name})
  endif()
  gtest_discover_tests(test_${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 300)
endfunction()

# quantd_fuzzer(name SOURCE x_fuzz.cc LIBS ...)
#
# A libFuzzer target under the fuzz preset. In every build the committed corpus in
# tests/fuzz/corpus/NAME runs through the same entry point as a test.
function(quantd_fuzzer name)
  cmake_parse_arguments(ARG "" "SOURCE" "LIBS" ${ARGN})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(QUANTD_FUZZ)
    add_executable(fuzz_${name} ${ARG_SOURCE})
    target_link_libraries(fuzz_${name} PRIVATE quantd_options ${ARG_LIBS})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  else()
    add_executable(corpus_${name} ${ARG_SOURCE} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus_main.cc)
    target_link_libraries(corpus_${name} PRIVATE quantd_options ${ARG_LIBS})
    add_dependencies(unit_tests corpus_${name})
    add_test(NAME corpus.${name} COMMAND corpus_${name} ${corpus})
    set_tests_properties(corpus.${name} PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()
