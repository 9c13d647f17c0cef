# Every library soup uses, as imported targets under one spelling. All but LibTorch are Debian 12 packages (launch/setup.sh installs them).
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(yaml-cpp 0.7 REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp) # 0.7 exports the plain name, 0.8 the namespaced one
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
find_package(MPI REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 1.10 REQUIRED COMPONENTS C)
pkg_check_modules(VIPS REQUIRED IMPORTED_TARGET vips)
pkg_check_modules(LIBARCHIVE REQUIRED IMPORTED_TARGET libarchive)
find_package(utf8cpp REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)

# LibTorch from the PyPI wheel. find_package(Torch) of a CUDA wheel fails where no toolkit is found and pulls in libtorch_cuda,
# so its two CPU libraries are named here. The include folders go behind the system's (-idirafter): the wheel ships its own,
# newer fmt, which must not hide Debian's.
set(_torch "${SOUP_LIBTORCH}/torch")
if(NOT EXISTS "${_torch}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch not found: ${_torch}/lib/libtorch_cpu.so does not exist.\n"
                      "  hint: run `bash launch/setup.sh`, or set -DSOUP_LIBTORCH to a folder with the unpacked wheel torch==2.11.0")
endif()
foreach(_name c10 torch_cpu)
  add_library(torch::${_name} SHARED IMPORTED)
  set_target_properties(torch::${_name} PROPERTIES IMPORTED_LOCATION "${_torch}/lib/lib${_name}.so")
endforeach()
add_library(soup_torch_cpu INTERFACE)
target_compile_options(soup_torch_cpu INTERFACE "SHELL:-idirafter ${_torch}/include"
                                                "SHELL:-idirafter ${_torch}/include/torch/csrc/api/include")
target_link_libraries(soup_torch_cpu INTERFACE torch::torch_cpu torch::c10)
target_link_options(soup_torch_cpu INTERFACE -Wl,--as-needed -Wl,--allow-shlib-undefined)
add_library(torch::cpu ALIAS soup_torch_cpu)
