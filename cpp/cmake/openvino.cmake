# Where OpenVINO is, if nobody says (OpenVINO_DIR, CMAKE_PREFIX_PATH): the wheel in the checkout's
# own environment, then the one that this machine's Python imports.
#
# Cross-builds name the other system's wheel in their preset: this machine's must never be found.

if(OpenVINO_DIR OR OpenVINO_ROOT OR CMAKE_CROSSCOMPILING)
  return()
endif()

file(GLOB places LIST_DIRECTORIES true
     ${CMAKE_CURRENT_LIST_DIR}/../../.venv/lib/python3*/site-packages/openvino/cmake
     ${CMAKE_CURRENT_LIST_DIR}/../../.venv/Lib/site-packages/openvino/cmake)
if(NOT places)
  find_program(FLEETNET_PYTHON NAMES python3 python)
  if(FLEETNET_PYTHON)
    execute_process(
      COMMAND ${FLEETNET_PYTHON} -c
              "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])"
      OUTPUT_VARIABLE package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      file(TO_CMAKE_PATH "${package}/cmake" places)
    endif()
  endif()
endif()
if(places)
  list(GET places 0 place)
  get_filename_component(place ${place} ABSOLUTE)
  set(OpenVINO_DIR ${place} CACHE PATH "Folder of OpenVINOConfig.cmake")
endif()
