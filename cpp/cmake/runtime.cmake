# What to copy onto a machine that has neither Python nor OpenVINO:
#
#   cmake --install build/cpp --component runtime --prefix FOLDER --strip
#
# One folder: the command, and of OpenVINO the core, the processor's plugin, what reads the formats of
# bundles, and TBB. Left out are other devices, other formats, and what binds threads to NUMA nodes.

if(NOT FLEETNET_COMMAND OR NOT FLEETNET_OPENVINO)
  return()
endif()

set(FLEETNET_READERS onnx ir CACHE STRING "OpenVINO's readers in the component runtime: onnx, ir")

get_target_property(openvino_c openvino::runtime::c IMPORTED_LOCATION_RELEASE)
get_filename_component(openvino_libraries ${openvino_c} DIRECTORY)
list(TRANSFORM FLEETNET_READERS REPLACE "(.+)" "openvino_\\1_frontend" OUTPUT_VARIABLE readers)
set(wanted openvino openvino_c openvino_intel_cpu_plugin openvino_arm_cpu_plugin ${readers} tbb tbb12)
set(runtime_libraries "")
foreach(name IN LISTS wanted)
  # On Linux some names end with the version, and on Windows none begins with "lib".
  file(GLOB found ${openvino_libraries}/lib${name}.so* ${openvino_libraries}/${name}.dll
       ${openvino_libraries}/lib${name}.dylib ${openvino_libraries}/lib${name}.*.dylib)
  list(APPEND runtime_libraries ${found})
endforeach()

install(TARGETS fleetnet-predict RUNTIME DESTINATION . COMPONENT runtime EXCLUDE_FROM_ALL)
install(FILES ${runtime_libraries} DESTINATION . COMPONENT runtime EXCLUDE_FROM_ALL)

if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  # Beside the command, wherever the folder is. RPATH, unlike RUNPATH, also holds for what these
  # libraries need in turn.
  target_link_options(fleetnet-predict PRIVATE -Wl,--disable-new-dtags)
endif()

if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT CMAKE_CROSSCOMPILING)
  # The decoders, where they are shared libraries; not the C and C++ libraries, which every Linux has.
  install(CODE "set(command \"$<TARGET_FILE:fleetnet-predict>\")
                set(openvino_libraries \"${openvino_libraries}\")"
          COMPONENT runtime EXCLUDE_FROM_ALL)
  install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/shared_decoders.cmake COMPONENT runtime EXCLUDE_FROM_ALL)
endif()
