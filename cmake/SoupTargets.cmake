# How soup's own libraries and tests are declared: one line each.
add_library(soup_options INTERFACE)
target_include_directories(soup_options INTERFACE "${CMAKE_SOURCE_DIR}")
set(soup_cxx_options -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor)
if(SOUP_WERROR)
  list(APPEND soup_cxx_options -Werror)
endif()
# No fused multiply-add behind our back: exact arithmetic must give the same bits on every machine.
list(APPEND soup_cxx_options -ffp-contract=off)
target_compile_options(soup_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${soup_cxx_options}>"
                                              "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${SOUP_WERROR}>>:-Werror=all-warnings>")
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL GNU) # files compiled several at a time look like headers with anonymous namespaces to g++
  target_compile_options(soup_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(SOUP_SANITIZE)
  target_compile_options(soup_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(soup_options INTERFACE -fsanitize=address,undefined)
endif()

if(SOUP_FUZZ)
  target_compile_options(soup_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Of tests that start MPI.
set(soup_mpi_environment OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1)
if(SOUP_SANITIZE) # Open MPI leaks, and unloads its parts at the end, so that no suppression finds their names
  list(APPEND soup_mpi_environment ASAN_OPTIONS=detect_leaks=0)
endif()

# soup_library(NAME SOURCES a.cpp ... LIBS x y)
function(soup_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC soup_options ${ARG_LIBS})
endfunction()

# soup_test(NAME SOURCES a.cpp LIBS x LABEL unit [RANKS 1 2 3 4] [TIMEOUT seconds])
# Without RANKS: one test, one process. With RANKS: the same binary under mpirun at each rank count (needs its own main that owns MPI).
function(soup_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LIBS;RANKS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_compile_definitions(${name} PRIVATE SOUP_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SOUP_BINARY_DIR="${CMAKE_BINARY_DIR}")
  set(work "${CMAKE_BINARY_DIR}/test-work/${name}")
  file(MAKE_DIRECTORY "${work}")
  if(ARG_RANKS)
    target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gtest)
    foreach(ranks IN LISTS ARG_RANKS)
      add_test(NAME ${name}.${ranks}
               COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none -n ${ranks} $<TARGET_FILE:${name}>
               WORKING_DIRECTORY "${work}")
      set_tests_properties(${name}.${ranks} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT} PROCESSORS 2
        ENVIRONMENT "${soup_mpi_environment}")
      if(ARG_LABEL STREQUAL gpu)
        set_tests_properties(${name}.${ranks} PROPERTIES SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
      endif()
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${work}")
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
    if(SOUP_SANITIZE) # as the system's allocator, which tests ask for more than there is
      set_tests_properties(${name} PROPERTIES ENVIRONMENT ASAN_OPTIONS=allocator_may_return_null=1)
    endif()
    if(ARG_LABEL STREQUAL gpu) # else a test that needs a GPU and finds none would count as passed
      set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
    endif()
  endif()
endfunction()

# soup_fuzz(NAME LIBS x y [BY_HAND]): the libFuzzer target NAME.cpp. In the fuzz preset it is built; in every other build it is a test
# that runs it for a few seconds, unless BY_HAND. NAME.dict and corpus/NAME are its dictionary and its seeds.
function(soup_fuzz name)
  cmake_parse_arguments(ARG "BY_HAND" "" "LIBS" ${ARGN})
  if(SOUP_FUZZ)
    add_executable(fuzz_${name} ${name}.cpp)
    target_link_libraries(fuzz_${name} PRIVATE ${ARG_LIBS})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer -Wl,--as-needed)
  elseif(NOT ARG_BY_HAND)
    add_test(NAME fuzz_${name} COMMAND bash "${CMAKE_SOURCE_DIR}/tests/fuzz/run.sh" --seconds 10 ${name})
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 120 FIXTURES_REQUIRED fuzz_build)
  endif()
endfunction()
