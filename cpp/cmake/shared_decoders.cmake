# Run by cmake --install: copy the shared libraries that the command needs beside OpenVINO's.
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${command}
  DIRECTORIES ${openvino_libraries}
  RESOLVED_DEPENDENCIES_VAR needed
  PRE_EXCLUDE_REGEXES "^libopenvino" "^libtbb" "^ld-linux" "^lib(c|m|dl|pthread|rt|gcc_s|stdc\\+\\+)\\.so")
foreach(library IN LISTS needed)
  file(INSTALL ${library} DESTINATION ${CMAKE_INSTALL_PREFIX} FOLLOW_SYMLINK_CHAIN)
endforeach()
