# Windows programs from Linux, with Debian's MinGW-w64.
#
# The "posix" compiler: the other one's library has no std::thread and std::mutex. Everything of the
# compiler's is linked in, so that a program needs OpenVINO's libraries and Windows only.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)

set(triple x86_64-w64-mingw32)
set(CMAKE_C_COMPILER ${triple}-gcc-posix)
set(CMAKE_CXX_COMPILER ${triple}-g++-posix)
set(CMAKE_RC_COMPILER ${triple}-windres)

set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../wine.sh)

set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-static")

# Libraries and headers: what cpp/cmake/dependencies.sh built for that system, never this one's.
# Programs: this machine's.
get_filename_component(built ${CMAKE_CURRENT_LIST_DIR}/../../../build/dependencies/windows-mingw ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${built} /usr/${triple})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
