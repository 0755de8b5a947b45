# Arm64 Linux from x86 Linux, with Debian's cross compiler; what is built runs here under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

set(triple aarch64-linux-gnu)
set(CMAKE_C_COMPILER ${triple}-gcc)
set(CMAKE_CXX_COMPILER ${triple}-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../qemu.sh)

# Libraries and headers: what cpp/cmake/dependencies.sh built for that system, never this one's.
# Programs: this machine's.
get_filename_component(built ${CMAKE_CURRENT_LIST_DIR}/../../../build/dependencies/linux-arm64 ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${built} /usr/${triple})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
