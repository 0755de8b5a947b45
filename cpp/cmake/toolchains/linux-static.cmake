# This very Linux, with the decoders of cpp/cmake/dependencies.sh linked in: what is built needs the C
# and C++ libraries and OpenVINO's, and no other.
get_filename_component(built ${CMAKE_CURRENT_LIST_DIR}/../../../build/dependencies/linux-static ABSOLUTE)
list(PREPEND CMAKE_PREFIX_PATH ${built})
set(CMAKE_C_COMPILER gcc)
set(CMAKE_CXX_COMPILER g++)
