# The part of the app that is native: resizing, and ncnn where its Android package lies in ncnn/.
cmake_minimum_required(VERSION 3.22)
project(fleetnet LANGUAGES C CXX)

add_subdirectory(core)
add_library(fleetnet SHARED android.cpp answers.cpp)
target_compile_features(fleetnet PRIVATE cxx_std_17)
target_link_libraries(fleetnet PRIVATE fleetnet_core)

set(ncnn_DIR ${CMAKE_CURRENT_SOURCE_DIR}/ncnn/${ANDROID_ABI}/lib/cmake/ncnn)
find_package(ncnn QUIET)
if(ncnn_FOUND)
  target_sources(fleetnet PRIVATE network.cpp)
  target_compile_definitions(fleetnet PRIVATE WITH_NCNN)
  target_link_libraries(fleetnet PRIVATE ncnn)
endif()
