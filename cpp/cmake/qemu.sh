#!/bin/sh
# Usage: qemu.sh PROGRAM [ARGUMENT…]
#
# Run an Arm64 program under qemu-user; QEMU_CPU says which processor (cortex-a53, cortex-a72, max).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
system=/usr/aarch64-linux-gnu
libraries=$root/build/dependencies/linux-arm64/python/openvino/libs
exec qemu-aarch64 -L $system -E LD_LIBRARY_PATH="$libraries:$system/lib" "$@"
