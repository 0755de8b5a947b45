# Libraries that are only headers, where the system has them; where it has not, their sources may be
# downloaded, if FLEETNET_FETCH is ON: as Debian has them, pinned by SHA-256.
#
# The libraries that decode pictures are the system's, or those that dependencies.sh builds: their
# own build files are not made to be part of another project.
include(FetchContent)

option(FLEETNET_FETCH "Download nlohmann-json and doctest where they are not found" OFF)

set(FLEETNET_SOURCES https://deb.debian.org/debian/pool/main CACHE STRING "Where FLEETNET_FETCH downloads from")
mark_as_advanced(FLEETNET_SOURCES)

# find_package(PACKAGE), or a target of the same name made of the headers in SUBFOLDER of an archive.
function(fleetnet_headers package target archive hash subfolder)
  if(TARGET ${target})
    return()
  endif()
  find_package(${package} QUIET)
  if(${package}_FOUND)
    return()
  endif()
  if(NOT FLEETNET_FETCH)
    message(FATAL_ERROR "${package} was not found: install it (cpp/packages.txt has the names of "
                        "Debian's packages), or let -D FLEETNET_FETCH=ON download it")
  endif()
  if(POLICY CMP0135)
    cmake_policy(SET CMP0135 NEW)
  endif()
  # It has no such folder of build files, so that only the headers are used.
  FetchContent_Declare(
    fleetnet_${package} URL ${FLEETNET_SOURCES}/${archive} URL_HASH SHA256=${hash} SOURCE_SUBDIR none)
  FetchContent_MakeAvailable(fleetnet_${package})
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} INTERFACE ${fleetnet_${package}_SOURCE_DIR}/${subfolder})
endfunction()

function(fleetnet_find_json)
  fleetnet_headers(
    nlohmann_json nlohmann_json::nlohmann_json n/nlohmann-json3/nlohmann-json3_3.11.2.orig.tar.gz
    d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273 include)
endfunction()

function(fleetnet_find_doctest)
  fleetnet_headers(
    doctest doctest::doctest d/doctest/doctest_2.4.9~ds.orig.tar.xz
    7cc78169975bea36e70ab9d67e7de9b03d89b38653499ad03243e3944429b1ab .)
endfunction()
