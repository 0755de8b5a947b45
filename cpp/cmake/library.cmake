# The shared and the static library, and their installation: find_package(fleetnet) and pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Grows when a program that was compiled earlier would no longer run; see include/fleetnet.h.
file(STRINGS include/fleetnet.h FLEETNET_ABI_LINE REGEX "#define FLEETNET_ABI_VERSION")
string(REGEX MATCH "[0-9]+" FLEETNET_ABI_VERSION "${FLEETNET_ABI_LINE}")

# What the objects are linked with, apart from the C core, which is part of the libraries.
get_target_property(FLEETNET_LINKED fleetnet_objects INTERFACE_LINK_LIBRARIES)
list(REMOVE_ITEM FLEETNET_LINKED fleetnet_core)
# Only its header is used, to compile.
list(FILTER FLEETNET_LINKED EXCLUDE REGEX "^::@|nlohmann_json")
list(REMOVE_DUPLICATES FLEETNET_LINKED)

# The rooms find packages for themselves; their targets are needed here, too.
set(FLEETNET_PACKAGES "")
foreach(linked ${FLEETNET_LINKED})
  if(linked MATCHES "^([A-Za-z0-9_]+)::")
    string(REPLACE openvino OpenVINO package "${CMAKE_MATCH_1}")
    list(APPEND FLEETNET_PACKAGES ${package})
    if(NOT TARGET ${linked})
      find_package(${package} REQUIRED)
    endif()
  endif()
endforeach()
list(REMOVE_DUPLICATES FLEETNET_PACKAGES)

add_library(fleetnet SHARED $<TARGET_OBJECTS:fleetnet_objects> $<TARGET_OBJECTS:fleetnet_core>)
add_library(fleetnet_static STATIC $<TARGET_OBJECTS:fleetnet_objects>
                                   $<TARGET_OBJECTS:fleetnet_core>)
foreach(library fleetnet fleetnet_static)
  add_library(fleetnet::${library} ALIAS ${library})
  target_link_libraries(${library} PRIVATE ${FLEETNET_LINKED})
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
endforeach()
target_compile_definitions(fleetnet_static INTERFACE FLEETNET_STATIC)
set_target_properties(fleetnet PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${FLEETNET_ABI_VERSION})
if(UNIX)
  # On Windows that would be the name of the shared library's import library.
  set_target_properties(fleetnet_static PROPERTIES OUTPUT_NAME fleetnet)
endif()

# Only the C interface is seen from outside; engines never leave the process once they are loaded.
set(FLEETNET_EXPORTS ${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map)
if(APPLE)
  set_target_properties(fleetnet PROPERTIES INSTALL_RPATH "@loader_path")
elseif(UNIX)
  target_link_options(fleetnet PRIVATE "-Wl,--version-script=${FLEETNET_EXPORTS}" -Wl,-z,nodelete
                      -Wl,--no-undefined)
  # A program is linked without the engine's libraries, which it only needs to run.
  target_link_options(fleetnet INTERFACE -Wl,--allow-shlib-undefined)
  set(FLEETNET_PC_FLAGS " -Wl,--allow-shlib-undefined")
  set_target_properties(fleetnet PROPERTIES LINK_DEPENDS ${FLEETNET_EXPORTS} INSTALL_RPATH "$ORIGIN")
endif()

install(
  TARGETS fleetnet
  EXPORT fleetnet-shared
  COMPONENT library
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(
  TARGETS fleetnet_static
  EXPORT fleetnet-static
  COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/fleetnet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)

set(FLEETNET_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/fleetnet)
foreach(kind shared static)
  install(
    EXPORT fleetnet-${kind}
    NAMESPACE fleetnet::
    DESTINATION ${FLEETNET_PACKAGE_DIR}
    COMPONENT development)
endforeach()

# The static library's users need the same packages.
configure_package_config_file(cmake/fleetnet-config.cmake.in fleetnet-config.cmake
                              INSTALL_DESTINATION ${FLEETNET_PACKAGE_DIR})
write_basic_package_version_file(fleetnet-config-version.cmake COMPATIBILITY SameMajorVersion)
install(
  FILES ${CMAKE_CURRENT_BINARY_DIR}/fleetnet-config.cmake
        ${CMAKE_CURRENT_BINARY_DIR}/fleetnet-config-version.cmake
  DESTINATION ${FLEETNET_PACKAGE_DIR}
  COMPONENT development)

# pkg-config, with the names that the linker takes.
set(FLEETNET_PRIVATE "")
foreach(linked ${FLEETNET_LINKED})
  if(linked STREQUAL "Threads::Threads")
    string(APPEND FLEETNET_PRIVATE " -pthread")
  elseif(TARGET ${linked})
    string(APPEND FLEETNET_PRIVATE " $<TARGET_LINKER_FILE:${linked}>")
  elseif(IS_ABSOLUTE "${linked}")
    string(APPEND FLEETNET_PRIVATE " ${linked}")
  elseif(NOT linked MATCHES "[<>]")
    string(APPEND FLEETNET_PRIVATE " -l${linked}")
  endif()
endforeach()
# The folder may be moved after the installation.
file(RELATIVE_PATH FLEETNET_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/fleetnet.pc.in fleetnet.pc.in @ONLY)
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/fleetnet.pc
     INPUT ${CMAKE_CURRENT_BINARY_DIR}/fleetnet.pc.in)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fleetnet.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
