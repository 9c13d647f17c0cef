# The cuda build. The toolkit gives headers (and nvcc); every library is one that the LibTorch wheel was built with, from
# the folder of that wheel: a process with a second CUDA runtime or NCCL, such as the toolkit's, has two that do not know
# each other.
find_package(CUDAToolkit QUIET)
if(NOT CUDAToolkit_FOUND)
  message(FATAL_ERROR "SOUP_CUDA is ON, but no CUDA toolkit was found.\n"
                      "  hint: install the CUDA toolkit 13.0, put its nvcc on the PATH or set -DCUDAToolkit_ROOT to its folder; "
                      "CPU builds need none of it: bash launch/build.sh release")
endif()
if(NOT CUDAToolkit_VERSION_MAJOR EQUAL 13)
  message(FATAL_ERROR "LibTorch 2.11.0 was built with CUDA 13.0, but ${CUDAToolkit_BIN_DIR} holds CUDA ${CUDAToolkit_VERSION}.\n"
                      "  hint: set -DCUDAToolkit_ROOT to the folder of a CUDA 13 toolkit")
endif()

# From A100 to B200; the last also as code that newer GPUs translate for themselves.
set(CMAKE_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;100-real;120" CACHE STRING "GPUs to compile kernels for")
set(CMAKE_CUDA_RUNTIME_LIBRARY None) # LibTorch's, below
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CCACHE}")
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17) # CMake 3.25 knows no other for this nvcc
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

set(_nvidia "${SOUP_LIBTORCH}/nvidia")
foreach(_file "${_torch}/lib/libtorch_cuda.so" "${_nvidia}/cu13/lib/libcudart.so.13" "${_nvidia}/cudnn/lib/libcudnn.so.9"
              "${_nvidia}/nccl/lib/libnccl.so.2" "${_nvidia}/nccl/include/nccl.h")
  if(NOT EXISTS "${_file}")
    message(FATAL_ERROR "LibTorch's CUDA libraries not found: ${_file} does not exist.\n"
                        "  hint: run `bash launch/setup.sh --cuda`, or set -DSOUP_LIBTORCH to the folder that "
                        "`pip install torch==2.11.0` installed into")
  endif()
endforeach()

foreach(_name c10_cuda torch_cuda)
  add_library(torch::${_name} SHARED IMPORTED)
  set_target_properties(torch::${_name} PROPERTIES IMPORTED_LOCATION "${_torch}/lib/lib${_name}.so")
endforeach()
add_library(cuda::runtime SHARED IMPORTED)
# Not CUDA::toolkit, which would put the toolkit's library folder into the run path.
set_target_properties(cuda::runtime PROPERTIES IMPORTED_LOCATION "${_nvidia}/cu13/lib/libcudart.so.13"
                                               INTERFACE_INCLUDE_DIRECTORIES "${CUDAToolkit_INCLUDE_DIRS}")
# Not a system include folder: those are searched later, and the toolkit and /usr/local/include may hold another nccl.h.
add_library(nccl::nccl SHARED IMPORTED)
set_target_properties(nccl::nccl PROPERTIES IMPORTED_LOCATION "${_nvidia}/nccl/lib/libnccl.so.2" IMPORTED_NO_SYSTEM ON
                                            INTERFACE_INCLUDE_DIRECTORIES "${_nvidia}/nccl/include")
target_link_libraries(nccl::nccl INTERFACE cuda::runtime)
# DT_RPATH instead of DT_RUNPATH, as in libtorch_cuda itself: LD_LIBRARY_PATH, which on machines with GPUs often names the
# toolkit, must not bring its copies in.
target_link_options(cuda::runtime INTERFACE LINKER:--disable-new-dtags)

# No symbol of libtorch_cuda is named by the program: what it holds registers itself when it is loaded.
set(CMAKE_LINK_LIBRARY_USING_always_needed_SUPPORTED ON)
set(CMAKE_LINK_LIBRARY_USING_always_needed "LINKER:--push-state,--no-as-needed" "<LINK_ITEM>" "LINKER:--pop-state")
add_library(soup_torch_cuda INTERFACE)
target_link_libraries(soup_torch_cuda INTERFACE torch::cpu cuda::runtime nccl::nccl
                                                "$<LINK_LIBRARY:always_needed,torch::torch_cuda,torch::c10_cuda>")
add_library(torch::cuda ALIAS soup_torch_cuda)
