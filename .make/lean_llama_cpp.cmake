# Included by CMake when it starts on llama-cpp-python (CMAKE_PROJECT_llama_cpp_INCLUDE, set in the Makefile).
# The package forces llama.cpp's helpers for its command-line tools on in the cache; an ordinary variable of the same
# name outranks the cache. Nothing in Python uses them, and they are the larger half of the build.
set(LLAMA_BUILD_COMMON OFF)
