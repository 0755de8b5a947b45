find_package(executorch REQUIRED)
set_target_properties(classify PROPERTIES
  CXX_STANDARD ${EXECUTORCH_CXX_STANDARD} BUILD_RPATH "${EXECUTORCH_RUNTIME_LIBRARY_DIR}")
target_include_directories(classify SYSTEM PRIVATE ${EXECUTORCH_INCLUDE_DIRS})
target_compile_definitions(classify PRIVATE ${EXECUTORCH_COMPILE_DEFINITIONS})
target_link_libraries(classify PRIVATE ${EXECUTORCH_LIBRARIES})
